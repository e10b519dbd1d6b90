"""``person erase`` and ``person export``: erase or export a person's personal data."""

import json
import os
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import typer
from rich.text import Text

from services.auth.jwks import JwksError
from services.auth.signer import TokenSigner
from services.auth.token_rules import TokenRules
from services.config.cli import OperatorSettings
from services.console.cli.operator_auth import (
    ReasonOption,
    authenticate_operator,
    build_operator_service,
    require_reason,
)
from services.console.cli.options import RootAccountOption, parse_id_option
from services.console.cli.output import stdout_console
from services.console.cli.runner import open_connection
from services.console.erasures import (
    Erasure,
    ErasureFileError,
    ErasureVerdict,
    append_erasure,
    build_erasure,
    read_erasures,
    send_erasure,
)
from services.console.operator_service import Actor
from services.console.roles import Role
from services.console.wording import pluralize
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.person_history import read_person_actions, read_person_events
from services.runtime.command_line import ActionRefused, ExitCode, NotFound, run_command

UserIdArgument = Annotated[int, typer.Argument(parser=parse_id_option, metavar="USER_ID", help="The person's user id.")]
CommandKeyOption = Annotated[
    Path | None,
    typer.Option(
        "--command-key",
        envvar="ERASURE_KEY",
        metavar="FILE",
        help="Private key that signs the commands, for handlers with COMMAND_AUTH.",
    ),
]


def erase(
    file: Annotated[
        Path,
        typer.Option(
            "--file", envvar="ERASURES_FILE", metavar="FILE", help="Record of erasures, to repeat them after a restore."
        ),
    ],
    reason: ReasonOption,
    user_id: Annotated[
        int | None, typer.Argument(parser=parse_id_option, metavar="[USER_ID]", help="The person's user id.")
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Repeat all erasures of FILE, after a restore.")] = False,
    root_account: RootAccountOption = 1,
    command_key: CommandKeyOption = None,
) -> None:
    """Permanently erase a person's names, logins, SIS ids and the texts about their work in every course.

    Grades and ids stay. FILE keeps a record of erasures outside the database; --repeat performs all of them again.
    """
    if repeat == (user_id is not None):
        raise typer.BadParameter("give a USER_ID, or --repeat")

    async def work() -> list[tuple[Erasure, dict[int, ErasureVerdict | None]]]:
        settings = OperatorSettings()
        actor = await authenticate_operator(settings, Role.ADMIN)
        signer = _load_signer(command_key)
        service = await build_operator_service(settings)
        try:
            erasures = (
                read_erasures(file)
                if user_id is None
                else [build_erasure(root_account, user_id, actor.user_id, reason)]
            )
            for erasure in erasures:
                person = Actor(erasure.root_account_id, erasure.user_id)
                await require_reason(service.record_person_action(uuid4(), "erase", actor, reason, person))
                if not repeat:
                    append_erasure(file, erasure)
        except ErasureFileError as error:
            raise ActionRefused(f"{error}. Nothing was erased") from None
        claims, results = TokenRules.of(settings).own_claims(), []
        async with open_connection(settings.url(), of_account=True) as connection:
            for erasure in erasures:
                verdicts = await send_erasure(
                    connection, settings.kafka_bootstrap, settings.topic_prefix, erasure, signer, claims
                )
                results.append((erasure, verdicts))
        return results

    console, is_complete = stdout_console(), True
    for erasure, verdicts in run_command(work):
        done = sum(verdict is not None and verdict.problem is None for verdict in verdicts.values())
        hint = "" if verdicts else "; no course holds this user's data (any more): check the id and --root-account"
        person = f"user {erasure.user_id} of root account {erasure.root_account_id}"
        console.print(Text(f"{person}: erased in {pluralize(done, 'course')}{hint}"), soft_wrap=True)
        for course, verdict in verdicts.items():
            problem = "no verdict yet: run the command again" if verdict is None else verdict.problem
            if problem is not None:
                is_complete = False
                console.print(Text(f"  course {course}: {problem}", style="red"), soft_wrap=True)
    if not is_complete:
        raise typer.Exit(ExitCode.FINDING)


def export(
    user_id: UserIdArgument,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="New file to write, readable only by you.")],
    reason: ReasonOption,
    root_account: RootAccountOption = 1,
) -> None:
    """Export everything that the log holds about a person, as JSON."""

    async def work() -> dict[str, Any]:
        settings = OperatorSettings()
        actor = await authenticate_operator(settings, Role.ADMIN)
        service = await build_operator_service(settings)
        person = Actor(root_account, user_id)
        await require_reason(service.record_person_action(uuid4(), "export", actor, reason, person))
        async with open_connection(settings.url(), of_account=True) as connection:
            courses = await EncryptionKeys(connection).courses_of_person(root_account, user_id)
            events = await read_person_events(connection, root_account, user_id)
            if not courses and not events:
                raise NotFound(
                    f"the log has no data of user {user_id} in root account {root_account}; nothing was exported."
                    " Check the id and --root-account"
                )
            return {
                "root_account_id": str(root_account),
                "user_id": str(user_id),
                "courses_with_personal_data": [str(course) for course in courses],
                "events": events,
                "operator_actions": await read_person_actions(connection, root_account, user_id),
            }

    document = run_command(work)
    try:
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise typer.BadParameter(
            f"{to} cannot be created: {error.strerror}. Nothing was exported; choose another"
        ) from None
    with os.fdopen(descriptor, "w") as opened:
        json.dump(document, opened, indent=2, ensure_ascii=False)
        opened.write("\n")
    stdout_console().print(Text(f"{to}: {len(document['events'])} events of user {user_id}"), soft_wrap=True)


def _load_signer(path: Path | None) -> TokenSigner | None:
    try:
        return None if path is None else TokenSigner(path)
    except JwksError as error:
        raise ActionRefused(f"{error}. Nothing was erased") from None
