"""Start one of our processes sabotaged: ``python -m tests.system.faults.sabotages.start``.

The environment names the sabotage (SABOTAGE) and the module to run (SABOTAGED_MODULE).
"""

import os
import runpy

from tests.system.faults.sabotages import SABOTAGES

if __name__ == "__main__":
    SABOTAGES[os.environ["SABOTAGE"]]()
    runpy.run_module(os.environ["SABOTAGED_MODULE"], run_name="__main__", alter_sys=True)
