"""Tests by what they need: see ``tests/tiers.py``."""

COVERAGE_LINE = "cases ·"
"""Begins each line of a run that counts replayed cases; ``tests/tiers.py`` repeats these lines."""
