"""The programs of the producer kit and the consumer kit, on machines from which no broker can be reached."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCHEMAS = Path(__file__).parents[3] / "schemas"
CLOSED_PORT = "127.0.0.1:1"
PROGRAMS = {
    "producer-kit": [[sys.executable, "producer.py"]],
    "consumer-kit": [
        [sys.executable, "consumer.py", "moderation.live-events", ":memory:"],
        [sys.executable, "feed.py", "corpus/replay.jsonl", "test"],
        ["./consumer.sh", "moderation.live-events"],
    ],
}
# What kcat prints for two records, of which the second is not the next one.
GAP = r"printf 'ce_id=a,ce_shard=0,ce_sequence=1\t{}\nce_id=b,ce_shard=0,ce_sequence=3\t{}\n'"
CASES = [(kit, program) for kit, programs in PROGRAMS.items() for program in programs]


def run_program(kit: str, program: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}
    return subprocess.run(
        program, cwd=SCHEMAS / kit, env={**environment, **settings}, capture_output=True, text=True, check=False,
        timeout=30,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("kit", "program"), CASES, ids=lambda value: value[-1] if isinstance(value, list) else "")
def test_program_without_a_broker_prints_one_line_with_the_address_and_what_to_check(
    kit: str, program: list[str]
) -> None:
    done = run_program(kit, program, KAFKA_BOOTSTRAP=CLOSED_PORT)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (3, "", 1), done.stderr
    assert f"no Kafka broker answers at KAFKA_BOOTSTRAP={CLOSED_PORT} (" in done.stderr
    assert "Check the address" in done.stderr
    assert "deploy/stack up" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("kit", "program"), CASES[:3], ids=lambda value: value[-1] if isinstance(value, list) else "")
def test_python_program_without_its_client_says_what_to_install(kit: str, program: list[str]) -> None:
    # -S: without the environment's packages.
    done = run_program(kit, [program[0], "-S", *program[1:]], KAFKA_BOOTSTRAP=CLOSED_PORT)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith(f"{program[1]}: No module named 'aiokafka'; nothing was ")
    assert done.stderr.endswith(": pip install aiokafka\n")


def test_program_names_a_missing_setting_of_a_secured_broker() -> None:
    done = run_program("producer-kit", PROGRAMS["producer-kit"][0], KAFKA_BOOTSTRAP=CLOSED_PORT,
                       KAFKA_SECURITY_PROTOCOL="SASL_SSL")  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "KAFKA_SASL_USERNAME is not set" in done.stderr


@pytest.mark.slow
def test_program_whose_topic_does_not_exist_says_what_to_check() -> None:
    program = """
from aiokafka.errors import UnknownTopicOrPartitionError
from kafka_options import run_program
async def main():
    raise UnknownTopicOrPartitionError
run_program(main(), "nothing was sent")
"""
    done = run_program("producer-kit", [sys.executable, "-c", program])
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "nothing was sent: there is no such topic for this user. Check its name and prefix" in done.stderr


def test_kits_connect_by_the_same_code() -> None:
    copies = [(SCHEMAS / kit / "kafka_options.py").read_text() for kit in PROGRAMS]
    assert copies[0] == copies[1]


@pytest.mark.parametrize(
    ("metadata", "consumed", "status", "message"),
    [
        ("exit 1", "", 2, "nothing was read: correct the options"),
        ("echo '% ERROR: Failed to acquire metadata: Local: Timed out' >&2; exit 1", "", 3, "(no answer within 10 s)"),
        (
            "echo '%3|1.2|FAIL|rdkafka#producer-1| [thrd:x]: ssl://k:1: SSL handshake failed' >&2; exit 1",
            "", 3, "Kafka refuses the connection at KAFKA_BOOTSTRAP=127.0.0.1:1 (ssl://k:1: SSL handshake failed)",
        ),
        (
            "echo '  topic \"t\" with 0 partitions: Broker: Unknown topic or partition (try again)'",
            "", 1, "there is no topic t; nothing was read",
        ),
        ("true", "exit 1", 3, "kcat ended with 1; later events were not read: run it again"),
        ("true", GAP, 1, "shard 0: 3 came after 1"),
    ],
)  # fmt: skip
def test_shell_consumer_distinguishes_what_fails(
    metadata: str, consumed: str, status: int, message: str, tmp_path: Path
) -> None:
    # Stands in for kcat with what it prints in each case.
    kcat = tmp_path / "kcat"
    kcat.write_text(f'#!/bin/sh\nif [ "$1" = -L ]; then\n{metadata}\nelse\n{consumed or "true"}\nfi\n')
    kcat.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run_program("consumer-kit", ["./consumer.sh", "t"], KAFKA_BOOTSTRAP=CLOSED_PORT, PATH=path)
    assert (done.returncode, done.stderr.count("\n")) == (status, 1), done.stderr
    assert message in done.stderr
