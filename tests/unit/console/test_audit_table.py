"""The audit trail on narrow terminals."""

import io
import json
from datetime import UTC, datetime

from rich.console import Console

from services.console.cli.audit import print_entries
from services.eventlog.access_records import AuditEntry


def test_audit_shows_who_read_which_assignment_and_why_in_80_columns() -> None:
    entry = AuditEntry(
        at=datetime(2026, 11, 29, 11, 56, tzinfo=UTC), key="1", database_user="operator", client="127.0.0.1",
        process="cli", root_account=1, user_id=None, what="history",
        target=json.dumps({"root_account": 1, "assignment": 7101}), reason="appeal of a student",
    )  # fmt: skip
    output = io.StringIO()

    print_entries(Console(file=output, width=80), [entry])

    shown = output.getvalue()
    words = set(shown.split())
    assert {"of", "why", "2026-11-29", "11:56:00", "operator", "history", "assignment", "7101", "appeal"} <= words, (
        shown
    )
