"""Commands that PostgreSQL ends say what is done and what to run."""

import json

import psycopg
import pytest
import typer

from services.admin.archive import attach_command
from services.admin.postgres_errors import exit_on_postgres_errors
from services.runtime.command_line import ExitCode


@pytest.mark.parametrize(
    ("error", "code", "texts"),
    [
        (psycopg.OperationalError("no route"), ExitCode.SERVER_UNAVAILABLE, ["no route. Check the server", "run this"]),
        (psycopg.errors.UndefinedTable("installation"), ExitCode.USAGE, ["nothing was changed", "admin migrate"]),
        (psycopg.errors.InsufficientPrivilege("owner"), ExitCode.USAGE, ["nothing was changed", "as the owner"]),
    ],
)
def test_error_ends_the_command_with_its_remedy(
    error: psycopg.Error, code: ExitCode, texts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, exit_on_postgres_errors():
        raise error

    assert ended.value.exit_code == code
    message = capsys.readouterr().err
    assert all(text in message for text in texts), message


def test_interrupted_attach_names_the_files_that_are_left(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://owner@127.0.0.1:1/log")
    file = tmp_path_factory.mktemp("archive") / "verdict_body_2024_01.copy.gz"
    file.write_bytes(b"")
    described = {"installation": "0b8f2c3e", "month": "2024-01", "rows": 1, "sha256": "00"}
    file.with_name("verdict_body_2024_01.json").write_text(json.dumps(described))

    with pytest.raises(typer.Exit):
        attach_command([file])

    assert "again with the files of the other months" in capsys.readouterr().err
