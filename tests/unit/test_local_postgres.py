"""Tests run on the PostgreSQL that ``POSTGRES_BIN`` names."""

from pathlib import Path

import pytest

from deploy.local.postgres import find_binaries


def test_postgres_bin_chooses_the_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("POSTGRES_BIN", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="holds no pg_ctl: set it to the folder of a server's programs"):
        find_binaries()

    (tmp_path / "pg_ctl").touch()

    assert find_binaries() == tmp_path
