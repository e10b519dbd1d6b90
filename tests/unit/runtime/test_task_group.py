"""Works side by side: one that fails ends all, and who is told to end does."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from services.runtime.server_monitor import run_until_first_failure


async def forever() -> None:
    await asyncio.Event().wait()


async def failing() -> None:
    raise OSError("Kafka is away")


async def failing_when_cancelled() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        for _ in range(5):  # Its owner is cancelled meanwhile.
            await asyncio.sleep(0)
        raise OSError("Kafka is away") from None


async def test_one_failing_task_cancels_all_tasks() -> None:
    with pytest.raises(OSError, match="Kafka is away"):
        await run_until_first_failure(forever(), failing())
    # Others on this loop have tasks of their own, which come and go.
    left = {getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()}
    assert not left & {forever.__name__, failing.__name__}


@pytest.mark.parametrize("other_task", [forever, failing])
async def test_cancellation_wins_over_errors_of_the_tasks(
    other_task: Callable[[], Coroutine[None, None, None]],
) -> None:
    owner = asyncio.create_task(run_until_first_failure(failing_when_cancelled(), other_task()))
    for _ in range(3):
        await asyncio.sleep(0)
    owner.cancel()
    with pytest.raises(asyncio.CancelledError):
        await owner
