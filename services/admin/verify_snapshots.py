"""``admin verify-snapshots``: compare the snapshots of large assignments with the events they were made of."""

from collections import Counter

import typer

from services.config.database import DatabaseSettings
from services.eventlog.postgres import WRITER, close_quickly, connect
from services.eventlog.snapshot_verification import SnapshotFinding, verify_snapshots
from services.runtime.command_line import ExitCode, exit_with, run_command


def verify_snapshots_command() -> None:
    """Compare each snapshot in DATABASE_URL with the state that its events lead to. Exit code 1 if one differs.

    It reads all events of each assignment that has a snapshot, and changes nothing.
    """

    async def work() -> list[SnapshotFinding]:
        connection = await connect(DatabaseSettings().url(), "verify-snapshots", WRITER)
        try:
            return [finding async for finding in verify_snapshots(connection)]
        finally:
            await close_quickly(connection)

    findings = run_command(work)
    counts = Counter(finding.result for finding in findings)
    typer.echo(
        f"{len(findings)} snapshots: {counts['equal']} equal to their events, {counts['different']} different,"
        f" {counts['unused']} not used by this version"
    )
    different = [finding.stream for finding in findings if finding.result == "different"]
    if different:
        names = ", ".join(f"{stream.assignment} of root account {stream.root_account}" for stream in different)
        exit_with(
            ExitCode.FINDING,
            f"the snapshots of these assignments differ from the log: {names}. Nothing was changed. Set"
            " HANDLER_SNAPSHOT_EVENTS=0 and restart the handlers, which then read the log itself; as the owner of the"
            " database, truncate the table snapshot",
        )
