"""``admin verify-snapshots`` knows which code it is before it reads a snapshot."""

from typing import Any, NoReturn

import pytest
import typer

from services.admin import verify_snapshots
from services.eventlog.snapshot_code import CodeUnreadable
from services.runtime.command_line import ExitCode


def test_unreadable_code_is_reported_before_postgresql_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def connect(*_: Any) -> NoReturn:
        raise AssertionError

    def fail() -> NoReturn:
        raise CodeUnreadable("the source files cannot be read")

    monkeypatch.setenv("DATABASE_URL", "postgresql://u@h/d")
    monkeypatch.setattr(verify_snapshots, "connect", connect)
    monkeypatch.setattr(verify_snapshots, "form_id", fail)

    with pytest.raises(typer.Exit) as ended:
        verify_snapshots.verify_snapshots_command()

    assert ended.value.exit_code == ExitCode.USAGE
    assert "the source files cannot be read" in capsys.readouterr().err
