"""The commands in deploy/ refuse what nothing knows, and describe themselves, before they do anything."""

import subprocess

import pytest

from deploy.local import stack, stack_keys
from deploy.local.paths import ROOT
from services.console import roles


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["token", "11", "--scope", "bogus"], "moderation.operator"),
        (["token", "eleven"], "eleven"),
        (["foo"], "restart"),
    ],
)
def test_wrong_usage_exits_with_2_and_names_what_there_is(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        stack.main(arguments)
    printed = capsys.readouterr()
    assert (ended.value.code, printed.out) == (2, "")
    assert named in printed.err


@pytest.mark.parametrize(
    ("arguments", "status", "output"),
    [
        (["deploy/test", "tests/nowhere/test_nothing.py::test_it"], 2, "there is no tests/nowhere/test_nothing.py"),
        (["deploy/bench", "--help"], 0, "deploy/bench --against COMMIT"),
        (["deploy/setup", "--help"], 0, "Prepare this clone"),
        (["deploy/contracts-page", "--help"], 0, "deploy/contracts-page [FILE]"),
        (["deploy/contracts-page", "--nothing"], 2, "usage: deploy/contracts-page [FILE]"),
        (["deploy/sbom", "--nothing"], 2, "usage: deploy/sbom [FILE [IMAGE]]"),
        (["deploy/soak", "--nothing"], 2, "usage: deploy/soak [SEASONS [MINUTES]]"),
        (["deploy/screenshots", "nothing"], 2, "usage: deploy/screenshots"),
        (["deploy/find-secrets", "nothing"], 2, "usage: deploy/find-secrets"),
    ],
)
def test_help_and_a_wrong_path_are_answered_without_a_set_up(arguments: list[str], status: int, output: str) -> None:
    done = subprocess.run(["/bin/bash", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == status
    assert output in done.stdout + done.stderr
    assert "·" not in done.stdout


def test_a_token_can_have_every_scope_that_opens_the_console() -> None:
    assert [scope for scope in roles.SCOPES if scope not in stack_keys.SCOPES] == []
