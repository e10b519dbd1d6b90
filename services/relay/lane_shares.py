"""Computes the number of lanes of each relay: all lanes, shared evenly among the running relays. Pure."""

from collections.abc import Iterable

from services.eventlog.relay_leases import LeaseSession


def compute_share(lane_count: int, sessions: Iterable[LeaseSession], pid: int) -> int:
    """Return how many lanes the relay of a session should hold: 0 if it is not a member.

    The shares of all members add up to all lanes and differ by at most one. Relays that hold more lanes get the larger
    shares, so that no lane moves unnecessarily.
    """
    members = sorted((s for s in sessions if s.is_member), key=lambda session: (-len(session.lanes), session.pid))
    pids = [session.pid for session in members]
    if pid not in pids:
        return 0
    smaller_share, larger_shares = divmod(lane_count, len(pids))
    return smaller_share + (pids.index(pid) < larger_shares)
