"""The publication of an assignment on the console: the plan, the schedule, and who may act."""

import json
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from services.console.pipeline_status import PipelineStatus
from services.console.roles import Role
from services.console.web import moderation_watch
from services.console.web.moderation_view import load_view
from services.console.web.moderation_watch import ModerationWatch, ShownState
from services.console.web.signed_in_user import SignedInUser
from services.console.web.templates import Templates
from services.eventlog.access_records import AuditFilter, read_audit_trail
from services.eventlog.postgres import OPERATOR, create_pool
from services.eventlog.stream_reader import StreamReader
from tests.fixtures.console_client import ConsoleClient, connect_to_log
from tests.fixtures.moderation_world import ModerationWorld, find_digest, to_text
from tests.fixtures.process_runner import wait_until

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
BOTH = "moderation.viewer moderation.moderator"


async def graded_world(console: ConsoleClient, **settings: object) -> ModerationWorld:
    """s1 has 6 and 9, s2 has 5; nothing is selected."""
    world = await ModerationWorld.create(console, **settings)
    await world.grade_all(("ta1", "s1", 6), ("ta2", "s1", 9), ("ta1", "s2", 5))
    return world


async def select_first_grade(world: ModerationWorld) -> None:
    """Select the grade of 6 for s1."""
    page = await world.read("/publication")
    grade = page.split("Provisional grades")[1].split(",")[0].split()[-1]
    await world.moderate("select_provisional_grade", {"provisional_grade_id": grade})


async def test_plan_page_names_the_blocked_student_then_the_grades_and_where_they_come_from(
    console: ConsoleClient,
) -> None:
    world = await graded_world(console)
    blocked = await world.read("/publication")
    assert "Nothing can be published: 1 student is blocked" in blocked
    assert "Publish now" not in blocked
    await select_first_grade(world)
    plan = await world.read("/publication")
    assert "2 grades can be published: 2 change the gradebook" in plan
    s1, s2 = (world.world.user_id(name) for name in ("s1", "s2"))
    rows = plan.split("Why this grade")[1]
    assert f"{s1} before: – → after: 6 before: – → after: 6" in rows
    assert "a moderator selected it" in rows.split(s2)[0]
    assert "the only grade" in rows.split(s2)[1]


async def test_moderator_publishes_the_plan_and_a_stale_plan_is_refused_and_shown_anew(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    seen = find_digest(await world.read("/publication"))
    await world.grade("ta1", "s2", 4)
    stale = await world.post("publish", plan=seen)
    assert stale.status_code == 409
    text = to_text(stale)
    assert "the plan changed" in text.lower()
    assert "after: 4" in text
    digest = find_digest(text)
    assert digest != seen
    confirmation = await world.read(f"/publication/publish?plan={digest}")
    assert "Publish 2 grades of a1 ?" in confirmation
    action = str(uuid.uuid4())
    answers = [await world.post("publish", plan=digest, action=action) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [303, 303]
    assert "Published at" in await world.read("/publication")
    async with connect_to_log(console) as log:
        count = await log.fetchval(
            "select count(*) from verdict where body->>'type' = 'publish_provisional_grades' and"
            " body->>'assignment_id' = $1 and body->>'status' = 'accepted' and not (body->>'duplicate')::boolean",
            world.world.assignment_id("a1"),
        )
    assert count == 1


async def test_schedule_is_set_replaced_shown_and_cancelled(console: ConsoleClient) -> None:
    world = await graded_world(console)
    assert (await world.post("schedule", publish_at="2027-01-31T12:00:00")).status_code == 303
    page = await world.request("GET", "/publication")
    assert 'data-until="2027-01-31T12:00:00+00:00"' in page.text
    assert "would be refused now" in to_text(page)
    past = await world.post("schedule", publish_at="2020-01-31T12:00")
    assert past.status_code == 409
    assert "2020-01-31T12:00" in past.text
    assert (await world.post("schedule", publish_at="2027-02-28T12:00:00")).status_code == 303
    assert "2027-02-28 12:00:00" in await world.read("/publication")
    assert (await world.post("cancel")).status_code == 303
    assert "No publication is scheduled" in await world.read("/publication")
    assert (await world.post("cancel")).status_code == 409


async def test_only_moderators_with_a_token_of_the_gateway_are_offered_actions(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    digest = find_digest(await world.read("/publication"))
    operator = await world.read("/publication", "ta1", "moderation.admin")
    assert "a moderator of the assignment has to publish it" in operator
    for name, scope, status in (
        ("ta1", "moderation.moderator", 404),
        ("ta1", "moderation.admin moderation.moderator", 403),
        ("fg", "moderation.admin", 403),
    ):
        page = await world.request("GET", "/publication", name, scope)
        assert "Publish now" not in page.text
        for what in ("publish", "schedule", "cancel"):
            form = {"action": str(uuid.uuid4()), "plan": digest, "publish_at": "2027-01-01T00:00"}
            answer = await world.request("POST", f"/publication/{what}", name, scope, data=form)
            assert answer.status_code == status, (name, scope, what)
    assert "sign in with a token that also has scope moderation.moderator" in (
        await world.read("/publication", "fg", "moderation.viewer")
    )
    assert "Publish now" in await world.read("/publication", "fg", BOTH)


async def test_moderators_open_only_the_assignments_that_they_moderate(console: ConsoleClient) -> None:
    world = await graded_world(console)
    token = world.token("fg")
    headers = {"authorization": f"Bearer {token}"}
    begin = await console.http.get("/", headers=headers)
    assert (begin.status_code, begin.headers["location"]) == (303, "/moderation")
    for path in ("/failures", "/assignments", world.path, "/audit", "/actions", "/topics", "/live"):
        answer = await console.http.get(path, headers=headers)
        assert answer.status_code == 403, path
    home = await console.http.get(
        "/moderation", headers=headers, params={"assignment": world.world.assignment_id("a1")}
    )
    assert (home.status_code, home.headers["location"]) == (303, f"{world.path}/publication")
    other = console.issuer.token(int(world.world.user_id("fg")), scope="moderation.moderator", root_account_id="2")
    for path in (f"{world.path}/publication", f"{world.path}/students/{world.world.user_id('s1')}"):
        answer = await console.http.get(path, headers={"authorization": f"Bearer {other}"})
        assert answer.status_code == 404


async def test_an_operator_of_another_account_does_not_act_as_the_user_with_the_same_id(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    scope = "moderation.viewer moderation.all_accounts moderation.moderator"
    foreign = console.issuer.token(int(world.world.user_id("fg")), scope=scope, root_account_id="2")
    headers = {"authorization": f"Bearer {foreign}"}
    page = await console.http.get(f"{world.path}/publication", headers=headers)
    assert page.status_code == 200
    assert "Publish now" not in page.text
    form = {"action": str(uuid.uuid4()), "plan": find_digest(page.text)}
    answer = await console.http.post(f"{world.path}/publication/publish", headers=headers, data=form)
    assert answer.status_code == 403


async def test_hidden_students_and_graders_stay_hidden_on_the_pages_of_moderation(console: ConsoleClient) -> None:
    world = await graded_world(console, anonymous_grading=True, grader_names_visible_to_final_grader=False)
    ids = [world.world.user_id(name) for name in ("s1", "s2", "ta1", "ta2")]
    page = await world.request("GET", "/publication")
    anonymous_id = page.text.split("/students/")[1].split('"')[0]
    why = await world.request("GET", f"/students/{anonymous_id}")
    assert (page.status_code, why.status_code) == (200, 200)
    for text in (page.text, why.text):
        assert [user for user in ids if user in text] == []
    assert (await world.request("GET", f"/students/{ids[0]}")).status_code == 404
    async with connect_to_log(console) as log:
        found = await read_audit_trail(log, AuditFilter(EPOCH, what="explanation page", target=ids[0]), 2)
    assert [json.loads(entry.target)["hidden_student"] for entry in found] == [ids[0]]
    for of in (anonymous_id, ids[0]):
        audit = await console.request("GET", f"/audit?what=explanation+page&of={of}")
        rows = audit.text.partition("<tbody>")[2]
        assert (anonymous_id in rows, ids[0] in rows) == (of == anonymous_id, False)
    operator = await world.request("GET", "/publication", "nobody", "moderation.viewer")
    assert operator.status_code == 200
    assert [student for student in ids[:2] if student in operator.text] == []


async def test_published_request_has_the_address_and_browser_of_the_moderator(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    form = {"action": str(uuid.uuid4()), "plan": find_digest(await world.read("/publication"))}
    headers = {
        b"authorization": f"Bearer {world.token('fg')}".encode(),
        b"user-agent": "a browser, 2é".encode("latin-1"),
    }
    transport = httpx.AsyncHTTPTransport(local_address="127.0.0.2")
    async with httpx.AsyncClient(base_url=console.url, transport=transport, timeout=90) as moderator:
        answer = await moderator.post(f"{world.path}/publication/publish", headers=headers, data=form)
    assert answer.status_code == 303, answer.text
    records = await wait_until(
        lambda: [
            record
            for record in console.system.client.records["live-events"]
            if record.key == str(world.world.course_id).encode()
        ],
        "the live event",
    )
    metadata = json.loads(records[0].value or b"")["metadata"]
    assert (metadata["client_ip"], metadata["user_agent"]) == ("127.0.0.2", "a browser, 2?")


async def test_page_explains_a_grade_in_one_sentence_and_lists_what_led_to_it(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    student = world.world.user_id("s1")
    before = await world.read(f"/students/{student}")
    assert "No grade is published. Provisional grades entered: 2" in before
    await world.post("publish", plan=find_digest(await world.read("/publication")))
    after = await world.read(f"/students/{student}")
    assert "The grade 6 was published" in after
    assert "selected by a moderator." in after
    trail = after.split("What led to it")[1]
    order = [trail.index(text) for text in ("entered", "selected", "Grade published", "on live-events")]
    assert order == sorted(order)
    for missing in ("1", "x", "99999999999999999999"):
        assert (await world.request("GET", f"/students/{missing}")).status_code == 404


async def test_reads_of_plans_and_explanations_are_audited(console: ConsoleClient) -> None:
    world = await graded_world(console)
    for path in ("/publication", "/adjudication", f"/students/{world.world.user_id('s1')}"):
        await world.read(path)
    assignment, reader = world.world.assignment_id("a1"), world.world.user_id("fg")
    audit = await console.request("GET", f"/audit?of={assignment}&who={reader}")
    rows = audit.text.split("<tbody>")[1]
    assert [page for page in ("publication", "adjudication", "explanation") if f"{page} page" not in rows] == []


async def test_plan_is_sorted_by_column_and_finds_a_student(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    s1, s2 = (world.world.user_id(name) for name in ("s1", "s2"))
    order = {}
    for sort in ("student", "-student", "score", "-score"):
        rows = (await world.read(f"/publication?sort={sort}")).split("Why this grade")[1]
        order[sort] = rows.index(s1) < rows.index(s2)
    assert order == {"student": True, "-student": False, "score": False, "-score": True}
    found = (await world.read(f"/publication?find={s2}")).split("Who gets what")[1]
    assert s1 not in found
    assert "No row of this table is about student 12" in await world.read("/publication?find=12")


async def test_form_without_a_plan_publishes_nothing(console: ConsoleClient) -> None:
    world = await graded_world(console)
    await select_first_grade(world)
    forms: tuple[dict[str, str], ...] = ({}, {"plan": ""})
    for fields in forms:
        answer = await world.post("publish", **fields)
        assert answer.status_code == 400
        assert "names no plan. Nothing was changed" in to_text(answer)
    assert "2 grades can be published" in await world.read("/publication")


async def test_score_of_zero_is_shown_where_it_was_entered(console: ConsoleClient) -> None:
    world = await ModerationWorld.create(console)
    await world.grade("ta1", "s1", 0)
    await world.post("publish", plan=find_digest(await world.read("/publication")))
    trail = (await world.read(f"/students/{world.world.user_id('s1')}")).split("What led to it")[1]
    entered, published = trail.split("Grade published")
    assert "score 0" in entered
    assert "entered score 0" in published
    assert "points deducted" not in published


async def test_open_page_builds_its_plan_once_for_each_state_and_loads_a_busy_assignment_seldom(
    console: ConsoleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await graded_world(console)
    await world.moderate("schedule_publication", {"publish_at": "2027-01-31T12:00:00Z"})
    calls: list[str] = []

    def count(name: str) -> None:
        function = getattr(moderation_watch, name)

        def counted(*arguments: Any) -> Any:
            calls.append(name)
            return function(*arguments)

        monkeypatch.setattr(moderation_watch, name, counted)

    count("load_view")
    count("schedule_document")
    monkeypatch.setattr(moderation_watch, "RELOAD_SECONDS", 3_600.0)
    pool = await create_pool(console.system.database_url, "test", OPERATOR, 2, 10)
    try:
        dependencies: Any = SimpleNamespace(
            pool=pool,
            templates=Templates(),
            settings=SimpleNamespace(gateway_url=None),
            monitor=SimpleNamespace(status=PipelineStatus()),
        )
        user = SignedInUser(int(world.world.user_id("fg")), 1, Role.MODERATOR, None, 0.0, "", False, False)
        view = await load_view(dependencies, user, 1, int(world.world.assignment_id("a1")))
        (course,) = await StreamReader(pool).streams(1, view.course.course_id, None)
        digest = find_digest(await world.read("/publication"))
        of_plan = ModerationWatch(dependencies, view, ShownState(digest, 0, "publication"), course.number)
        of_version = ModerationWatch(dependencies, view, ShownState("", view.assignment.version), course.number)
        idle = [await of_plan.render() for _ in range(3)]
        assert "would be refused now" in idle[0]["schedule-state"]
        assert calls == ["schedule_document"]
        assert "changed" not in (await of_version.render())["page-notice"]
        for score in (4, 3):
            await world.grade("ta1", "s2", score)
            assert "changed" in (await of_plan.render())["page-notice"]
            assert "changed" in (await of_version.render())["page-notice"]
        assert calls == ["schedule_document", "load_view", "schedule_document"]
    finally:
        pool.terminate()
