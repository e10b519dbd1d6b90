"""Run tests by tier: ``deploy/test [TIER…]``, tiers side by side on one Kafka and one PostgreSQL.

One tier runs in the foreground, with pytest's own output. Several run at the same time, each into a log of its own
(``.state/tests/TIER.log``), and a line is printed as each ends. A tier that exceeds its limit is ended and fails. With
``all``, or ``CI`` set, a tier also fails if a test is skipped that ``tests/skips.py`` does not name.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.paths import ROOT, STATE
from tests import COVERAGE_LINE, SERVERS_ARE_REMOVED
from tests.skips import SKIPPED_LINE, find_unexpected_skips

BIN = Path(sys.executable).parent
LOGS = STATE / "tests"
OUTCOMES = re.compile(r"(\d+) (passed|failed|error|skipped)")
TAIL_LINES = 60
HEAP = "768m"
"""Memory of the shared broker: several tiers keep their topics on it at the same time."""


@dataclass(frozen=True)
class Tier:
    """Tests that need the same things.

    ``minutes``: the limit on two cores, set-up not included. ``needs_servers``: the shared ones; benchmarks start
    their own.
    ``runs_alone``: measures what other tiers would disturb. ``is_secure``: on servers of its own with TLS, passwords
    and access control lists.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    minutes: float
    needs_servers: bool = True
    runs_alone: bool = False
    is_secure: bool = False


def pytest_tier(
    name: str,
    *arguments: str,
    minutes: float,
    needs_servers: bool = True,
    runs_alone: bool = False,
    is_secure: bool = False,
) -> Tier:
    # Failures and errors, as by default, and the reasons of skipped tests.
    command = (sys.executable, "-m", "pytest", "-rfEs", *arguments)
    return Tier(name, (command,), minutes, needs_servers, runs_alone, is_secure)


CHECKS = Tier(
    "checks",
    (
        (str(BIN / "ruff"), "format", "--check", "--quiet", "."),
        (str(BIN / "ruff"), "check", "--quiet", "."),
        (str(BIN / "lint-imports"), "--no-logo"),
        (str(ROOT / "deploy" / "find-secrets"),),
        (str(BIN / "deptry"), "services", "schemas"),
        (str(BIN / "deptry"), "deploy", "tests", "--exclude", r"\.venv", "--ignore", "DEP002,DEP004"),
        (str(BIN / "mypy"), "services", "schemas", "deploy", "tests"),
    ),
    minutes=5,
    needs_servers=False,
)
UNIT_OPTIONS = tuple(
    word for plugin in ("schemathesis", "xdist", "anyio", "platformdirs", "doctest") for word in ("-p", f"no:{plugin}")
)
"""Importing these plugins takes longer than a hundred tests, and no unit test needs them."""
QUICK = ("-m", "not slow", "--hypothesis-profile", "quick")
RULES_TESTS = tuple(
    f"tests/unit/{package}"
    for package in ("moderation", "commands", "schemas", "agreement", "eventlog", "evolution", "faults", "fixtures")
)
"""The unit tests of rules, commands, formats and their checks: half of the time, apart so that each core collects only
its half. Only these import the contracts' catalog, FastStream and the libraries for statistics, and have properties:
for the first one Hypothesis reads the source of all modules."""
SLOW_TESTS = tuple(
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "tests/unit").rglob("test_*.py"))
    if re.search(r"pytest\.mark\.slow|^from hypothesis import", path.read_text(), re.MULTILINE)
)
"""The files with slow unit tests and with properties: to collect all of them takes longer than some of these tests."""
FAULTS_TESTS = "tests/system/faults"
SABOTAGES = f"{FAULTS_TESTS}/test_sabotages.py"
RECOVERY_TESTS = tuple(
    f"{FAULTS_TESTS}/test_{subject}.py"
    for subject in (
        "crash_points",
        "failpoints",
        "idle_handlers",
        "large_batches",
        "lost_commits",
        "point_in_time_recovery",
        "relay_lanes",
        "relay_progress",
    )
)
"""Tests that restore, rewind, take over and crash for minutes."""
# The drill and a minute of faults; the cluster, the processes and the checker take as long again on two quiet cores.
FAULTS = Tier(
    "faults",
    ((sys.executable, "-m", "tests.system.faults", "--minutes", "1", "drills", "processes", "brokers", "postgres"),),
    minutes=10,
    needs_servers=False,
    runs_alone=True,
)
OPERATORS_TESTS = tuple(f"tests/integration/{package}" for package in ("console", "cli", "publishing", "local"))
"""The integration tests of what operators use: half of them in time, apart so that they run next to the others."""
SECURE_TESTS = (
    "tests/system/secure",
    "tests/system/journeys/test_gateway.py",
)
TIERS = {
    tier.name: tier
    for tier in (
        CHECKS,
        pytest_tier("rules", *UNIT_OPTIONS, *QUICK, *RULES_TESTS, minutes=5, needs_servers=False),
        pytest_tier(
            "components",
            *UNIT_OPTIONS,
            *(*QUICK, "tests/unit", *(f"--ignore={path}" for path in RULES_TESTS)),
            minutes=5,
            needs_servers=False,
        ),
        pytest_tier("slow", *UNIT_OPTIONS, "-m", "slow or hypothesis", *SLOW_TESTS, minutes=5, needs_servers=False),
        pytest_tier("integration", "tests/integration", *(f"--ignore={path}" for path in OPERATORS_TESTS), minutes=20),
        pytest_tier("operators", *OPERATORS_TESTS, minutes=15),
        pytest_tier(
            "system",
            "tests/system/contracts",
            FAULTS_TESTS,
            *(f"--ignore={path}" for path in (SABOTAGES, *RECOVERY_TESTS)),
            minutes=10,
        ),
        pytest_tier("recovery", *RECOVERY_TESTS, minutes=20),
        pytest_tier("browser", "tests/system/console", minutes=10),
        pytest_tier("journeys", "tests/system/journeys", minutes=20),
        FAULTS,
        pytest_tier("sabotages", SABOTAGES, minutes=15),
        pytest_tier("upgrades", "tests/system/upgrades", minutes=15),
        pytest_tier("secure", *SECURE_TESTS, minutes=5, needs_servers=False, runs_alone=True, is_secure=True),
        pytest_tier("containers", "tests/system/containers", minutes=25, needs_servers=False),
        pytest_tier("benchmarks", "tests/benchmarks", minutes=15, needs_servers=False, runs_alone=True),
    )
}
GROUPS = {"unit": ("rules", "components")}
"""By name of a group of tiers: its tiers."""
DEFAULT = ("integration", "operators", "system", "checks", "rules", "components", "slow")
FURTHER = ("browser", "sabotages", "upgrades", "faults", "secure", "containers", "benchmarks")
ALL = ("recovery", "journeys", *DEFAULT, *FURTHER)
CONCURRENT_SERVER_TIERS_MAX = 2
"""As many as the cores of the machine that the limits are for. The longest tiers come first. Tiers without servers run
next to these, which often wait, one after the other."""


@contextlib.contextmanager
def shared_servers() -> Iterator[dict[str, str]]:
    """Start one Kafka and one PostgreSQL; yield the environment that names them. They are removed at the end."""
    # Imported here, as below: the unit tier starts without the clients of servers.
    from deploy.local import backing_services

    name = f"tests-{os.getpid()}"
    servers = {
        "KAFKA_BOOTSTRAP": backing_services.kafka_server(name, heap=HEAP, works_long=True),
        "DATABASE_URL": backing_services.postgres_server(name),
    }
    try:
        for server in servers.values():
            server.start()
        environment = {**os.environ, **{variable: server.address for variable, server in servers.items()}}
        if not any(isinstance(server, backing_services.ExternalServer) for server in servers.values()):
            environment[SERVERS_ARE_REMOVED] = "1"
        yield environment
    finally:
        for server in servers.values():
            server.kill()
            server.remove()


async def run_tier(tier: Tier, environment: dict[str, str], log: Path | None) -> int:
    """Run the commands of a tier one after the other until one fails; return its exit code.

    ``log``: where the output goes; None: to the terminal.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("wb")) if log else None
        if tier.is_secure:
            from tests.fixtures.secure import secured_servers

            environment = environment | stack.enter_context(secured_servers(f"tests-secure-{os.getpid()}", HEAP))
        try:
            async with asyncio.timeout(tier.minutes * 60 * float(os.environ.get("TEST_LIMIT_FACTOR", "1"))):
                for command in tier.commands:
                    if exit_code := await _run(command, environment, output):
                        return exit_code
        except TimeoutError:
            message = f"\n{tier.name} exceeded its limit of {tier.minutes:g} minutes and was ended\n"
            (output.write(message.encode()) if output else sys.stderr.write(message))
            return 124
    return 0


async def _run(command: Sequence[str], environment: dict[str, str], output: object) -> int:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env=environment,
        stdout=output,  # type: ignore[arg-type]
        stderr=output and asyncio.subprocess.STDOUT,  # type: ignore[arg-type]
        start_new_session=output is not None,
    )
    try:
        return await process.wait()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), 30)
        if process.returncode is None:
            process.kill()
        raise


async def run_concurrently(tiers: Sequence[Tier], environment: dict[str, str], is_complete: bool) -> bool:
    """Run tiers side by side, print a line as each ends and the log's end of those that fail; return success.

    ``is_complete``: a tier fails if a test is skipped that ``tests/skips.py`` does not name.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    slots = {True: asyncio.Semaphore(CONCURRENT_SERVER_TIERS_MAX), False: asyncio.Semaphore(1)}
    totals: Counter[str] = Counter()
    failed: list[str] = []

    async def run(tier: Tier) -> None:
        log = LOGS / f"{tier.name}.log"
        async with slots[tier.needs_servers]:
            started_at = time.monotonic()
            exit_code = await run_tier(tier, environment if tier.needs_servers else {**os.environ}, log)
        lines = log.read_text(errors="replace").splitlines()
        counts = {outcome: int(count) for count, outcome in OUTCOMES.findall(lines[-1] if lines else "")}
        totals.update(counts)
        summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "done"
        unproven = list(find_unexpected_skips(lines, counts.get("skipped", 0))) if is_complete else []
        mark = "✗" if exit_code or unproven else "✓"
        print(f"{mark} {tier.name:<12} {summary} in {time.monotonic() - started_at:.0f} s", flush=True)
        for line in lines:
            if line.startswith((COVERAGE_LINE, SKIPPED_LINE)):
                print(f"  {line}", flush=True)
        for skipped_test in unproven:
            print(f"  may not be skipped here: {skipped_test}", flush=True)
        if exit_code or unproven:
            failed.append(tier.name)
        if exit_code:
            print("\n".join(lines[-TAIL_LINES:]), f"\nexit code {exit_code}; all of it: {log}", sep="\n", flush=True)

    print(f"▸ {', '.join(tier.name for tier in tiers)}: output in {LOGS.relative_to(ROOT)}", flush=True)
    await asyncio.gather(*(run(tier) for tier in tiers if not tier.runs_alone))
    for tier in tiers:
        if tier.runs_alone:
            await run(tier)
    failures = totals["failed"] + totals["error"]
    skipped = f", {totals['skipped']} skipped" if totals["skipped"] else ""
    print(f"{totals['passed']} passed, {failures} failed{skipped}", flush=True)
    if failed:
        print(f"failed: {', '.join(sorted(failed))}", file=sys.stderr)
    return not failed


def main(names: Sequence[str]) -> int:
    """Run the named tiers; none: the default ones, ``all``: every one. Return the exit code."""
    named = [tier for name in names for tier in GROUPS.get(name, (name,))]
    chosen = ALL if "all" in names else tuple(dict.fromkeys(named)) or DEFAULT
    tiers = [TIERS[name] for name in chosen]
    is_complete = "all" in names or bool(os.environ.get("CI"))
    servers = shared_servers() if any(tier.needs_servers for tier in tiers) else contextlib.nullcontext({**os.environ})
    with servers as environment:
        # Only a log shows what was skipped.
        if len(tiers) == 1 and not is_complete:
            return asyncio.run(run_tier(tiers[0], environment, None))
        return 0 if asyncio.run(run_concurrently(tiers, environment, is_complete)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
