"""Takes, shares and gives back the lanes of one relay, and takes over those of a relay that hangs."""

import asyncio
import functools
import logging
import time
from collections.abc import Sequence
from typing import NoReturn

import asyncpg

from services.config.relay import RelaySettings
from services.eventlog.postgres import READER, connect
from services.eventlog.relay_leases import LEASE_PROCESS, LeaseSession, RelayLeases
from services.relay.lane import Lane
from services.relay.lane_shares import compute_share
from services.relay.metrics import RelayTelemetry
from services.relay.silence import SilenceWatch
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error
from services.runtime.failpoints import failpoints
from services.runtime.health import Health

LOGGER = logging.getLogger("relay")
ROUND_SECONDS = 0.25
RETRY_SECONDS = 0.5
UNWANTED_SECONDS = 1.0
"""Any relay takes a lane that is free for this long: the relay whose share it belongs to cannot work on it."""
LOOP = "leases"


class LeaseKeeper:
    """Holds the leases of one relay in one session.

    A lane moves between two transactions. Leases do not ensure that each record is published once: a relay that takes
    over a lane fences the previous one by the lane's transactional id, and then reads the progress.
    """

    def __init__(
        self, settings: RelaySettings, lanes: Sequence[Lane], health: Health, telemetry: RelayTelemetry
    ) -> None:
        self.settings = settings
        self.lanes = {lane.lane: lane for lane in lanes}
        self.health = health
        self.telemetry = telemetry
        self._held: set[int] = set()
        self._is_member = False
        self._free_since: dict[int, float] = {}
        self._watch = SilenceWatch(settings.relay_takeover_seconds)
        self._problem: str | None = None
        self._has_warned_of_logins = False

    async def run(self) -> NoReturn:
        """Relay until cancelled. A lane that fails is retried, whatever the error is; the others go on."""
        try:
            while True:
                try:
                    await self._keep_leases()
                except INFRASTRUCTURE_ERRORS as error:
                    self._set_problem(describe_error(error))
                await asyncio.sleep(RETRY_SECONDS)
        finally:
            await asyncio.gather(*(lane.stop() for lane in self.lanes.values()))

    def _set_problem(self, problem: str | None) -> None:
        if problem is not None and problem != self._problem:
            LOGGER.warning("the leases of the lanes are lost: %s", problem)
        self._problem = problem
        self.health.set_component_problem(LOOP, problem)

    async def _keep_leases(self) -> NoReturn:
        self.health.heartbeat(LOOP)
        async with failpoints.around("relay.leases.connect"):
            connection = await connect(self.settings.url(), LEASE_PROCESS, READER)
        connection.heartbeat = functools.partial(self.health.heartbeat, LOOP)
        try:
            leases = failpoints.arm(
                RelayLeases(connection, self.settings.topic_prefix, list(self.lanes)), "relay.leases"
            )
            await leases.begin()
            while True:
                # A server that is cut off does not answer, and others end this session in the meantime.
                async with asyncio.timeout(self.settings.relay_takeover_seconds):
                    await self._keep_round(leases)
                self._set_problem(None)
                await self._wait_for_round()
        finally:
            connection.terminate()
            self._is_member = False
            self._held.clear()
            for lane in self.lanes.values():
                lane.release()

    async def _keep_round(self, leases: RelayLeases) -> None:
        await self._give_back_ended(leases)
        await self._join_or_leave(leases)
        sessions = await leases.read_sessions()
        await self._end_silent_relays(leases, sessions)
        now = time.monotonic()
        self._abandon_hanging_lanes(sessions, leases.pid, now)
        self._note_free_lanes(sessions, leases.pid, now)
        share = compute_share(len(self.lanes), sessions, leases.pid)
        working = sorted(number for number in self._held if not self.lanes[number].is_released)
        if self._is_member:
            for number in working[share:]:
                LOGGER.info("another relay takes the lane over", extra={"lane": number})
                self.lanes[number].release()
        is_shared = any(session.is_member for session in sessions)
        for number, free_since in self._free_since.items():
            is_wanted = len(working) < share or not is_shared or now - free_since >= UNWANTED_SECONDS
            if is_wanted and self.lanes[number].may_start(now) and await leases.try_lock(number):
                self._held.add(number)
                working.append(number)
                self.lanes[number].start()

    async def _give_back_ended(self, leases: RelayLeases) -> None:
        for number, lane in self.lanes.items():
            if not lane.is_running:
                lane.check_ended()
                if number in self._held:
                    await leases.unlock(number)
                    self._held.discard(number)

    async def _join_or_leave(self, leases: RelayLeases) -> None:
        """Take part in the sharing while this relay can publish; otherwise others do its work."""
        now = time.monotonic()
        is_able = "kafka" not in self.health.server_problems and all(
            # A lane that still runs after its lease was lost hangs, or is about to end.
            now >= lane.steps_back_until and not lane.is_hanging(now) and (number in self._held or not lane.is_running)
            for number, lane in self.lanes.items()
        )
        if is_able and not self._is_member:
            await leases.join()
        elif self._is_member and not is_able:
            await leases.leave()
        self._is_member = is_able

    def _abandon_hanging_lanes(self, sessions: Sequence[LeaseSession], pid: int, now: float) -> None:
        """End lanes that wait too long for PostgreSQL, if another relay can work on them; it may be slow for all."""
        if not any(session.is_member and session.pid != pid for session in sessions):
            return
        for number, lane in self.lanes.items():
            if lane.is_hanging(now):
                LOGGER.warning(
                    "PostgreSQL has not answered the lane for %g s: other relays take it over",
                    self.settings.relay_takeover_seconds,
                    extra={"lane": number},
                )
                lane.abandon()

    def _warn_of_other_login(self) -> None:
        """Warn once per process."""
        if not self._has_warned_of_logins:
            self._has_warned_of_logins = True
            LOGGER.warning(
                "another relay has logged in to PostgreSQL with another role: if it hangs, this relay cannot end its"
                " session, and its lanes are blocked until it is stopped: use the same role for all relays"
                " (the user in DATABASE_URL)"
            )

    async def _end_silent_relays(self, leases: RelayLeases, sessions: Sequence[LeaseSession]) -> None:
        if any(session.has_other_login for session in sessions if session.pid != leases.pid):
            self._warn_of_other_login()
        last_used_at = {s.pid: s.last_used_at for s in sessions if s.last_used_at is not None and s.pid != leases.pid}
        for pid in self._watch.observe(last_used_at, time.monotonic()):
            silent = next(session for session in sessions if session.pid == pid)
            try:
                was_ended = await leases.end_session(silent)
            except asyncpg.InsufficientPrivilegeError:
                self._warn_of_other_login()
                continue
            if was_ended:
                self.telemetry.metrics.takeovers.inc()
                LOGGER.warning(
                    "a relay sent no heartbeat for %g s: its session was ended, its lanes %s are taken over",
                    self.settings.relay_takeover_seconds,
                    sorted(silent.lanes),
                )

    def _note_free_lanes(self, sessions: Sequence[LeaseSession], pid: int, now: float) -> None:
        """Record since when lanes are free; stand by for lanes that another session holds."""
        held_by_others = {number for session in sessions if session.pid != pid for number in session.lanes}
        for number, lane in self.lanes.items():
            if number in self._held or lane.is_running:
                self._free_since.pop(number, None)
            elif number in held_by_others:
                self._free_since.pop(number, None)
                lane.stand_by()
            else:
                self._free_since.setdefault(number, now)

    async def _wait_for_round(self) -> None:
        """Wait for the next round, or until one of our lanes ends, which is given back at once."""
        self.health.heartbeat(LOOP)
        tasks = [task for number in self._held if (task := self.lanes[number].task) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=ROUND_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        else:
            await asyncio.sleep(ROUND_SECONDS)
