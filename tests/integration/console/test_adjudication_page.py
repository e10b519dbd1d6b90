"""Adjudication on the console: marks, outcomes, another policy, and what each changes."""

import html
import json
import re
import uuid

import httpx
import pytest

from tests.fixtures.console_client import ConsoleClient
from tests.fixtures.moderation_world import ModerationWorld, to_text

WHAT_IF = "/adjudication?marks=2&result=highest&step=0.01&mode=half_up&otherwise=moderator&within_points=5"


async def marked_world(console: ConsoleClient, **settings: object) -> ModerationWorld:
    """s1 has 6 and 9, s2 has 5 and 6; two marks agree on their mean if they are at most 2 points apart."""
    world = await ModerationWorld.create(console, adjudication={"result": "mean", "within_points": "2"}, **settings)
    await world.grade_all(("ta1", "s1", 6), ("ta2", "s1", 9), ("ta1", "s2", 5), ("ta2", "s2", 6))
    return world


def find_field(page: httpx.Response, name: str) -> str:
    """Return the value of a hidden field of the page's forms."""
    match = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert match is not None, page.text
    return html.unescape(match[1])


def fill_form(page: httpx.Response, *names: str) -> dict[str, str]:
    """Return the form that a page offers, with the named fields and an action of its own."""
    return {"action": str(uuid.uuid4()), **{name: find_field(page, name) for name in ("policy_version", *names)}}


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
    assert "This policy is invalid: marks:" in to_text(broken)


async def test_moderator_sets_the_tried_policy_and_adjudicates_by_it(console: ConsoleClient) -> None:
    world = await marked_world(console)
    tried = await world.request("GET", WHAT_IF)
    form = fill_form(tried, "policy")
    answers = [await world.request("POST", "/adjudication/policy", data=form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert "The policy of the assignment 2 marks, at most 5 points apart" in await world.read("/adjudication")
    form = fill_form(await world.request("GET", "/adjudication"))
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
    form = {"action": str(uuid.uuid4()), "policy": "null", "policy_version": "0"}
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


async def test_policy_that_another_moderator_set_meanwhile_is_neither_used_nor_overwritten(
    console: ConsoleClient,
) -> None:
    world = await marked_world(console)
    shown, tried = await world.request("GET", "/adjudication"), await world.request("GET", WHAT_IF)
    await world.moderate("set_adjudication_policy", {"adjudication": {"result": "lowest", "within_points": "9"}})
    refused = await world.request("POST", "/adjudication/adjudicate", data=fill_form(shown))
    assert refused.status_code == 409
    assert "The policy of the assignment changed since you saw it: nothing was changed" in to_text(refused)
    assert "at most 9 points apart: the lowest counts" in to_text(refused)
    assert "agreed by the policy" not in await world.read("/publication")
    action = re.search(r'action="[^"]+(/adjudication/policy[^"]*)"', tried.text)
    assert action is not None
    form = fill_form(tried, "policy")
    refused = await world.request("POST", html.unescape(action[1]), data=form)
    assert refused.status_code == 409
    assert "The assignment's own policy: 2 marks, at most 9 points apart" in to_text(refused)
    assert json.loads(find_field(refused, "policy")) == json.loads(form["policy"])
    assert "The policy of the assignment 2 marks, at most 9 points apart" in await world.read("/adjudication")


async def test_refused_form_leads_back_to_the_page_and_not_to_its_own_path(console: ConsoleClient) -> None:
    world = await marked_world(console)
    form = {**fill_form(await world.request("GET", "/adjudication")), "policy_version": "0"}
    refused = await world.request("POST", "/adjudication/adjudicate", data=form)
    await world.grade("ta1", "s1", 7)
    live = re.search(r'data-live="([^"]+)"', refused.text)
    assert live is not None
    headers = {"authorization": f"Bearer {world.token('fg')}"}
    async with console.http.stream("GET", html.unescape(live[1]), headers=headers) as stream:
        assert stream.status_code == 200
        data = await anext(line async for line in stream.aiter_lines() if line.startswith("data: "))
    notice = json.loads(data.removeprefix("data: "))["page-notice"]
    assert f'href="{world.path}/adjudication"' in notice


async def test_finding_a_student_keeps_the_tried_policy_also_when_all_are_shown_again(console: ConsoleClient) -> None:
    world = await marked_world(console)
    found = await world.request("GET", f"{WHAT_IF}&sort=-score&find={world.world.user_id('s1')}")
    link = re.search(r'href="([^"]+)">Show all 2', found.text)
    assert link is not None
    path = html.unescape(link[1]).removeprefix(world.path)
    assert "sort=-score" in path
    shown = await world.read(path)
    assert "at most 5 points apart: the highest counts" in shown
    assert world.world.user_id("s2") in shown


@pytest.mark.parametrize("policy", ["{", "[" * 1_000 + "]" * 1_000], ids=["an open brace", "too many levels"])
async def test_policy_that_is_no_json_or_too_deep_is_refused(console: ConsoleClient, policy: str) -> None:
    world = await marked_world(console)
    form = {**fill_form(await world.request("GET", "/adjudication")), "policy": policy}
    refused = await world.request("POST", "/adjudication/policy", data=form)
    assert refused.status_code == 400
    assert "The policy is no JSON, or nested too deep. Nothing was changed." in to_text(refused)
