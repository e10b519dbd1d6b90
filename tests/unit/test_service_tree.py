"""Trees of older commits that benchmarks compare with this one."""

import sys
from pathlib import Path

import pytest

from deploy.benchmarks import service_tree
from deploy.benchmarks.service_tree import ServiceTree, checkout


def test_commit_that_the_clone_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(RuntimeError, match="this clone has no commit 0123456789abcdef"):
        checkout("0123456789abcdef")


def test_tree_of_a_commit_has_its_services_and_nothing_of_its_benchmarks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service_tree, "FOLDER", tmp_path)
    monkeypatch.setattr(service_tree, "_install", lambda lock: Path(sys.executable))

    tree = checkout("HEAD")

    assert tree.folder.parent == tmp_path
    assert (tree.folder / "services/handler/__main__.py").exists()
    assert not (tree.folder / "deploy/benchmarks").exists(), "only what runs, with this tree's probes"


def test_tree_without_a_known_command_is_refused_and_the_files_are_named(tmp_path: Path) -> None:
    tree = ServiceTree("older", tmp_path, Path(sys.executable))

    with pytest.raises(RuntimeError, match=r"older has none of services/admin/migrate\.py, services/eventlog/migrate"):
        tree.migrate("postgresql://nowhere")


def test_command_that_fails_raises_with_what_it_wrote(tmp_path: Path) -> None:
    module = tmp_path / "services/eventlog/migrate.py"
    module.parent.mkdir(parents=True)
    # As in a real tree; the installed packages would come first otherwise.
    for package in (module.parents[1], module.parent):
        (package / "__init__.py").touch()
    module.write_text("raise SystemExit('the database is not empty')")

    with pytest.raises(RuntimeError, match="the database is not empty"):
        ServiceTree("older", tmp_path, Path(sys.executable)).migrate("postgresql://nowhere")
