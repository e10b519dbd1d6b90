"""The console warns before a redrive that would only make dead letters again, and asks for a confirmation of it."""

import html
import json
import re
import threading
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from services.commands.parse import parse
from services.console import redrive_check
from services.console.operator_service import OperatorService
from services.console.redrive_check import CHECKED_BYTES_MAX, CHECKED_MAX, check_redrive
from services.console.redriver import Redriver
from services.console.roles import Role
from services.console.web.action_pages import router
from services.console.web.signed_in_user import SignedInUser
from services.eventlog.dead_letters import DeadLetterFilter, DeadLetterReader
from services.eventlog.postgres import OPERATOR, Pool, create_pool
from services.kafka.topics import full_topic_name
from tests.fixtures.bad_inputs import BAD_INPUTS
from tests.fixtures.console_pages import open_pages
from tests.fixtures.dead_letter_fixtures import LogOnly, append_dead_letters
from tests.fixtures.moderation_world import to_text
from tests.fixtures.system import System

READABLE = json.dumps({**BAD_INPUTS["bases"]["upsert_course"], "command_id": str(uuid.uuid4())}).encode()
ADMIN = SignedInUser(77, 1, Role.ADMIN, None, 0.0, "", False, False)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await create_pool(database_url, "test", OPERATOR, 2, 10)
    yield opened
    opened.terminate()


@pytest.fixture
def log(database_url: str) -> LogOnly:
    return LogOnly(database_url)


@pytest.fixture
async def acting_pages(system: System, pool: Pool) -> AsyncIterator[httpx.AsyncClient]:
    """Return the pages of a console that can also redrive."""
    url, bootstrap = system.database_url, system.bootstrap
    service = OperatorService(url, bootstrap, full_topic_name(system.prefix, "commands"), None)
    redriver = Redriver(url, bootstrap, system.prefix)
    async with open_pages(router, pool, ADMIN, operator_service=service, redriver=redriver) as client:
        yield client


async def test_unreadable_dead_letter_is_redriven_only_with_a_tick_and_discarding_it_comes_first(
    log: LogOnly, pool: Pool, acting_pages: httpx.AsyncClient
) -> None:
    ((shard, number),) = await append_dead_letters(log, 2, [b"{"])
    letter = f"{shard}-{number}"
    form = await acting_pages.get("/act/redrive", params={"letter": letter})
    assert "This version cannot read the record" in to_text(form)
    assert "Inform its sender" in to_text(form)
    places = [form.text.index(f'id="{name}"') for name in ("discard", "anyway", "confirm")]
    assert places == sorted(places)
    fields = {"letter": letter, "action": str(uuid.uuid4()), "why": "as it was"}
    refused = await acting_pages.post("/act/redrive", data=fields)
    assert refused.status_code == 400
    assert "Nothing was changed: tick Redrive anyway" in to_text(refused)
    assert "as it was" in refused.text
    reader = DeadLetterReader(pool)
    assert [found.resolution for found in await reader.dead_letters(5)] == [None]
    done = await acting_pages.post("/act/redrive", data={**fields, "anyway": "true"})
    assert (done.status_code, done.headers.get("location")) == (303, f"/actions/{fields['action']}")
    again = await acting_pages.post("/act/redrive", data=fields)
    assert again.headers.get("location") == f"/actions/{fields['action']}"


async def test_group_names_its_records_that_stay_unreadable_and_offers_to_discard_all_only_if_none_is_readable(
    log: LogOnly, pool: Pool
) -> None:
    _, *unreadable = await append_dead_letters(log, 3, [READABLE, b"{", b"["], reason="mixed")
    await append_dead_letters(log, 3, [READABLE], reason="readable")
    await append_dead_letters(log, 3, [b"{"] * 2, reason="unreadable")
    await append_dead_letters(log, 3, [READABLE] * 2 + [b"{"] * CHECKED_MAX, reason="many")
    forms = {}
    async with open_pages(router, pool, ADMIN) as pages:
        for reason in ("mixed", "readable", "unreadable", "many"):
            forms[reason] = await pages.get("/act/redrive", params={"reason": reason})
    texts = {reason: to_text(form) for reason, form in forms.items()}
    ids = " , ".join(f"{shard}-{number}" for shard, number in reversed(unreadable))
    assert "cannot read 2 of the newest 3 records:" in texts["mixed"]
    assert f"discard them: {ids} ." in texts["mixed"]
    assert "cannot read 20 of the newest 20 records:" in texts["many"]
    assert "The other 2 were not checked." in texts["many"]
    assert [reason for reason, form in forms.items() if 'id="discard"' in form.text] == ["unreadable"]
    assert "Discard 2 open dead letters…" in texts["unreadable"]
    assert [reason for reason, form in forms.items() if 'id="anyway"' not in form.text] == ["readable"]


async def test_discard_that_is_offered_closes_only_what_was_checked(log: LogOnly, pool: Pool) -> None:
    await append_dead_letters(log, 7, [b"{"] * 2, reason="grows")
    async with open_pages(router, pool, ADMIN) as pages:
        form = await pages.get("/act/redrive", params={"reason": "grows"})
        link = re.search('id="discard" href="([^"]+)"', form.text)
        await append_dead_letters(log, 7, [READABLE], reason="grows")
        assert link is not None
        discarding = await pages.get(html.unescape(link[1]))
        everything = await pages.get("/act/discard", params={"reason": "grows"})
    assert "Discard 2 open dead letters?" in to_text(discarding)
    assert "Discard 3 open dead letters?" in to_text(everything)


async def test_tick_is_kept_when_the_reason_is_missing(log: LogOnly, acting_pages: httpx.AsyncClient) -> None:
    ((shard, number),) = await append_dead_letters(log, 5, [b"{"])
    fields = {"letter": f"{shard}-{number}", "action": str(uuid.uuid4()), "why": " ", "anyway": "true"}
    refused = await acting_pages.post("/act/redrive", data=fields)
    assert refused.status_code == 400
    assert re.search('id="anyway"[^>]* checked>', refused.text)


async def test_large_records_are_read_up_to_a_limit_while_other_pages_are_served(
    log: LogOnly, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In another thread than that of the event loop, which serves the pages."""
    threads = []

    def parse_in_this_thread(value: bytes | None) -> Any:
        threads.append(threading.get_ident())
        return parse(value)

    monkeypatch.setattr(redrive_check, "parse", parse_in_this_thread)
    course = BAD_INPUTS["bases"]["upsert_users"]
    users = [{"user_id": str(user), "name": "A"} for user in range(1, 25_001)]
    large = json.dumps({**course, "command_id": str(uuid.uuid4()), "data": {"users": users}}).encode()
    await append_dead_letters(log, 6, [large] * 4, reason="large")
    check = await check_redrive(DeadLetterReader(pool), DeadLetterFilter(reason="large"))
    assert check.checked_count == len(threads) == CHECKED_BYTES_MAX // len(large) == 2
    assert threading.get_ident() not in threads


async def test_check_reads_what_the_form_selects_and_nothing_newer(log: LogOnly, pool: Pool) -> None:
    await append_dead_letters(log, 4, [READABLE])
    reader = DeadLetterReader(pool)
    (first,) = await reader.dead_letters(2)
    await append_dead_letters(log, 4, [b"{"])
    counts = []
    for until in (first.recorded_at, None):
        check = await check_redrive(reader, DeadLetterFilter(partition=4, until=until))
        counts.append((check.checked_count, len(check.unreadable_ids)))
    assert counts == [(1, 0), (2, 1)]
