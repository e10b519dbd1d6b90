"""The stack's command line refuses what nothing knows, before it does anything."""

import subprocess
import sys

import pytest

from deploy.local import stack_keys
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
def test_wrong_usage_exits_with_2_and_names_what_there_is(arguments: list[str], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.local.stack", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert named in done.stderr


def test_a_token_can_have_every_scope_that_opens_the_console() -> None:
    assert [scope for scope in roles.SCOPES if scope not in stack_keys.SCOPES] == []
