"""Identifies the code that makes states: a snapshot is used only by the code that made it."""

import functools
import hashlib
import importlib.resources
import secrets
import sys
from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable

import asyncpg
import msgspec
import orjson
import pydantic

CODE = ("services.moderation", "services.eventlog", "services.commands", "schemas")
"""The packages whose code makes states of rows.

``services.commands`` reads the rows that are folded; ``schemas`` names the personal fields that are put back into them.
``services.config`` is not one of them, although it reads the master key's file: with another key no text is decrypted.
"""
# Of the libraries that decode rows and find the personal fields. A cipher returns what was encrypted, or fails.
VERSIONS = (sys.version, asyncpg.__version__, msgspec.__version__, orjson.__version__, pydantic.VERSION)


class CodeUnreadable(Exception):
    """The source files of this code cannot be read; the message states what to do."""


@functools.cache
def form_id() -> bytes:
    """Return a hash of the code that makes states: any change of it makes older snapshots unusable.

    Call it first when a process starts, while its files are those that it runs: they may be replaced later.

    Raises:
        CodeUnreadable: the files are gone, or may not be read.
    """
    try:
        return hash_code({package: importlib.resources.files(package) for package in CODE})
    except (OSError, ImportError) as error:
        # Not an OSError: those of a handler's batches are taken for PostgreSQL's.
        raise CodeUnreadable(
            f"the source files of {', '.join(CODE)} cannot be read ({type(error).__name__}), so it is unknown"
            " which snapshots this code made. Install this version again, and start it when its files no longer change;"
            " HANDLER_SNAPSHOT_EVENTS=0 starts handlers without snapshots"
        ) from error


def hash_code(folders: Mapping[str, Traversable]) -> bytes:
    """Return a hash of the names and contents of all source files of packages, and of the versions below them.

    ``folders``: by package.
    """
    digest = hashlib.sha256(" ".join(VERSIONS).encode())
    for package, folder in folders.items():
        sources = list(list_sources(folder, package))
        if not sources:
            # Installed without sources: this code cannot be identified, so each process uses only its own snapshots.
            return secrets.token_bytes(digest.digest_size)
        for path, source in sources:
            content = source.read_bytes()
            digest.update(f"{path} {len(content)} ".encode() + content)
    return digest.digest()


def list_sources(folder: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    """Yield the path and the file of each source file in a folder and below it; ``path``: of the folder."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        entry_path = f"{path}/{entry.name}"
        if entry.is_dir():
            yield from list_sources(entry, entry_path)
        elif entry.name.endswith(".py"):
            yield entry_path, entry
