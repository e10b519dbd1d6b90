"""deploy/setup takes the Python that is built best, and says how it is built."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIND_PYTHON = Path(__file__).parents[2] / "deploy" / "local" / "find-python"
OPTIMIZED = "(built with profile-guided optimization)"
PLAIN = "(built without profile-guided optimization, which would save 7 to 13 % of processor time)"


def add_python(folder: Path, build: str, name: str = "python3") -> Path:
    """Add a program that answers like a Python of this build; "old" stands for one that cannot be used."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text("#!/bin/sh\n" + ("exit 1\n" if build == "old" else f"echo {build}\n"))
    program.chmod(0o755)
    return program


@pytest.fixture
def bash_folder(tmp_path: Path) -> Path:
    """A folder with bash alone: the system's own folders have a Python."""
    folder = tmp_path / "bash"
    folder.mkdir()
    (folder / "bash").symlink_to("/bin/bash")
    return folder


def find_python(*folders: Path, python: str = "") -> tuple[int, str]:
    path = ":".join(map(str, folders))
    found = subprocess.run([FIND_PYTHON], env={"PATH": path, "PYTHON": python}, capture_output=True, text=True)
    return found.returncode, found.stdout.strip()


def test_optimized_python_is_chosen_before_an_earlier_plain_one(tmp_path: Path, bash_folder: Path) -> None:
    add_python(tmp_path / "first", "plain")
    optimized = add_python(tmp_path / "second", "optimized", "python3.12")

    assert find_python(tmp_path / "first", tmp_path / "second", bash_folder) == (0, f"{optimized} {OPTIMIZED}")


def test_first_plain_python_is_chosen_where_none_is_optimized(tmp_path: Path, bash_folder: Path) -> None:
    add_python(tmp_path / "first", "old")
    plain = add_python(tmp_path / "second", "plain")
    add_python(tmp_path / "third", "plain", "python3.13")
    folders = [tmp_path / name for name in ("first", "second", "third")]

    assert find_python(*folders, bash_folder) == (0, f"{plain} {PLAIN}")


def test_named_python_is_chosen_before_all_others(tmp_path: Path, bash_folder: Path) -> None:
    add_python(tmp_path / "first", "optimized")
    named = add_python(tmp_path / "elsewhere", "plain")

    assert find_python(tmp_path / "first", bash_folder, python=str(named)) == (0, f"{named} {PLAIN}")


@pytest.mark.parametrize("builds", [[], ["old"]])
def test_no_usable_python_is_an_error(tmp_path: Path, bash_folder: Path, builds: list[str]) -> None:
    for build in builds:
        add_python(tmp_path / build, build)

    assert find_python(*(tmp_path / build for build in builds), bash_folder) == (1, "")


def test_interpreter_of_these_tests_is_one_that_can_be_used(bash_folder: Path) -> None:
    status, found = find_python(bash_folder, python=os.path.realpath(sys.executable))

    assert status == 0
    assert found.endswith((OPTIMIZED, PLAIN))
