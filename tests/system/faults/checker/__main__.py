"""Check a saved run again: ``python -m tests.system.faults.checker FOLDER``."""

import sys
from pathlib import Path

from tests.system.faults.checker import check
from tests.system.faults.checker.inputs import find_missing_inputs
from tests.system.faults.checker.observations import Run

if __name__ == "__main__":
    run = Run.load(Path(sys.argv[1]))
    found, missing = check(run), find_missing_inputs(run)
    sys.stdout.writelines(f"not checked: {line}\n" for line in missing)
    sys.stdout.writelines(f"{line}\n" for line in (*found, f"{len(found)} violations"))
    sys.exit(bool(found))
