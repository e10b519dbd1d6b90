"""The list of failpoints is complete: each server call of handler, relay and scheduler passes one; all are used."""

import ast
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.paths import ROOT
from services.eventlog.feed_history import FeedHistory
from services.eventlog.relay_leases import RelayLeases
from services.eventlog.store import EventStore
from services.runtime.failpoints import BOUNDARIES

MODULES = [
    *sorted((ROOT / "services/handler").glob("*.py")),
    *sorted((ROOT / "services/commands").glob("*.py")),
    *sorted((ROOT / "services/relay").glob("*.py")),
    *sorted((ROOT / "services/scheduler").glob("*.py")),
    ROOT / "services/kafka/transactions.py",
    ROOT / "services/eventlog/topic_identity.py",
    ROOT / "services/publishing/record_mapper.py",
    ROOT / "services/publishing/topic_ends.py",
    ROOT / "services/publishing/user_history.py",
]
# Clients by the names that hold them, with the prefix of their boundaries.
CLIENTS = {
    "event_store": ("handler.log", EventStore),
    "store": ("handler.log", EventStore),
    "history": ("relay.log", FeedHistory),
    "feed_reader": ("relay.log", FeedHistory),
    "leases": ("relay.leases", RelayLeases),
    "consumer": ("handler.consumer", AIOKafkaConsumer),
    "producer": ("relay.producer", AIOKafkaProducer),
}
SCHEDULER_CLIENTS = {
    "producer": ("scheduler.producer", AIOKafkaProducer),
    "connection": ("scheduler.connection", asyncpg.Connection),
}
SERVER_PACKAGES = ("services.eventlog", "services.kafka", "services.publishing")
# FastStream fetches records, and the connection ends a transaction, below our own calls.
BELOW = {"handler.consumer.getmany", "handler.connection.execute"}
# The functions that get the scheduler's connection query by this method alone.
BELOW |= {"scheduler.connection.fetch"}
# The monitor's two blocks surround its checks.
BELOW |= {"monitor.postgresql", "monitor.kafka"}
PASSED_ON = {*CLIENTS, "connection"}
ASKS_NO_SERVER = {"wait_until_idle"}


def client_name(node: ast.expr) -> str:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_")


def is_coroutine(client: type, method: str) -> bool:
    function = getattr(client, method, None)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class Boundaries(ast.NodeVisitor):
    """Collects the boundaries that a module passes, and its server calls that pass none."""

    def __init__(self, imported: set[str], clients: Mapping[str, tuple[str, type]]) -> None:
        self.passed: set[str] = set()
        self.missing: list[str] = []
        self._imported = imported
        self._clients = clients
        self._blocks = 0

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        around = [
            str(call.args[0].value)
            for item in node.items
            if isinstance(call := item.context_expr, ast.Call)
            and ast.unparse(call.func) == "failpoints.around"
            and isinstance(call.args[0], ast.Constant)
        ]
        self.passed |= set(around)
        self._blocks += len(around)
        self.generic_visit(node)
        self._blocks -= len(around)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        if isinstance(node.func, ast.Attribute) and client_name(node.func.value) in self._clients:
            prefix, client = self._clients[client_name(node.func.value)]
            if is_coroutine(client, node.func.attr):
                boundary = f"{prefix}.{node.func.attr}"
                self.passed.add(boundary)
                if boundary not in BOUNDARIES and not self._blocks:
                    self.missing.append(boundary)

    def visit_Await(self, node: ast.Await) -> None:
        self.generic_visit(node)
        self._check_function(node.value)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.generic_visit(node)
        self._check_function(node.iter)

    def _check_function(self, call: ast.expr) -> None:
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return
        if call.func.id not in self._imported - ASKS_NO_SERVER:
            return
        # A function that gets a client as an argument calls the server through it.
        if not self._blocks and not any(client_name(argument) in PASSED_ON for argument in call.args):
            self.missing.append(ast.unparse(call))


def imported_functions(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(SERVER_PACKAGES):
            yield from (name.name for name in node.names)


@cache
def find_boundaries(path: Path) -> Boundaries:
    module = ast.parse(path.read_text())
    is_process = path.parent.name in ("handler", "relay", "scheduler")
    clients = SCHEDULER_CLIENTS if path.parent.name == "scheduler" else CLIENTS
    found = Boundaries(set(imported_functions(module)) if is_process else set(), clients)
    found.visit(module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_server_call_passes_a_failpoint(path: Path) -> None:
    assert find_boundaries(path).missing == []


def test_every_listed_boundary_exists_in_the_code() -> None:
    passed = set().union(*(find_boundaries(path).passed for path in MODULES)) | BELOW
    assert set(BOUNDARIES) - passed == set()
