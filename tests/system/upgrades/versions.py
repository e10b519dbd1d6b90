"""The sources of the previous version, from git: of the commit that the changelog or UPGRADE_FROM names."""

import os
import re

from deploy.benchmarks.service_tree import ServiceTree, checkout
from deploy.local.paths import ROOT

VARIABLE = "UPGRADE_FROM"
RELEASE_HEADING = re.compile(r"^## \[?v?(\d+\.\d+\.\d+)", re.MULTILINE)
COMMIT = re.compile(r"\bcommit\b\W{0,3}([0-9a-f]{7,40})\b", re.IGNORECASE)


class Unavailable(Exception):
    """The earlier version cannot be run; the message says why, and what to do."""


def find_previous_commit(changelog: str) -> str:
    """Return the commit of the newest release in the changelog: the one in its heading or in the text below it.

    Raises:
        Unavailable: no release is cut yet, or the changelog names no commit of it.
    """
    headings = list(RELEASE_HEADING.finditer(changelog))
    if not headings:
        raise Unavailable(f"CHANGELOG.md names no release yet; set {VARIABLE} to a commit to upgrade from that one")
    section = changelog[headings[0].start() :].split("\n## ")[0]
    commit = COMMIT.search(section)
    if commit is None:
        raise Unavailable(
            f"CHANGELOG.md names no commit of {headings[0][1]}; add a line 'Commit: …' below its heading,"
            f" or set {VARIABLE}"
        )
    return commit[1]


def checkout_previous_version() -> ServiceTree:
    """Return the sources of the previous version, with the packages of its lock.

    Raises:
        Unavailable: no release is cut yet, git does not have its commit, or its packages cannot be installed.
    """
    commit = os.environ.get(VARIABLE) or find_previous_commit((ROOT / "CHANGELOG.md").read_text())
    try:
        return checkout(commit)
    except RuntimeError as error:
        raise Unavailable(
            f"the previous version, commit {commit}, cannot be run ({error}); if git does not have that commit, fetch"
            " the whole history: git fetch --unshallow"
        ) from None
