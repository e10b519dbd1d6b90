"""``admin verify-snapshots``: compare the snapshots of large assignments with the events they were made of."""

from collections import Counter

import typer

from services.config.database import DatabaseSettings
from services.eventlog.postgres import WRITER, close_quickly, connect
from services.eventlog.snapshot_code import CodeUnreadable, form_id
from services.eventlog.snapshot_verification import SnapshotFinding, verify_snapshots
from services.runtime.command_line import ActionRefused, ExitCode, exit_with, run_command


def verify_snapshots_command() -> None:
    """Compare each snapshot in DATABASE_URL with the state that its events lead to. Exit code 1 if one is wrong.

    It reads all events of each assignment that has a snapshot, and changes nothing.
    """

    async def work() -> list[SnapshotFinding]:
        try:
            form_id()  # First, while the files are those that run.
        except CodeUnreadable as error:
            raise ActionRefused(str(error)) from None
        connection = await connect(DatabaseSettings().url(), "verify-snapshots", WRITER)
        try:
            return [finding async for finding in verify_snapshots(connection)]
        finally:
            await close_quickly(connection)

    findings = run_command(work, is_administrators=True)
    counts = Counter(finding.result for finding in findings)
    typer.echo(
        f"{len(findings)} snapshots: {counts['equal']} equal to their events, {counts['different']} different,"
        f" {counts['damaged']} damaged, {counts['unused']} made by another version and not used"
    )
    wrong = [finding.stream for finding in findings if finding.result in ("different", "damaged")]
    if wrong:
        names = ", ".join(f"{stream.assignment} of root account {stream.root_account}" for stream in wrong)
        exit_with(
            ExitCode.FINDING,
            f"snapshots that are damaged or differ from the log: assignment {names}. Nothing was changed. Damaged ones"
            " are not used. If one differs, set HANDLER_SNAPSHOT_EVENTS=0 and restart the handlers, which then read the"
            " log itself; as the owner of the database, delete the rows of the table snapshot",
        )
