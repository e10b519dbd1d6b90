"""Without the libraries of the extra ``agreement`` the error names the remedy, and everything else runs."""

import subprocess
import sys

import pytest

from services.agreement import LibrariesMissing
from services.agreement.ratings import collect_ratings
from services.agreement.statistics import compute_agreement
from tests.fixtures.in_memory_course import COURSE, ESSAY, moderated_course

LIBRARIES = ("numpy", "pycm")


@pytest.mark.parametrize("library", LIBRARIES)
def test_missing_library_is_named_with_the_remedy(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = moderated_course()
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(LibrariesMissing, match=rf"need {library};.*pip install 'moderated-grading\[agreement\]'"):
        compute_agreement(collect_ratings(memory.courses[COURSE], memory.assignments[ESSAY]))


@pytest.mark.slow
def test_processes_and_command_line_import_without_the_libraries() -> None:
    modules = ["gateway.app", "console.web.app", "cli", "handler.consumer", "relay.relay"]
    program = [
        "import importlib, sys",
        f"sys.modules.update(dict.fromkeys({LIBRARIES}))",
        f"[importlib.import_module('services.' + name) for name in {modules}]",
    ]

    process = subprocess.run([sys.executable, "-c", "\n".join(program)], capture_output=True, text=True, check=False)

    assert (process.returncode, process.stderr) == (0, "")
