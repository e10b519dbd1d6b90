"""Finds commands, events, assignments, courses, students and dead letters by their ids.

Commands are also found by correlation id, which may be any text, if they are among the newest ones.
"""

import json
import re
from dataclasses import dataclass
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from schemas.fields import CORRELATION_ID_MAX, NO_CONTROL_PATTERN, format_time
from services.console.web.dependencies import ConsoleDependencies, Dependencies, Viewer, parse_id, record_page
from services.console.web.signed_in_user import SignedInUser
from services.console.web.templates import humanize
from services.eventlog.assignment_list import list_assignments
from services.eventlog.command_history import CommandHistory
from services.eventlog.dead_letters import DeadLetterReader
from services.eventlog.id_search import (
    SearchBusy,
    SearchTooLong,
    StudentAssignment,
    find_assignments_of_student,
    find_commands,
    find_correlated,
    find_event,
)
from services.eventlog.stream_reader import VerdictArchived

router = APIRouter()
ROWS_MAX = 50
TOO_LONG = "The log is too large to search for {what} by id. {remedy}."
BUSY = "Another search is reading the log for {what}. Search again in a few seconds."
NOT_FOUND = "Nothing that you may see has this id"
NO_ID = (
    "This is not an id: ids are numbers, UUIDs, or a shard and number such as 2-17."
    " No command has it as its correlation id"
)
SINCE = "{problem}. Correlation ids were searched only in commands decided since {since}"
MORE_COMMANDS = f"Only the newest {ROWS_MAX} are listed."
MORE = f"Only the newest {ROWS_MAX} are listed: Assignments lists all of a course, if you filter it by this id."
_CORRELATION_ID = re.compile(NO_CONTROL_PATTERN[1:-1])
_SHARD_AND_NUMBER = re.compile(r"(\d{1,4})-(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Match:
    """Something with the id: what it is, and the path of its page."""

    what: str
    path: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The matches; ``problem``: why there may be more, or how an id has to look.

    ``was_busy``: a part of the search was not made, because others are searching.
    """

    matches: tuple[Match, ...] = ()
    problem: str | None = None
    was_busy: bool = False

    @property
    def status(self) -> int:
        """The HTTP status of the page."""
        return 200 if self.matches else 503 if self.was_busy else 404


@router.get("/search")
async def search_page(request: Request, dependencies: ConsoleDependencies, user: Viewer, q: str = "") -> Response:
    """Go to what has the id, or list it if there are several; other input is answered on the page."""
    text = q.strip()[:CORRELATION_ID_MAX]
    result = await _search(request, dependencies, user, text) if text else SearchResult()
    if len(result.matches) == 1 and result.problem is None:
        return RedirectResponse(result.matches[0].path, 303)
    return dependencies.templates.render_page(request, "search.html", result.status, text=text, result=result)


async def _search(request: Request, dependencies: Dependencies, user: SignedInUser, text: str) -> SearchResult:
    """Search what has an id of this form, and commands with this correlation id, which has no form of its own."""
    account = None if user.sees_all_accounts else user.root_account_id
    if (command_id := _parse_uuid(text)) is not None:
        return await _find_uuid(dependencies, text, command_id, account)
    result, problem = SearchResult(), NOT_FOUND
    if (number := parse_id(text)) is not None:
        await record_page(request, user, "search", {"root_account": account, "id": text})
        result = await _find_number(dependencies, number, account)
    elif (shard_and_number := _SHARD_AND_NUMBER.fullmatch(text)) is not None:
        result = await _find_row(dependencies, user, int(shard_and_number[1]), int(shard_and_number[2]))
    else:
        problem = NO_ID
    is_settled = result.matches or result.problem is not None
    return result if is_settled else await _find_correlated(dependencies, text, account, problem)


def _parse_uuid(text: str) -> str | None:
    try:
        return str(UUID(text))
    except ValueError:
        return None


async def _find_correlated(dependencies: Dependencies, text: str, account: int | None, problem: str) -> SearchResult:
    """Find the newest commands with a correlation id; ``problem`` is what to report if there are none."""
    if not _CORRELATION_ID.fullmatch(text):
        return SearchResult(problem=f"{problem}.")
    try:
        found = await find_correlated(dependencies.pool, text, account, ROWS_MAX + 1)
    except SearchTooLong:
        return SearchResult(problem=TOO_LONG.format(what="correlation ids", remedy="Search for the command's id"))
    except SearchBusy:
        return SearchResult(problem=BUSY.format(what="correlation ids"), was_busy=True)
    matches = tuple(
        Match(f"command {humanize(verdict.type)}: {verdict.status}", f"/verdicts/{verdict.shard}-{verdict.number}")
        for verdict in found.verdicts[:ROWS_MAX]
    )
    if matches:
        return SearchResult(matches, MORE_COMMANDS if len(found.verdicts) > ROWS_MAX else None)
    if found.since is not None:
        problem = SINCE.format(problem=problem, since=format_time(found.since))
    return SearchResult(problem=f"{problem}.")


async def _find_number(dependencies: Dependencies, number: int, account: int | None) -> SearchResult:
    pool, matches, problem, was_busy = dependencies.pool, [], None, False
    assignments = await list_assignments(pool, number, None, ROWS_MAX + 1, account)
    for row in assignments[:ROWS_MAX]:
        what = "assignment" if row.assignment == number else f"course: assignment {row.assignment}"
        matches.append(Match(what, f"/assignments/{row.root_account}/{row.assignment}"))
    of_student: list[StudentAssignment] = []
    try:
        of_student = await find_assignments_of_student(pool, number, account, ROWS_MAX + 1)
    except SearchTooLong:
        problem = TOO_LONG.format(what="students", remedy="Open the assignment, and find the student there")
    except SearchBusy:
        problem, was_busy = BUSY.format(what="students"), True
    for found in of_student[:ROWS_MAX]:
        path = f"/assignments/{found.root_account}/{found.assignment}?find={number}"
        matches.append(Match(f"student: assignment {found.assignment} of course {found.course}", path))
    if max(len(assignments), len(of_student)) > ROWS_MAX:
        problem = MORE if problem is None else f"{MORE} {problem}"
    return SearchResult(tuple(matches), problem, was_busy)


async def _find_uuid(dependencies: Dependencies, text: str, identifier: str, account: int | None) -> SearchResult:
    """Find the command, else the commands with the correlation id, else the event; the cheapest search is first."""
    pool = dependencies.pool
    accounts = await find_commands(pool, identifier, account)
    if accounts:
        return SearchResult(tuple(Match("command", f"/commands/{found}/{identifier}") for found in accounts))
    correlated = await _find_correlated(dependencies, text, account, NOT_FOUND)
    if correlated.matches or correlated.was_busy:
        return correlated
    try:
        event = await find_event(pool, identifier, account)
    except SearchTooLong:
        remedy = "Search for the command: it is in the event's header ce_causationid"
        return SearchResult(problem=TOO_LONG.format(what="events", remedy=remedy))
    except SearchBusy:
        return SearchResult(problem=BUSY.format(what="events"), was_busy=True)
    if event is None:
        return correlated
    return SearchResult((Match("event", f"/commands/{event.root_account}/{event.command_id}"),))


async def _find_row(dependencies: Dependencies, user: SignedInUser, shard: int, number: int) -> SearchResult:
    """Find the dead letter and the verdict with a number, which count separately."""
    matches = []
    if shard < 2**15 and await DeadLetterReader(dependencies.pool).dead_letter(shard, number) is not None:
        matches.append(Match("dead letter", f"/failures/dead-letters/{shard}-{number}"))
    if await _sees_verdict(dependencies, user, shard, number):
        matches.append(Match("verdict", f"/verdicts/{shard}-{number}"))
    return SearchResult(tuple(matches))


async def _sees_verdict(dependencies: Dependencies, user: SignedInUser, shard: int, number: int) -> bool:
    """Return whether a verdict with the number exists in a root account that the user sees."""
    try:
        verdict_record = await CommandHistory(dependencies.pool).verdict_at(shard, number)
    except VerdictArchived as archived:
        account = None if user.sees_all_accounts else user.root_account_id
        return bool(await find_commands(dependencies.pool, archived.args[0], account))
    if verdict_record is None:
        return False
    root_account_id = json.loads(verdict_record.body)["root_account_id"]
    return user.sees(None if root_account_id is None else int(root_account_id))
