"""Exit codes of the command line: documented, and different for a ticket and a page."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.cli import build_cli
from services.console.cli.status import get_exit_code
from services.console.pipeline_status import PipelineStatus, TopicProblem
from services.runtime.command_line import EXIT_CODE_MEANINGS, ExitCode

README = Path(__file__).parents[3] / "services" / "console" / "README.md"


def test_help_and_readme_describe_every_exit_code() -> None:
    help_text = re.sub(r"[\s│]+", " ", CliRunner().invoke(build_cli(), ["--help"]).stdout)
    for code in ExitCode:
        assert f"{code:d} {EXIT_CODE_MEANINGS[code]}" in help_text
    assert re.findall(r"^\| (\d) \|", README.read_text(), re.MULTILINE) == [f"{code:d}" for code in ExitCode]


@pytest.mark.parametrize(
    ("status", "exit_code"),
    [
        (PipelineStatus(), ExitCode.OK),
        (PipelineStatus(open_dead_letters=1), ExitCode.FINDING),
        (
            PipelineStatus(open_dead_letters=1, topic_problems=(TopicProblem("events", "lost records"),)),
            ExitCode.ALARM,
        ),
        (PipelineStatus(problems=("Kafka does not answer: TimeoutError",)), ExitCode.SERVER_UNAVAILABLE),
    ],
)
def test_status_exit_code_distinguishes_a_ticket_from_a_page(status: PipelineStatus, exit_code: ExitCode) -> None:
    assert get_exit_code(status) == exit_code


def test_command_that_reaches_no_server_names_the_setting_to_check() -> None:
    settings = {"DATABASE_URL": "postgresql://operator@127.0.0.1:1/moderation", "ACCESS_REASON": "a test"}
    result = CliRunner().invoke(build_cli(), ["state", "7101"], env=settings)
    assert (result.exit_code, result.stdout) == (ExitCode.SERVER_UNAVAILABLE, "")
    assert result.stderr == (
        "PostgreSQL does not answer: ConnectionRefusedError. Check that it runs and that DATABASE_URL names it\n"
    )
