"""Buffers that are made and freed all the time are filled in memory that the process already has."""

import subprocess
import sys

MAKE_BUFFERS = """
import resource
from services.runtime.memory import keep_freed_memory
parts = [b"x" * 3_000_000] * 5
def count_page_faults():
    for _ in range(4):
        request = b"".join(parts)
        message = request + b"end"
        del request, message
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for keep in (False, True):
    if keep:
        keep_freed_memory(32 << 20, 64 << 20)
    first = count_page_faults()
    print(count_page_faults() - first)
"""


def test_freed_buffers_are_used_again_without_page_faults() -> None:
    command = [sys.executable, "-c", MAKE_BUFFERS]
    counted = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    by_default, kept = map(int, counted.split())
    assert kept * 10 < by_default
