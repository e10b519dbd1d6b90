"""The upgrade test takes the earlier version from the commit that the changelog names, or says what is missing."""

import pytest

from tests.system.upgrades import versions
from tests.system.upgrades.versions import Unavailable, checkout_previous_version, find_previous_commit

TITLE = "# Changelog\n\n## Unreleased\n\n- Commit 1234567 is not a release.\n\n"


@pytest.mark.parametrize(
    "release",
    [
        "## 0.1.0 – 2026-11-29 (commit 0a1b2c3)\n\n- First.\n",
        "## [0.1.0] 2026-11-29\n\nCommit: `0a1b2c3`.\n\n- First.\n",
        "## 0.1.0\n\nCommit: 0a1b2c3\n\n## 0.0.9\n\nCommit: fffffff\n",
    ],
)
def test_earlier_version_is_the_commit_of_the_newest_release(release: str) -> None:
    assert find_previous_commit(TITLE + release) == "0a1b2c3"


@pytest.mark.parametrize(
    ("release", "reason"),
    [
        ("", "names no release yet; set UPGRADE_FROM to a commit"),
        ("## 0.1.0\n\n- First.\n\n## 0.0.9\n\nCommit: fffffff\n", "names no commit of 0.1.0; add a line 'Commit: …'"),
    ],
)
def test_changelog_without_a_release_or_its_commit_is_reported_with_the_remedy(release: str, reason: str) -> None:
    with pytest.raises(Unavailable, match=reason):
        find_previous_commit(TITLE + release)


def test_commit_that_git_does_not_have_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(versions.VARIABLE, "0" * 40)
    with pytest.raises(Unavailable, match="git fetch --unshallow"):
        checkout_previous_version()
