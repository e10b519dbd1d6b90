"""Background tasks: a failure ends its group or makes the process not ready; a cancellation is never lost."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from services.runtime import background_tasks
from services.runtime.background_tasks import run_in_background, run_until_first_failure
from services.runtime.health import Health


async def forever() -> None:
    await asyncio.Event().wait()


async def failing() -> None:
    raise OSError("Kafka is away")


async def failing_when_cancelled() -> None:
    try:
        await forever()
    except asyncio.CancelledError:
        for _ in range(5):  # The caller is cancelled during this loop.
            await asyncio.sleep(0)
        raise OSError("Kafka is away") from None


async def test_one_failing_task_cancels_all_tasks() -> None:
    with pytest.raises(OSError, match="Kafka is away"):
        await run_until_first_failure(forever(), failing())
    # Other tests have tasks on this loop too.
    left = {getattr(task.get_coro(), "__name__", "") for task in asyncio.all_tasks()}
    assert not left & {forever.__name__, failing.__name__}


async def test_task_that_cancels_itself_ends_the_group() -> None:
    with pytest.raises(RuntimeError, match="cancelled from within"):
        await run_until_first_failure(forever(), cancelled_by_a_client())


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


async def cancelled_by_a_client() -> None:
    raise asyncio.CancelledError


async def wait_for_problem(health: Health) -> str | None:
    async with asyncio.timeout(10):
        while health.not_ready_reason() is None:
            await asyncio.sleep(0)
    return health.not_ready_reason()


@pytest.mark.parametrize("work", [failing, cancelled_by_a_client])
async def test_background_task_that_ends_makes_the_process_not_ready(
    work: Callable[[], Coroutine[None, None, None]],
) -> None:
    health = Health()
    health.problem = None
    async with run_in_background(health, {"reading keys": forever, "redriving": work}):
        problem = await wait_for_problem(health)
    assert problem == "redriving failed (see the log) and is being restarted"


async def test_stopping_background_tasks_reports_nothing() -> None:
    health = Health()
    health.problem = None
    async with run_in_background(health, {"reading keys": forever, "redriving": failing_when_cancelled}):
        await asyncio.sleep(0)
    assert health.not_ready_reason() is None


@pytest.mark.parametrize("work", [failing, cancelled_by_a_client])
async def test_failed_background_task_restarts_and_the_process_is_ready_once_it_runs(
    work: Callable[[], Coroutine[None, None, None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background_tasks, "RESTART_SECONDS", (0.0,))
    monkeypatch.setattr(background_tasks, "RECOVERED_SECONDS", 0.02)
    health, starts = Health(), 0
    health.problem = None

    async def fail_twice() -> None:
        nonlocal starts
        starts += 1
        await (work() if starts < 3 else forever())

    async with run_in_background(health, {"redriving": fail_twice}):
        await wait_for_problem(health)
        async with asyncio.timeout(10):
            while health.not_ready_reason() is not None:
                await asyncio.sleep(0)
    assert starts == 3
