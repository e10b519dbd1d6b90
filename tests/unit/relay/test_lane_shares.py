"""The lanes are shared evenly among the relays that run, and none moves without need."""

import pytest

from services.eventlog.relay_leases import LeaseSession
from services.relay.lane_shares import compute_share


def session(pid: int, *lanes: int, is_member: bool = True) -> LeaseSession:
    return LeaseSession(pid, frozenset(lanes), is_member)


def shares(lane_count: int, *sessions: LeaseSession) -> list[int]:
    return [compute_share(lane_count, sessions, each.pid) for each in sessions]


@pytest.mark.parametrize(
    ("sessions", "expected"),
    [
        ([session(1)], [4]),
        ([session(1, 0, 1, 2, 3), session(2)], [2, 2]),
        ([session(1, 0, 1, 2, 3), session(2), session(3)], [2, 1, 1]),
        ([session(n) for n in range(6)], [1, 1, 1, 1, 0, 0]),
    ],
)
def test_shares_add_up_to_all_lanes_and_differ_by_one_at_most(
    sessions: list[LeaseSession], expected: list[int]
) -> None:
    assert shares(4, *sessions) == expected


def test_relay_that_holds_more_lanes_keeps_the_larger_share() -> None:
    assert shares(3, session(1, 0), session(2, 1, 2)) == [1, 2]


def test_relay_that_steps_back_is_given_no_share() -> None:
    assert shares(4, session(1, 0, 1, is_member=False), session(2, 2, 3)) == [0, 4]
