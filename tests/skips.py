"""Which tests may be skipped where everything is to be proven: with ``CI`` set, and in the tiers of ``all``."""

import re
from collections.abc import Iterator, Mapping, Sequence

SKIPPED_LINE = "SKIPPED"
"""Begins the line with the reason of skipped tests: pytest writes it with ``-rs``."""
SKIPS = re.compile(rf"{SKIPPED_LINE} \[(\d+)\] (.+)")
EXPECTED_SKIPS: Mapping[str, str] = {
    r": PostgreSQL 1[0-6] has no transaction_timeout$": "PostgreSQL 17 introduced it, and Debian 12 has 15.",
    r": no API server checked the chart, because ": (
        "No package has kube-apiserver, and to build it takes 20 minutes; test_chart.py validates the same resources by"
        " the schemas of Kubernetes."
    ),
    r", cannot be run \(this clone has no commit ": (
        "A shallow clone ends before the last release, and cannot fetch it without the repository that it came from."
    ),
}
"""By pattern of the line with their reason: tests that may be skipped, and why. Everything else can be installed."""


def find_unexpected_skips(lines: Sequence[str], skipped: int) -> Iterator[str]:
    """Yield what must not be skipped, by the output of pytest and by how many tests it says were skipped."""
    for line in lines:
        if match := SKIPS.match(line):
            skipped -= int(match[1])
            if not any(re.search(pattern, match[2]) for pattern in EXPECTED_SKIPS):
                yield match[2]
    if skipped > 0:
        yield f"{skipped} tests without a reason in the output"
