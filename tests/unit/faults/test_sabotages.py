"""The names that the sabotages replace still exist in the service."""

import multiprocessing

import pytest

from tests.system.faults.sabotages import SABOTAGES


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_still_replaces_something(name: str) -> None:
    # In a child process, because it changes modules permanently.
    child = multiprocessing.get_context("fork").Process(target=SABOTAGES[name])
    child.start()
    child.join(30)
    assert child.exitcode == 0
