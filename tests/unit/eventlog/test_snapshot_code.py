"""The hash that ties a snapshot to the code that made it changes with each change of that code, and with no other."""

import ast
import importlib
import importlib.resources
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from services.eventlog import snapshot_code
from services.eventlog.snapshot_code import CODE, CodeUnreadable, form_id, hash_code, list_sources

ROOT = Path(__file__).parents[3]
MODULES = {
    "__init__.py": "",
    "rules.py": "POINTS = 1\n",
    "inner/__init__.py": "",
    "inner/deep/__init__.py": "",
    "inner/deep/evolve.py": "POINTS = 2\n",
}
FOLD = ("aggregates", "grade_events", "snapshot_form", "stored_events")
"""The modules of services.eventlog that make states of rows, and write and read the form of states."""
CONFIGURATION = "services/config/"
"""Where the master key's file is read from: with another key no text is decrypted."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    for name, text in MODULES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def imported_package(package: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setattr(snapshot_code, "CODE", (package.name,))
    importlib.import_module(package.name)
    yield package
    del sys.modules[package.name]


def hashed(folder: Path) -> bytes:
    return hash_code({"package": folder})


def change_a_byte(folder: Path) -> None:
    (folder / "inner/deep/evolve.py").write_text("POINTS = 3\n")


def add_a_file(folder: Path) -> None:
    (folder / "inner/deep/more.py").write_text("")


def rename_a_file(folder: Path) -> None:
    (folder / "inner/deep/evolve.py").rename(folder / "inner/deep/evolution.py")


def move_a_file(folder: Path) -> None:
    (folder / "inner/deep/evolve.py").rename(folder / "inner/evolve.py")


def remove_a_file(folder: Path) -> None:
    (folder / "rules.py").unlink()


def exchange_two_files(folder: Path) -> None:
    first, second = folder / "rules.py", folder / "inner/deep/evolve.py"
    text = first.read_text()
    first.write_text(second.read_text())
    second.write_text(text)


@pytest.mark.parametrize(
    "change", [change_a_byte, add_a_file, rename_a_file, move_a_file, remove_a_file, exchange_two_files]
)
def test_hash_changes_with_each_change_of_a_source_file(package: Path, change: Callable[[Path], None]) -> None:
    before = hashed(package)
    change(package)

    assert hashed(package) != before


def test_hash_of_an_unchanged_copy_is_the_same(package: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(package, tmp_path / "elsewhere" / "copy")
    # What running the code leaves behind is no part of it.
    (copy / "inner/__pycache__").mkdir()
    (copy / "inner/__pycache__/evolve.cpython-313.pyc").write_bytes(b"compiled")

    assert hashed(copy) == hashed(package)


def test_hash_changes_with_each_package(package: Path) -> None:
    both = hash_code({"package": package, "other": package})

    assert len({both, hash_code({"other": package}), hashed(package)}) == 3


def test_package_without_sources_has_another_hash_each_time(package: Path) -> None:
    """Nothing tells its code from another's, so no process may use a snapshot of another one."""
    for source in package.rglob("*.py"):
        source.rename(source.with_suffix(".pyc"))

    assert hashed(package) != hashed(package)


@pytest.mark.parametrize("index", range(len(snapshot_code.VERSIONS)))
def test_hash_changes_with_the_version_of_python_and_of_each_library_that_decodes_rows(
    package: Path, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = hashed(package)
    versions = list(snapshot_code.VERSIONS)
    versions[index] += ".1"
    monkeypatch.setattr(snapshot_code, "VERSIONS", tuple(versions))

    assert hashed(package) != before


def test_process_hashes_its_packages_once(imported_package: Path) -> None:
    form_id.cache_clear()
    try:
        first = form_id()
        change_a_byte(imported_package)

        assert form_id() == first != form_id.__wrapped__() == hash_code({imported_package.name: imported_package})
    finally:
        form_id.cache_clear()


def test_sources_that_are_gone_are_no_failure_of_postgresql(imported_package: Path) -> None:
    """An OSError in a batch would be one: the batch would be tried again for ever."""
    shutil.rmtree(imported_package)

    with pytest.raises(CodeUnreadable, match="package cannot be read .* Install this version again") as raised:
        form_id.__wrapped__()

    assert not isinstance(raised.value, OSError)


def hashed_files() -> set[str]:
    return {
        str(Path(str(source)).relative_to(ROOT))
        for package in CODE
        for _, source in list_sources(importlib.resources.files(package), package)
    }


def test_code_that_makes_states_is_hashed() -> None:
    assert {
        "schemas/event_payloads/assignment.py",
        "services/commands/state_cache.py",
        "services/commands/stream_reading.py",
        "services/eventlog/grade_events.py",
        "services/moderation/events/assignment.py",
        "services/moderation/evolve.py",
    } <= hashed_files()


def test_everything_of_ours_that_the_code_of_the_fold_imports_is_hashed() -> None:
    imported = find_imported_files({f"services/eventlog/{name}.py" for name in FOLD})

    assert "services/moderation/json_values.py" in imported
    assert {path for path in imported - hashed_files() if not path.startswith(CONFIGURATION)} == set()


def find_imported_files(files: set[str]) -> set[str]:
    """Return these files of the project and all of its files that they import, directly or not."""
    found: set[str] = set()
    left = set(files)
    while left:
        path = left.pop()
        found.add(path)
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
            candidates = {f"{name.replace('.', '/')}{end}" for name in names for end in (".py", "/__init__.py")}
            left |= {candidate for candidate in candidates - found if (ROOT / candidate).is_file()}
    return found
