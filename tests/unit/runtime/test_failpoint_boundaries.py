"""The list of failpoints is complete: each server call of handler, relay and scheduler passes one; all are used.

Whatever these processes await must pass a boundary, be code that is checked here itself, or be named with a reason in
:mod:`tests.unit.runtime.awaited_calls`.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from deploy.local.paths import ROOT
from services.eventlog.encryption_keys import EncryptionKeys
from services.eventlog.feed_history import FeedHistory
from services.eventlog.relay_leases import RelayLeases
from services.eventlog.store import EventStore
from services.runtime.failpoints import BOUNDARIES
from tests.unit.runtime.awaited_calls import NEED_NO_BOUNDARY

MODULES = [
    *sorted((ROOT / "services/handler").glob("*.py")),
    # Clients' dry runs append nothing, and no handler runs them.
    *sorted(set((ROOT / "services/commands").glob("*.py")) - {ROOT / "services/commands/dry_run.py"}),
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
    "encryption_keys": ("handler.keys", EncryptionKeys),
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
# close_producer ends with it.
BELOW |= {"relay.producer.stop", "scheduler.producer.stop"}
PASSED_ON = {*CLIENTS, "connection"}


def client_name(node: ast.expr) -> str:
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.lstrip("_")


def is_coroutine(client: type, method: str) -> bool:
    function = getattr(client, method, None)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


class Boundaries(ast.NodeVisitor):
    """Collects the boundaries that a module passes, and what it awaits or passes on without one.

    ``own``: names of functions that are checked here themselves. ``imported``: names of functions that may call a
    server, wherever they are only named, too: others call them then.
    """

    def __init__(self, own: set[str], imported: set[str], clients: Mapping[str, tuple[str, type]]) -> None:
        self.passed: set[str] = set()
        self.missing: list[str] = []
        self.allowed: set[str] = set()
        self._own = own
        self._imported = imported
        self._clients = clients
        self._blocks = 0

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        around: list[str] = []
        for item in node.items:
            call = item.context_expr
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "failpoints.around":
                assert isinstance(call.args[0], ast.Constant)
                around.append(str(call.args[0].value))
            else:
                self._check(call)
        self.passed |= set(around)
        self._blocks += len(around)
        self.generic_visit(node)
        self._blocks -= len(around)

    def visit_Await(self, node: ast.Await) -> None:
        self._check(node.value)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._check(node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        if node.is_async:
            self._check(node.iter)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """Find the boundaries of clients, and server functions that are passed on to be called elsewhere."""
        boundary = self._find_boundary(node)
        if boundary is not None and boundary not in BOUNDARIES:
            self._refuse(boundary)
        for argument in (*node.args, *(keyword.value for keyword in node.keywords)):
            if isinstance(argument, ast.Name) and argument.id in self._imported:
                self._refuse(f"{ast.unparse(node.func)}({argument.id})")
        self.generic_visit(node)

    def _find_boundary(self, call: ast.Call) -> str | None:
        if not isinstance(call.func, ast.Attribute) or client_name(call.func.value) not in self._clients:
            return None
        prefix, client = self._clients[client_name(call.func.value)]
        if not is_coroutine(client, call.func.attr):
            return None
        boundary = f"{prefix}.{call.func.attr}"
        self.passed.add(boundary)
        return boundary

    def _check(self, awaited: ast.expr) -> None:
        """Refuse what passes no boundary, is not checked itself, and is not named with a reason."""
        if self._blocks:
            return
        call = awaited if isinstance(awaited, ast.Call) else ast.Call(awaited, [], [])
        if self._find_boundary(call) in BOUNDARIES:
            return
        # A function that gets a client as an argument calls the server through it.
        is_name = isinstance(call.func, ast.Name)
        if is_name and any(client_name(argument) in PASSED_ON for argument in call.args):
            return
        is_of_self = isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "self"
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        if name in self._own and (is_name or is_of_self):
            return
        self._refuse(ast.unparse(call.func))

    def _refuse(self, text: str) -> None:
        if self._blocks:
            return
        (self.allowed.add if text in NEED_NO_BOUNDARY else self.missing.append)(text)


def list_functions(module: ast.Module) -> set[str]:
    return {node.name for node in ast.walk(module) if isinstance(node, ast.AsyncFunctionDef)}


def list_imports(module: ast.Module, packages: tuple[str, ...]) -> Iterator[ast.ImportFrom]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(packages):
            yield node


def list_server_functions(module: ast.Module) -> Iterator[str]:
    """List imported functions that may call a server."""
    for node in list_imports(module, SERVER_PACKAGES):
        assert node.module is not None
        for name in node.names:
            function = getattr(importlib.import_module(node.module), name.name)
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                yield name.name


@cache
def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def list_checked_imports(module: ast.Module) -> Iterator[str]:
    """List the functions that a module imports from others that are checked here."""
    checked = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in MODULES}
    for node in list_imports(module, ("services",)):
        if node.module in checked:
            defined = list_functions(parse(checked[node.module]))
            yield from (name.name for name in node.names if name.name in defined)


@cache
def find_boundaries(path: Path) -> Boundaries:
    module = parse(path)
    clients = SCHEDULER_CLIENTS if path.parent.name == "scheduler" else CLIENTS
    own = list_functions(module) | set(list_checked_imports(module))
    found = Boundaries(own, set(list_server_functions(module)) - own, clients)
    found.visit(module)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_everything_that_is_awaited_passes_a_failpoint_or_needs_none(path: Path) -> None:
    assert find_boundaries(path).missing == []


def test_every_listed_boundary_exists_in_the_code() -> None:
    passed = set().union(*(find_boundaries(path).passed for path in MODULES)) | BELOW
    assert set(BOUNDARIES) - passed == set()


def test_every_call_that_needs_no_failpoint_exists_in_the_code() -> None:
    used = set().union(*(find_boundaries(path).allowed for path in MODULES))
    assert set(NEED_NO_BOUNDARY) - used == set()
