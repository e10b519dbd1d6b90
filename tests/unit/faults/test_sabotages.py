"""What the sabotages take away from the service is still there under the names that they replace."""

import multiprocessing

import pytest

from tests.system.faults.sabotages import SABOTAGES


@pytest.mark.parametrize("name", SABOTAGES)
def test_each_sabotage_still_takes_something_away(name: str) -> None:
    # In a child: it changes modules for good.
    child = multiprocessing.get_context("fork").Process(target=SABOTAGES[name])
    child.start()
    child.join(30)
    assert child.exitcode == 0
