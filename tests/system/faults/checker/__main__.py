"""Check a saved run again: ``python -m tests.system.faults.checker FOLDER``."""

import sys
from pathlib import Path

from tests.system.faults.checker import check
from tests.system.faults.checker.observations import Run

if __name__ == "__main__":
    found = check(Run.load(Path(sys.argv[1])))
    sys.stdout.writelines(f"{line}\n" for line in (*found, f"{len(found)} violations"))
    sys.exit(bool(found))
