"""What becomes of an installation's records: they are checked, or kept, and the report says that nobody has."""

from tests.system.faults.checker import check
from tests.system.faults.checker.inputs import find_missing_inputs
from tests.system.faults.checker.observations import Run
from tests.system.faults.evidence import save_evidence
from tests.system.faults.installation import Installation
from tests.system.faults.outcome import Outcome, say

CHECKER_FAILURES = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
SHARED = "the shared installation"


def check_records(run: Run, installation: Installation, outcome: Outcome, cell: str) -> None:
    """Check what was observed, and note what was not there to be checked; keep it unless the run is clean."""
    outcome.note_missing_inputs(cell or SHARED, find_missing_inputs(run))
    try:
        violations = check(run)
    except CHECKER_FAILURES as error:
        # A defect of the checker: what it could not judge is kept.
        run.save(installation.folder / "run")
        outcome.unchecked.append(f"{installation.prefix}: the checker failed: {error!r}")
        return
    outcome.violations += violations
    if not outcome.is_clean:
        run.save(installation.folder / "run")
        say(f"  {len(violations)} violations; what was observed is saved in {installation.folder / 'run'}")


def keep_unchecked(installation: Installation, outcome: Outcome, cell: str, reason: str) -> None:
    """Save what can be read of an installation that cannot be checked, and let the report say why."""
    unread = save_evidence(installation, installation.folder / "run")
    reason += f"; missing in what was saved: {', '.join(unread)}" if unread else ""
    outcome.unchecked.append(f"{cell or 'at the end'} ({installation.prefix}): {reason}")
