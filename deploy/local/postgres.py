"""Runs one local PostgreSQL on a free port, as an unprivileged user when we are root.

Every login has a password (SCRAM) in a separate file that only we can read. URLs name the file, so that no password is
in the environment or in arguments. With an authority the server accepts only encrypted connections.
"""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from psycopg import sql

from deploy.local.certificates import HOST_ADDRESS, CertificateAuthority, write_secret
from deploy.local.paths import free_port, remove_folder, running_pid, terminate, wait_until_ready
from deploy.local.postgres_programs import find_binaries

USER = "moderation"
SERVER_SETTINGS = {"max_connections": "200", "shared_buffers": "256MB", "max_wal_size": "4GB"}
UNUSED_WAIT_SECONDS_MAX = 60
SESSIONS_SECONDS_MAX = 60
INITDB_OPTIONS = ("-E", "UTF8", "--locale=C.UTF-8")


def format_url(port: int, password_file: Path, authority: CertificateAuthority | None = None) -> str:
    """Return the URL of the database ``postgres``, for its superuser."""
    parameters = {"passfile": str(password_file)}
    if authority is not None:
        parameters |= {"sslmode": "verify-full", "sslrootcert": str(authority.certificate)}
    return f"postgresql://{USER}@127.0.0.1:{port}/postgres?{urlencode(parameters, safe='/')}"


def create_password(password_file: Path, login: str = USER) -> str:
    """Generate a password, write it to a file in PostgreSQL's format, and return it."""
    password = secrets.token_urlsafe(24)
    write_secret(password_file, f"*:*:*:{login}:{password}\n")
    return password


def read_password(url: str) -> str | None:
    """Return the password of a URL, or the one in its password file; None if it has neither."""
    parts = urlsplit(url)
    if parts.password or "passfile" not in (parameters := dict(parse_qsl(parts.query))):
        return parts.password
    return Path(parameters["passfile"]).read_text().rstrip("\n").rpartition(":")[2]


def is_ready(url: str) -> bool:
    """Return whether it accepts connections."""
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2).close()
        return True
    return False


def database_url(url: str, name: str) -> str:
    """Return the URL of another database of the same server."""
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def database_name(url: str) -> str:
    """Return the database name of a URL."""
    return urlsplit(url).path.removeprefix("/")


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

    The server may notice a killed client only after its own waiting time.
    """
    deadline = time.monotonic() + UNUSED_WAIT_SECONDS_MAX
    while True:
        try:
            connection.execute(statement)
            return
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise


class PostgresServer:
    """A server whose data and port survive restarts. Raises RuntimeError when it does not start.

    ``authority``: encrypts all connections, with the certificate that it issued for "postgres". ``environment``: more
    variables of the server.
    """

    def __init__(
        self,
        folder: Path,
        authority: CertificateAuthority | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.folder = folder
        self.authority = authority
        self.environment = environment
        self.password_file = folder.with_name(f"{folder.name}-{USER}.pgpass")

    @property
    def address(self) -> str:
        """URL of its database ``postgres``. The port is chosen when the data folder is created."""
        return format_url(self.port, self.password_file, self.authority)

    def start(self) -> None:
        """Start it unless it runs, creating the data folder the first time, and wait until it accepts connections."""
        if self.pid() is not None:
            return
        if not (self.folder / "port").exists():
            self._create()
        self._wait_for_sessions()
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
            environment=self.environment,
        )

    def stop(self) -> None:
        """Stop it gracefully, if it runs."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-t", "60", "-w", "stop")

    def crash(self) -> None:
        """Send SIGKILL to the postmaster, if it runs. Its sessions notice that by themselves, some of them later."""
        if (pid := self.pid()) is not None:
            terminate(pid, signal.SIGKILL)
            # PostgreSQL takes it for running until its parent, which is not we, has collected it.
            wait_until_ready(lambda: not Path(f"/proc/{pid}").exists(), lambda: True, SESSIONS_SECONDS_MAX)

    def kill(self) -> None:
        """End it and its sessions at once: without a checkpoint, with recovery at the next start."""
        if self.pid() is not None:
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-t", "60", "-w", "stop")

    def remove(self) -> None:
        """Delete the data of a stopped server."""
        self.password_file.unlink(missing_ok=True)
        remove_folder(self.folder)

    def create_standby_of(self, primary: "PostgresServer", slot: str) -> None:
        """Make this stopped server a streaming standby of a running one; it keeps its port."""
        port = self.port if (self.folder / "port").exists() else free_port()
        self._create_folder()
        source = ["-h", "127.0.0.1", "-p", str(primary.port), "-U", USER]
        data = self.folder / "data"
        # A standby has its primary's logins. PostgreSQL's user cannot read our file, so -R stores the password.
        write_secret(self.password_file, primary.password_file.read_text())
        password = {"PGPASSWORD": read_password(primary.address) or ""}
        options = ["-R", "-X", "stream", "-c", "fast", "-C", "-S", slot]
        self._run("pg_basebackup", "-D", str(data), *source, *options, environment=password)
        with (data / "postgresql.auto.conf").open("a") as file:
            # After a promotion it has no standby to wait for.
            file.write("synchronous_standby_names = ''\nwal_retrieve_retry_interval = '500ms'\n")
        (self.folder / "port").write_text(str(port))

    def promote(self) -> None:
        """Make a running standby the primary, and wait until it accepts writes."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-t", "60", "-w", "promote")

    def pid(self) -> int | None:
        """Return the postmaster's process id; None if it does not run."""
        return running_pid(self.folder / "data" / "postmaster.pid", str(self.folder / "data"))

    @property
    def port(self) -> int:
        return int((self.folder / "port").read_text())

    def _wait_for_sessions(self) -> None:
        """Wait for sessions of a postmaster that was killed: until they end, PostgreSQL refuses to start."""
        if not wait_until_ready(lambda: not self._has_sessions(), lambda: True, SESSIONS_SECONDS_MAX):
            raise RuntimeError(f"sessions of the killed server still run in {self.folder / 'data'}")

    def _has_sessions(self) -> bool:
        data = str((self.folder / "data").resolve())
        for link in Path("/proc").glob("[0-9]*/cwd"):
            # A process may end meanwhile; those of other users cannot be read and are not ours.
            with contextlib.suppress(OSError):
                if os.readlink(link) == data:
                    return True
        return False

    def _create_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._give_to_server(self.folder)

    def _create(self) -> None:
        self._create_folder()
        initial_password = self.folder / "password"
        write_secret(initial_password, create_password(self.password_file))
        self._give_to_server(initial_password)
        authentication = ("-A", "scram-sha-256", f"--pwfile={initial_password}")
        self._run("initdb", "-D", str(self.folder / "data"), *authentication, "-U", USER, *INITDB_OPTIONS)
        initial_password.unlink()
        settings = dict(SERVER_SETTINGS)
        if self.authority is not None:
            settings |= self._encrypt(self.authority)
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        (self.folder / "port").write_text(str(free_port()))

    def _encrypt(self, authority: CertificateAuthority) -> dict[str, str]:
        """Give the server its certificate, refuse unencrypted connections, and return the settings for it."""
        issued = authority.issued("postgres")
        for source, target in ((issued.certificate, "server.crt"), (issued.key, "server.key")):
            write_secret(self.folder / "data" / target, source.read_text())
            self._give_to_server(self.folder / "data" / target)
        (self.folder / "data" / "pg_hba.conf").write_text(f"hostssl all all {HOST_ADDRESS}/32 scram-sha-256\n")
        return {"ssl": "on", "ssl_min_protocol_version": "TLSv1.2"}

    @staticmethod
    def _give_to_server(path: Path) -> None:
        """Make PostgreSQL's own user the owner if we are root and it is another user."""
        if os.getuid() == 0:
            account = pwd.getpwnam("postgres")
            os.chown(path, account.pw_uid, account.pw_gid)

    def _run(self, program: str, *arguments: str, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        command = [str(find_binaries(needs_tls=self.authority is not None) / program), *arguments]
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
            env={**os.environ, **environment},
        )
        if result.returncode:
            raise RuntimeError(f"{program} failed: {result.stderr.strip()[-500:]} (see {self.folder / 'server.log'})")
