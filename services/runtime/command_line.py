"""Ends a command of ``moderated-grading``: exit code, and the error in one sentence on standard error."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import IntEnum
from typing import Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from services.config.base import SettingsError
from services.runtime.errors import INFRASTRUCTURE_ERRORS, describe_error

T = TypeVar("T")


class ExitCode(IntEnum):
    """The exit codes of all commands. FINDING is for a ticket, ALARM and SERVER_UNAVAILABLE are for a page."""

    OK = 0
    FINDING = 1
    USAGE = 2
    SERVER_UNAVAILABLE = 3
    NOT_FOUND = 4
    ALARM = 5


EXIT_CODE_MEANINGS = {
    ExitCode.OK: "success",
    ExitCode.FINDING: "a finding, which is printed: open a ticket",
    ExitCode.USAGE: "wrong usage or settings, or refused",
    ExitCode.SERVER_UNAVAILABLE: "Kafka or PostgreSQL does not answer",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.ALARM: "an alarm, which is printed: commands or records are late or lost, act now",
}


class NotFound(Exception):
    """Nothing has the requested name; the message repeats it."""


class ServerUnavailable(Exception):
    """A server does not answer; the message names it and any half-done work."""


class ActionRefused(Exception):
    """The command was refused and changed nothing; the message states why and what to do."""


def run_command(work: Callable[[], Awaitable[T]], *, is_administrators: bool = False) -> T:
    """Run a command's coroutine and return its result; turn an expected error into its exit code.

    ``is_administrators``: it needs the administrator's credentials, which the sentence names if a server refuses
    others.
    """
    try:
        return asyncio.run(_await(work))
    except (SettingsError, ActionRefused) as error:
        exit_with(ExitCode.USAGE, str(error))
    except NotFound as error:
        exit_with(ExitCode.NOT_FOUND, str(error))
    except ServerUnavailable as error:
        exit_with(ExitCode.SERVER_UNAVAILABLE, str(error))
    except BrokenPipeError:
        raise  # The reader of our output has closed it: typer exits quietly.
    except INFRASTRUCTURE_ERRORS as error:
        exit_with(ExitCode.SERVER_UNAVAILABLE, _describe_unavailable(error, is_administrators))


def _describe_unavailable(error: BaseException, is_administrators: bool) -> str:
    """Describe an error of a server, with the setting that leads to it if the server was not reached."""
    text = describe_error(error, is_administrators_command=is_administrators)
    settings = {"PostgreSQL does not answer": "DATABASE_URL", "Kafka does not answer": "KAFKA_BOOTSTRAP"}
    setting = settings.get(text.partition(":")[0])
    return text if setting is None else f"{text}. Check that it runs and that {setting} names it"


async def _await(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def exit_with(code: ExitCode, message: str) -> NoReturn:
    """Print the message on standard error and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text(escape_unprintable(message)))
    raise typer.Exit(code)


def escape_unprintable(value: Any) -> str:
    """Replace unprintable characters by escape sequences, so that the text cannot control a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in str(value))
