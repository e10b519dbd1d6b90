"""One local PostgreSQL on a free port, run by an unprivileged user when we are root."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

from deploy.tools.places import free_port

USER = "moderation"
SETTINGS = "listen_addresses = '127.0.0.1'\nmax_connections = 200\nshared_buffers = '256MB'\nmax_wal_size = '4GB'\n"


def binaries() -> Path:
    """Folder of initdb, pg_ctl and postgres, the newest that is installed. Raises FileNotFoundError with the remedy."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    found = shutil.which("pg_ctl")
    if found is None:
        raise FileNotFoundError("PostgreSQL 15 or newer is missing: install it, or set DATABASE_URL to a server")
    return Path(found).resolve().parent


class PostgresServer:
    """A server whose data and port stay the same over restarts. Raises RuntimeError when it does not start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def port(self) -> int:
        """The port, drawn when the data folder is first made."""
        return int((self.folder / "port").read_text())

    def url(self, database: str = "postgres") -> str:
        """URL of one of its databases."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, making the data folder the first time, and return when connections are accepted."""
        if not (self.folder / "port").exists():
            self._make()
        self._run(
            "pg_ctl",
            "-D",
            str(self.folder / "data"),
            "-o",
            f"-p {self.port} -k {self.folder}",
            "-l",
            str(self.folder / "server.log"),
            "-t",
            "60",
            "-w",
            "start",
        )

    def stop(self) -> None:
        """End in good order; nothing happens when it is not running."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-t", "60", "-w", "stop")

    def kill(self) -> None:
        """End at once, as a crash does: no checkpoint, recovery at the next start."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-t", "60", "-w", "stop")

    def remove(self) -> None:
        """Delete the data of a server that was stopped."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self) -> int | None:
        """The postmaster's process id, None when it is not running."""
        try:
            number = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
            os.kill(number, 0)
        except (FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            return None
        return number

    def _make(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C.UTF-8"
        )
        with (self.folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS)
        (self.folder / "port").write_text(str(free_port()))

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(binaries() / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd="/",
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.strip()[-500:]} (see {self.folder / 'server.log'})")
