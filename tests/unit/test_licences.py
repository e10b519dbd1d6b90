"""The run time consists of permissively licensed packages: an image of it may be distributed under Apache-2.0."""

import re
from importlib.metadata import Distribution, distribution

import pytest

from tests.unit.test_packaging import locked

# SPDX identifiers. MPL-2.0 applies only to changes of its own files.
PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "PSF-2.0",
    "Zlib",
}
# Classifiers and short texts of packages without an SPDX expression.
WORDS = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD-3-Clause": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT": "MIT",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
# Packages of the run time under another licence, each with the reason.
ACCEPTED = {
    "psycopg": "LGPL-3.0-only",
    "psycopg-binary": "LGPL-3.0-only",
}
"""psycopg applies the migrations, which are yoyo's job. It is used as it is, by import, and anybody may put another
version in its place: that is all LGPL-3.0 asks of a program that uses a library, whatever the program's own licence."""


def licence(package: Distribution) -> str:
    """Return a package's SPDX expression, or the identifiers of its classifiers or its licence field."""
    known = package.metadata
    if "License-Expression" in known:
        return known["License-Expression"]
    classified = [
        line.rpartition(" :: ")[2] for line in known.get_all("Classifier") or [] if line.startswith("License")
    ]
    return " AND ".join(WORDS.get(name, name) for name in classified or known.get_all("License") or ["unknown"])


def installed() -> dict[str, str]:
    """Return the licence of each package of the run-time lock that this platform and this Python need."""
    wanted = {
        name
        for name, pins in locked("requirements.lock").items()
        if any(not p.marker or p.marker.evaluate() for p in pins)
    }
    return {name: licence(distribution(name)) for name in wanted}


def test_run_time_packages_have_permissive_licences() -> None:
    others = {name: text for name, text in installed().items() if not set(identifiers(text)) <= PERMISSIVE}

    assert others == ACCEPTED


def identifiers(expression: str) -> list[str]:
    """Return the licences of an SPDX expression; all alternatives of a choice are included."""
    return [part.strip(" ()") for part in re.split(r" AND | OR ", expression)]


@pytest.mark.parametrize("text", ["GPL-3.0-or-later", "MIT AND GPL-2.0-only", "AGPL-3.0", "unknown", "LGPL-3.0-only"])
def test_copyleft_and_unknown_licences_are_refused(text: str) -> None:
    assert not set(identifiers(text)) <= PERMISSIVE
