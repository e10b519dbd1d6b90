"""Tests by what they need: see ``tests/tiers.py``."""

COVERAGE_LINE = "cases ·"
"""Begins each line of a run that counts replayed cases; ``tests/tiers.py`` repeats these lines."""
SERVERS_ARE_REMOVED = "TEST_SERVERS_ARE_REMOVED"
"""Set by ``tests/tiers.py`` if it removes the servers after the run: nothing has to be deleted on them one by one."""
