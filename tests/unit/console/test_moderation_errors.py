"""Errors of the moderators' commands: each names the id or file at fault, and what to do."""

from pathlib import Path

import httpx2
import pytest
from typer.testing import CliRunner

from services.cli import build_cli
from services.console.cli.dead_letter_dry_run import build_none_open
from services.console.cli.gateway_requests import Target, build_refusal
from services.console.gateway_client import read_answer
from services.gateway.responses import NOT_FOUND, UNAUTHORIZED
from services.runtime.command_line import ActionRefused, NotFound

DIGEST = f"sha256:{'0f' * 32}"


def refuse(target: Target, status: int, body: object, reason: str | None = None) -> ActionRefused | NotFound:
    headers = {} if reason is None else {"X-Moderation-Reason": reason}
    return build_refusal(read_answer("POST", httpx2.Response(status, json=body, headers=headers)), target)


def run_command(*arguments: str) -> str:
    """Run a command that needs no server to be refused, and return its error on one line."""
    result = CliRunner().invoke(build_cli(), arguments, env={"COLUMNS": "400"})
    assert (result.exit_code, result.stdout) == (2, "")
    return " ".join(result.stderr.replace("│", " ").split())


def test_unknown_student_is_named_with_the_assignment_and_what_to_check() -> None:
    error = refuse(Target(7101, students=("99",)), 404, NOT_FOUND)
    assert isinstance(error, NotFound)
    assert str(error).startswith("assignment 7101 with student 99 was not found: there is no such id, or the user of")
    assert "moderated-grading plan 7101 shows whether the assignment is found, and the anonymous ids" in str(error)
    assert "hidden" not in str(refuse(Target(7101), 404, NOT_FOUND))


def test_missing_permission_names_the_assignment_and_who_grants_it() -> None:
    error = refuse(Target(7101), 403, UNAUTHORIZED)
    assert str(error) == (
        "assignment 7101: user not authorized to perform that action (unauthorized). Ask the maintainers of the"
        " course's roles; then send a new command"
    )


def test_outdated_digest_names_the_command_that_shows_the_plan() -> None:
    message = f"The plan has changed, nothing was published: its digest is {DIGEST} now"
    error = refuse(Target(7101, " of course 7001"), 409, {"message": message}, "plan_outdated")
    assert str(error) == (
        f"assignment 7101 of course 7001: {message} (plan_outdated). Run moderated-grading plan 7101 to see"
        " what changed"
    )


@pytest.mark.parametrize(
    "digest", [DIGEST[:-1], DIGEST[:15], DIGEST.upper(), DIGEST.removeprefix("sha256:"), f"{DIGEST}…", f"{DIGEST}\n"]
)
def test_mistyped_digest_is_answered_with_its_form_and_where_it_is_printed(digest: str) -> None:
    error = run_command("publish", "7101", "--course", "7001", "--plan", digest)
    assert f"{digest.strip()} is not the digest of a plan; nothing was changed" in error
    assert "sha256: and 64 digits or letters from a to f" in error
    assert "moderated-grading plan ASSIGNMENT_ID prints" in error


@pytest.mark.parametrize("content", [b"", b"{marks: 2}", b'{"result": "\xff"}'])
def test_policy_file_that_is_not_json_is_named_with_an_example(content: bytes, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_bytes(content)
    error = run_command("adjudicate", "7101", "--what-if", str(policy))
    assert f"{policy} is not JSON: " in error
    assert '"within_points": "3"' in error


def test_wrong_ids_of_other_commands_are_named_with_their_form() -> None:
    assert "abc is not a command's id: it is a UUID such as" in run_command("verdict", "abc")
    assert "17 is not the id of a dead letter: it is SHARD-NUMBER" in run_command("dead-letters", "show", "17")
    assert str(build_none_open("not_json", 3)) == (
        "there is no open dead letter with cause not_json from partition 3. Nothing was changed; dead-letters list"
        " shows the open ones"
    )
