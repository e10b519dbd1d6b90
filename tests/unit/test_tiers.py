"""A tier in which tests were skipped fails where everything is to be proven, and passes elsewhere."""

from pathlib import Path

import pytest

from tests import tiers
from tests.skips import EXPECTED_SKIPS, find_unexpected_skips
from tests.system.upgrades.versions import VARIABLE, Unavailable, checkout_previous_version
from tests.tiers import TIERS, UNIT_OPTIONS, Tier, pytest_tier, run_concurrently

NO_TIMEOUT = "tests/integration/eventlog/test_migrate.py:157: PostgreSQL 15 has no transaction_timeout"
NO_ENGINE = "tests/system/containers/conftest.py:37: no container engine runs here: dockerd is not installed"


def test_expected_skips_are_no_finding() -> None:
    no_server = "SKIPPED [9] test_api_server.py:27: no API server checked the chart, because etcd is not on PATH"
    shallow = f"SKIPPED [1] test_side_by_side.py:45: {describe_missing_commit()}"
    lines = [f"SKIPPED [2] {NO_TIMEOUT}", no_server, shallow, "5 passed, 12 skipped"]
    assert list(find_unexpected_skips(lines, 12)) == []


def describe_missing_commit() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "0" * 40)
        with pytest.raises(Unavailable) as missing:
            checkout_previous_version()
    return str(missing.value)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (f"SKIPPED [21] {NO_ENGINE}", [NO_ENGINE]),
        # From version 17 on PostgreSQL has it: then the test must run.
        (f"SKIPPED [2] {NO_TIMEOUT.replace('15', '18')}", [NO_TIMEOUT.replace("15", "18")]),
        ("", ["2 tests without a reason in the output"]),
    ],
)
def test_other_skips_are_found(line: str, found: list[str]) -> None:
    assert list(find_unexpected_skips([line, "5 passed, 2 skipped in 1.00s"], 2)) == found


def test_every_expected_skip_states_why() -> None:
    assert [reason for reason in EXPECTED_SKIPS.values() if not reason.endswith(".")] == []


def test_every_tier_of_tests_writes_the_reasons_of_skipped_ones() -> None:
    of_tests = [command for tier in TIERS.values() for command in tier.commands if command[1:3] == ("-m", "pytest")]
    assert len(of_tests) >= 13
    assert {command[3] for command in of_tests} == {"-rfEs"}


@pytest.fixture
def skipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Tier:
    """A tier of two tests, of which one is skipped with the reason that the test is for."""
    monkeypatch.setattr(tiers, "ROOT", tmp_path)
    monkeypatch.setattr(tiers, "LOGS", tmp_path / "logs")
    reason = request.node.callspec.params["reason"]
    lines = ["import pytest", "def test_a(): pass", f"def test_b(): pytest.skip({reason!r})"]
    (tmp_path / "test_two.py").write_text("\n".join(lines))
    return pytest_tier("containers", *UNIT_OPTIONS, "-q", "test_two.py", minutes=1, needs_servers=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "is_complete", "passes"),
    [
        ("no container engine runs here", True, False),
        ("no container engine runs here", False, True),
        ("PostgreSQL 15 has no transaction_timeout", True, True),
    ],
)
async def test_tier_with_a_skipped_test_fails_only_where_all_is_to_be_proven(
    reason: str, is_complete: bool, passes: bool, skipping: Tier, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await run_concurrently([skipping], {}, is_complete) == passes
    printed = capsys.readouterr()
    assert f"{'✓' if passes else '✗'} containers   1 passed, 1 skipped in" in printed.out
    assert f"test_two.py:3: {reason}" in printed.out
    assert ("may not be skipped here: test_two.py:3" in printed.out) == (not passes)
    assert ("failed: containers" in printed.err) == (not passes)
