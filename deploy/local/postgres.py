"""Run one local PostgreSQL on a free port, as an unprivileged user when we are root."""

import contextlib
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from deploy.local.paths import free_port, remove_folder, running_pid

USER = "moderation"
SERVER_SETTINGS = {"max_connections": "200", "shared_buffers": "256MB", "max_wal_size": "4GB"}
UNUSED_WAIT_SECONDS_MAX = 60
INITDB_OPTIONS = ("-E", "UTF8", "--locale=C.UTF-8")


def format_url(port: int) -> str:
    """URL of the database ``postgres``."""
    return f"postgresql://{USER}@127.0.0.1:{port}/postgres"


def is_ready(url: str) -> bool:
    """Return whether it accepts connections."""
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def database_url(url: str, name: str) -> str:
    """URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def create_database(url: str, name: str, template: str = "template1") -> str:
    """Create a database on the server of ``url``, unless it exists, and return its URL."""
    with psycopg.connect(url, autocommit=True) as connection:
        if connection.execute("select from pg_database where datname = %s", (name,)).fetchone() is None:
            _execute_when_unused(
                connection,
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template)),
            )
    return database_url(url, name)


def drop_databases(url: str, prefix: str) -> None:
    """Drop every database on the server of ``url`` whose name begins with ``prefix``."""
    with psycopg.connect(url, autocommit=True) as connection:
        for (name,) in connection.execute("select datname from pg_database where starts_with(datname, %s)", (prefix,)):
            _execute_when_unused(connection, sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _execute_when_unused(connection: psycopg.Connection, statement: sql.Composed) -> None:
    """Execute once no other session is connected to the database that is copied or dropped.

    The server may notice a killed client later than it waits by itself.
    """
    deadline = time.monotonic() + UNUSED_WAIT_SECONDS_MAX
    while True:
        try:
            connection.execute(statement)
            return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise


def find_binaries() -> Path:
    """Folder of initdb, pg_ctl and postgres, of the newest version installed. Raises FileNotFoundError."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if versions:
        return versions[-1].parent
    pg_ctl = shutil.which("pg_ctl")
    if pg_ctl is None:
        raise FileNotFoundError("PostgreSQL 15 or newer is not installed: install it, or set DATABASE_URL to a server")
    return Path(pg_ctl).resolve().parent


class PostgresServer:
    """A server whose data and port survive restarts. Raises RuntimeError when it does not start."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def address(self) -> str:
        """URL of its database ``postgres``. The port is chosen when the data folder is created."""
        return format_url(self.port)

    def start(self) -> None:
        """Start it unless it runs, creating the data folder the first time, and wait until it accepts connections."""
        if self.pid() is not None:
            return
        if not (self.folder / "port").exists():
            self._create()
        self._run(
            "pg_ctl",
            "-D",
            str(self.folder / "data"),
            "-o",
            f"-p {self.port} -c listen_addresses=127.0.0.1 -k ''",
            "-l",
            str(self.folder / "server.log"),
            "-t",
            "60",
            "-w",
            "start",
        )

    def stop(self) -> None:
        """Stop it gracefully, if it runs."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-t", "60", "-w", "stop")

    def kill(self) -> None:
        """End it at once, as a crash does: without checkpoint, with recovery at the next start."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-t", "60", "-w", "stop")

    def remove(self) -> None:
        """Delete the data of a stopped server."""
        remove_folder(self.folder)

    def create_standby_of(self, primary: "PostgresServer", slot: str) -> None:
        """Make this server, which does not run, a streaming standby of one that runs; it keeps its port."""
        port = self.port if (self.folder / "port").exists() else free_port()
        self._create_folder()
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", USER]
        data = self.folder / "data"
        self._run("pg_basebackup", "-D", str(data), *source, "-R", "-X", "stream", "-c", "fast", "-C", "-S", slot)
        with (data / "postgresql.auto.conf").open("a") as file:
            # Promoted, it has no standby of its own to wait for.
            file.write("synchronous_standby_names = ''\nwal_retrieve_retry_interval = '500ms'\n")
        (self.folder / "port").write_text(str(port))

    def promote(self) -> None:
        """Make a running standby the primary, and wait until it takes writes."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-t", "60", "-w", "promote")

    def pid(self) -> int | None:
        """Return the postmaster's process id; None if it does not run."""
        return running_pid(self.folder / "data" / "postmaster.pid", str(self.folder / "data"))

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    def _create_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def _create(self) -> None:
        self._create_folder()
        self._run("initdb", "-D", str(self.folder / "data"), "-A", "trust", "-U", USER, *INITDB_OPTIONS)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in SERVER_SETTINGS.items())
        (self.folder / "port").write_text(str(free_port()))

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(find_binaries() / program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd="/",
        )
        if result.returncode:
            raise RuntimeError(f"{program} failed: {result.stderr.strip()[-500:]} (see {self.folder / 'server.log'})")
