"""Adjudication on the console: marks, outcomes, another policy, and what each changes."""

import re
import uuid

from tests.fixtures.console_client import ConsoleClient
from tests.fixtures.moderation_world import ModerationWorld, to_text

WHAT_IF = "/adjudication?marks=2&result=highest&step=0.01&mode=half_up&otherwise=moderator&within_points=5"


async def marked_world(console: ConsoleClient, **settings: object) -> ModerationWorld:
    """s1 has 6 and 9, s2 has 5 and 6; two marks agree on their mean if they are at most 2 points apart."""
    world = await ModerationWorld.create(console, adjudication={"result": "mean", "within_points": "2"}, **settings)
    for actor, student, score in (("ta1", "s1", 6), ("ta2", "s1", 9), ("ta1", "s2", 5), ("ta2", "s2", 6)):
        await world.grade(actor, student, score)
    return world


async def test_marks_are_shown_beside_each_other_with_the_outcome_by_policy(console: ConsoleClient) -> None:
    world = await marked_world(console)
    page = await world.read("/adjudication")
    s1, s2 = (world.world.user_id(name) for name in ("s1", "s2"))
    rows = page.split("Differs")[1]
    first, second = rows.split(s2)
    assert s1 in first
    assert re.search(r"6 user \d+ 9 user \d+ 3 needs a moderator: points apart – – no", first)
    assert re.search(r"5 user \d+ 6 user \d+ 1 agreed 5\.5 – yes", second)
    assert "1 grade would differ" in page


async def test_another_policy_shows_what_it_would_change_and_changes_nothing(console: ConsoleClient) -> None:
    world = await marked_world(console)
    version = (await world.moderate("plan_publication", {}))["stream_version"]
    page = await world.read(WHAT_IF)
    assert "at most 5 points apart: the highest counts" in page
    assert "2 grades would differ" in page
    distribution = page.split("Scores now and by this policy")[1].split("Marks:")[0]
    assert re.search(r"6 to 7 0 1 .* 9 to 10 0 1 no score 2 0", distribution)
    assert (await world.moderate("plan_publication", {}))["stream_version"] == version
    broken = await world.request("GET", WHAT_IF.replace("marks=2", "marks=1"))
    assert "This is no policy: marks:" in to_text(broken)


async def test_moderator_sets_the_tried_policy_and_adjudicates_by_it(console: ConsoleClient) -> None:
    world = await marked_world(console)
    tried = await world.request("GET", WHAT_IF)
    policy = re.search(r'name="policy" value="([^"]+)"', tried.text)
    assert policy is not None
    form = {"action": str(uuid.uuid4()), "policy": policy[1].replace("&#34;", '"')}
    assert (await world.request("POST", "/adjudication/policy", data=form)).status_code == 303
    assert "The policy of the assignment 2 marks, at most 5 points apart" in await world.read("/adjudication")
    form = {"action": str(uuid.uuid4())}
    assert (await world.request("POST", "/adjudication/adjudicate", data=form)).status_code == 303
    after = await world.read("/adjudication")
    assert "No grade would differ" in after
    plan = await world.read("/publication")
    assert plan.count("agreed by the policy") == 2
    why = await world.read(f"/students/{world.world.user_id('s1')}")
    assert "3 points apart, within the limit of 5" in why


async def test_only_moderators_adjudicate_and_hidden_students_and_graders_stay_hidden(console: ConsoleClient) -> None:
    world = await marked_world(console, anonymous_grading=True, grader_names_visible_to_final_grader=False)
    ids = [world.world.user_id(name) for name in ("s1", "s2", "ta1", "ta2")]
    page = await world.request("GET", "/adjudication")
    assert page.status_code == 200
    assert "Adjudicate</button>" in page.text
    assert [user for user in ids if user in page.text] == []
    form = {"action": str(uuid.uuid4()), "policy": "null"}
    for name, scope, status in (
        ("ta1", "moderation.moderator", 404),
        ("ta1", "moderation.admin moderation.moderator", 403),
        ("fg", "moderation.viewer", 403),
    ):
        shown = await world.request("GET", "/adjudication", name, scope)
        assert "Adjudicate</button>" not in shown.text
        for what in ("adjudicate", "policy"):
            answer = await world.request("POST", f"/adjudication/{what}", name, scope, data=form)
            assert answer.status_code == status, (name, scope, what)
