"""The least that a command's way can take: the same records through a pipeline that decides nothing."""

import contextlib
from collections.abc import AsyncIterator, Sequence

from deploy.benchmarks.bare_pipeline import ID_HEADER
from deploy.benchmarks.end_to_end_latency_probe import ArrivalProbe
from deploy.benchmarks.environment import BenchServers
from deploy.benchmarks.open_loop_sender import Headers, OpenLoopSender
from deploy.benchmarks.processes import RunningProcess
from deploy.benchmarks.workload import Json


class LatencyFloor:
    """Sends records to a bare pipeline, and measures until they are readable again."""

    def __init__(self, sender: OpenLoopSender, arrivals: ArrivalProbe) -> None:
        self._sender = sender
        self._arrivals = arrivals

    async def measure(self, commands: Sequence[Json], per_second: float) -> list[float]:
        """Return the seconds from when each command is due until its record is readable with read_committed."""
        due_times = await self._sender.send(commands, per_second, _name_command)
        arrival_times = await self._arrivals.wait_for("verdicts", list(due_times))
        return [arrived_at - due_at for due_at, arrived_at in zip(due_times.values(), arrival_times, strict=True)]


@contextlib.asynccontextmanager
async def run_latency_floor(
    bench_servers: BenchServers, warm_up_commands: Sequence[Json]
) -> AsyncIterator[LatencyFloor]:
    """Run a bare pipeline on topics and a database of its own."""
    installation = await bench_servers.new_installation(bench_servers.new_database())
    with (
        RunningProcess("deploy.benchmarks.bare_pipeline", installation.environment),
        ArrivalProbe(installation, ("verdicts",)) as arrivals,
    ):
        floor = LatencyFloor(OpenLoopSender(installation), arrivals)
        await floor.measure(warm_up_commands, 200)
        yield floor


def _name_command(command: Json) -> Headers:
    return [(ID_HEADER, command["command_id"].encode())]
