"""Which of our packages may know which others: read from the sources (README, "Find your way")."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"
PROCESSES = sorted(path.parent.name for path in SERVICES.glob("*/__main__.py"))
LIBRARIES = {
    "moderation": set[str](),
    "agreement": {"moderation"},
    "auth": set[str](),
    "telemetry": set[str](),
    "kafka": {"config", "eventlog", "publishing"},
    "eventlog": {"moderation", "kafka", "config"},
    "commands": {"moderation", "eventlog", "kafka", "auth"},
    "publishing": {"eventlog", "kafka", "config", "console"},
    "runtime": {"config", "eventlog", "kafka", "telemetry"},
    "admin": {"config", "console", "eventlog", "kafka", "publishing", "relay"},
}


def imported_modules(path: Path) -> set[str]:
    """Dotted names of the modules that a source file imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module), names=aliases):
                names |= {f"{module}.{alias.name}" for alias in aliases}
    return names


def imported_services(package: Path) -> set[str]:
    """The parts of services that a package imports, itself left out."""
    names = set[str]().union(*(imported_modules(path) for path in package.rglob("*.py")))
    return {name.split(".")[1] for name in names if name.startswith("services.")} - {package.name}


def test_rules_import_only_the_standard_library() -> None:
    names = set[str]().union(*(imported_modules(path) for path in (SERVICES / "moderation").rglob("*.py")))
    others = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}

    assert {name for name in others if not name.startswith("services.moderation")} == set()


@pytest.mark.parametrize("library", LIBRARIES)
def test_library_imports_only_lower_layers(library: str) -> None:
    assert imported_services(SERVICES / library) <= LIBRARIES[library]


@pytest.mark.parametrize("process", PROCESSES)
def test_processes_do_not_import_each_other(process: str) -> None:
    assert imported_services(SERVICES / process) & set(PROCESSES) == set()


def test_schemas_do_not_import_services() -> None:
    names = set[str]().union(*(imported_modules(path) for path in (ROOT / "schemas").rglob("*.py")))

    assert {name for name in names if name.startswith(("services.", "deploy."))} == set()


def test_services_do_not_import_tools_or_tests() -> None:
    names = set[str]().union(*(imported_modules(path) for path in SERVICES.rglob("*.py")))

    assert {name for name in names if name.split(".")[0] in ("deploy", "tests")} == set()


def test_every_package_has_a_layer() -> None:
    packages = {path.parent.name for path in SERVICES.glob("*/__init__.py")}

    assert packages == {*PROCESSES, *LIBRARIES}
