"""Installations under load for the tests of upgrades."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.faults.installation import Installation, opened
from tests.system.upgrades.loaded_installation import LoadedInstallation

Start = Callable[..., LoadedInstallation]


@pytest.fixture
def start_under_load(bootstrap: str, database_url: str, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts an installation with so many processes of each kind, and a load."""
    with contextlib.ExitStack() as stack:

        def start(**counts: int) -> LoadedInstallation:
            new = stack.enter_context(opened(Installation("upgraded", bootstrap, database_url, tmp_path)))
            loaded = LoadedInstallation(new, counts)
            stack.callback(loaded.close)
            return loaded

        yield start
