"""Handler and relay fail at chosen boundaries, and every record is still processed and published once."""

from tests.fixtures.fault_helpers import course_commands, send_all, wait_until_published
from tests.fixtures.process_runner import wait_until
from tests.fixtures.system import System

COMMANDS = 30
CRASHES = [
    ("handler", "handler.log.append.after"),
    ("relay", "relay.producer.commit_transaction.after"),
]
FAILURES = {
    "handler": "handler.connect.before=raise@1,handler.log.append.after=raise@1,handler.consumer.commit.before=raise@1",
    "relay": "relay.log.read.before=raise@1,relay.producer.commit_transaction.after=raise@1",
}


async def test_each_command_is_processed_and_published_once_if_any_boundary_fails(system: System) -> None:
    processes = {
        name: system.create_process(name, FAILPOINTS=choices, HANDLER_INSTANCE="a")
        for name, choices in FAILURES.items()
    }
    for process in processes.values():
        process.start()
        await process.wait_until_ready()
    await send_all(system, course_commands(COMMANDS))
    await wait_until_published(system, COMMANDS)
    for name, process in processes.items():
        failed = {f"{choice.split('=')[0]}: raise" for choice in FAILURES[name].split(",")}
        assert {line for line in failed if line not in process.log.read_text()} == set()

    for count, (name, point) in enumerate(CRASHES, 2):
        process = processes[name]
        process.kill()
        process.environment["FAILPOINTS"] = f"{point}=crash"
        process.start()
        crashing = process.popen
        assert crashing is not None
        await send_all(system, course_commands(COMMANDS))
        await wait_until(lambda popen=crashing: popen.poll() is not None, f"{name} is killed at {point}")  # type: ignore[misc]
        process.environment["FAILPOINTS"] = ""
        process.start()
        await process.wait_until_ready()
        await wait_until_published(system, count * COMMANDS)


async def test_unknown_failpoint_ends_the_process_and_lists_the_existing_ones(system: System) -> None:
    relay = system.create_process("relay", FAILPOINTS="relay.coffee.before=crash")
    relay.start()
    assert relay.popen is not None
    await wait_until(lambda: relay.popen is not None and relay.popen.poll() is not None, "it ends")
    assert "relay.producer.commit_transaction" in relay.log.read_text()
