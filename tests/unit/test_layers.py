"""Checks of the layers that import-linter cannot make."""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"


def imported_modules(path: Path) -> set[str]:
    """Return the dotted names of the modules that a source file imports anywhere."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name for alias in aliases}
            case ast.ImportFrom(module=str(module)):
                names.add(module)
    return names


def test_rules_import_only_the_standard_library() -> None:
    names = set[str]().union(*(imported_modules(path) for path in (SERVICES / "moderation").rglob("*.py")))
    others = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}

    assert {name for name in others if not name.startswith("services.moderation")} == set()


def test_every_package_has_a_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layered = {package for layer in contracts[0]["layers"] for package in layer.split(" | ")}
    found = [path for path in SERVICES.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()]

    assert layered == {f"services.{path.stem}" for path in found if path.stem != "__init__"}
