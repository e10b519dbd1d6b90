"""The service's code in a folder: this clone's, or that of an older commit with packages of its own."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.benchmarks.results import LOGGER
from deploy.local.paths import ROOT, STATE

FOLDER = STATE / "against"
LOCK = Path("deploy/requirements.lock")
# What migrates a log and what creates topics, by the file of the command's module: older trees have other commands.
MIGRATE_COMMANDS: Mapping[str, Sequence[str]] = {
    "services/admin/migrate.py": ("services.cli", "admin", "migrate"),
    "services/eventlog/migrate.py": ("services.eventlog.migrate",),
}
CREATE_TOPICS_COMMANDS: Mapping[str, Sequence[str]] = {
    "services/admin/create_topics.py": ("services.cli", "admin", "create-topics"),
    "services/topics.py": ("services.topics",),
}


@dataclass(frozen=True, slots=True)
class ServiceTree:
    """A folder that holds the packages ``services`` and ``schemas``, and the interpreter that runs them."""

    name: str
    folder: Path
    python: Path

    def migrate(self, url: str) -> None:
        """Create the tree's schema in an empty database. Raises RuntimeError."""
        self._run(MIGRATE_COMMANDS, {"DATABASE_URL": url})

    def create_topics(self, environment: Mapping[str, str]) -> None:
        """Create the topics of an installation. Raises RuntimeError."""
        self._run(CREATE_TOPICS_COMMANDS, environment)

    def _run(self, commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]) -> None:
        command = next((command for file, command in commands.items() if (self.folder / file).exists()), None)
        if command is None:
            raise RuntimeError(f"{self.name} has none of {', '.join(commands)}: it cannot be measured")
        _run([str(self.python), "-m", *command], self.folder, environment)


THIS_TREE = ServiceTree("this tree", ROOT, Path(sys.executable))


def checkout(commit: str) -> ServiceTree:
    """Return a commit's tree, extracted into the state folder, with the packages of its lock.

    It runs on the interpreter of this environment, so that a ratio compares the code alone.

    Raises:
        RuntimeError: there is no such commit, or its packages cannot be installed.
    """
    try:
        full_hash = _run(["git", "rev-parse", "--verify", f"{commit}^{{commit}}"], ROOT).decode().strip()
    except RuntimeError:
        raise RuntimeError(f"this clone has no commit {commit}") from None
    folder = FOLDER / full_hash
    if not folder.exists():
        incomplete = FOLDER / f"{full_hash}-{os.getpid()}"
        incomplete.mkdir(parents=True)
        archive = incomplete / "archive.tar"
        _run(["git", "archive", "--output", str(archive), full_hash, "services", "schemas", str(LOCK)], ROOT)
        _run(["tar", "-xf", archive.name], incomplete)
        archive.unlink()
        incomplete.rename(folder)
    return ServiceTree(full_hash[:7], folder, _install((folder / LOCK).read_bytes()))


def _install(lock: bytes) -> Path:
    """Return an interpreter with the packages of a lock: this one if it has them, else that of a new environment."""
    if lock == (ROOT / LOCK).read_bytes():
        return Path(sys.executable)
    digest = hashlib.sha256(lock + sys.version.encode() + sys.base_prefix.encode()).hexdigest()
    environment = FOLDER / f"packages-{digest[:12]}"
    if not environment.exists():
        LOGGER.info("installing the older tree's packages")
        incomplete = FOLDER / f"{environment.name}-{os.getpid()}"
        _run([sys.executable, "-m", "venv", str(incomplete)], ROOT)
        lock_file = incomplete / "requirements.lock"
        lock_file.write_bytes(lock)
        pip = [str(incomplete / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "install", "--require-hashes", "-r", str(lock_file)], ROOT)
        # Its scripts name the old folder; none is used.
        incomplete.rename(environment)
    return environment / "bin/python"


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> bytes:
    """Run a command and return its output. Raises RuntimeError, with what it wrote, if it fails."""
    # Without PYTHONPATH: a tree's packages come from its folder and its interpreter alone.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(command, cwd=folder, env=variables | dict(environment or {}), capture_output=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout
