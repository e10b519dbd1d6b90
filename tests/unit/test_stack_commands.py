"""The stack's command line refuses what nothing knows, before it does anything."""

import pytest

from deploy.local import stack, stack_keys
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


def test_a_token_can_have_every_scope_that_opens_the_console() -> None:
    assert [scope for scope in roles.SCOPES if scope not in stack_keys.SCOPES] == []
