"""The files of an archived month: its rows as PostgreSQL's COPY text, compressed, and a description next to them."""

import gzip
import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import BinaryIO, Self

import orjson

CHUNK_BYTES = 1 << 20


class ArchiveRefused(Exception):
    """A file or a month is not as expected; the message says what was not changed and what to do."""


@dataclass(frozen=True, slots=True)
class ArchivedMonth:
    """The description next to a month's file: its log and month, and how to verify that it is complete.

    ``sha256``: of the file as it was written, not as it was read again.
    """

    installation: str
    month: str
    rows: int
    sha256: str

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the description of a month's file. Raises ArchiveRefused."""
        try:
            return cls(**orjson.loads(_description_path(file).read_bytes()))
        except (OSError, ValueError, TypeError) as error:
            raise ArchiveRefused(
                f"{_description_path(file)} cannot be read ({type(error).__name__}); nothing was changed: keep each"
                " month's .json file next to its .copy.gz file"
            ) from None

    def is_complete(self, file: Path) -> bool:
        """Read a month's file and return whether it has each byte and each row that was written."""
        with file.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != self.sha256:
                return False
        return sum(chunk.count(b"\n") for chunk in read_rows(file)) == self.rows


def write_month(
    file: Path, installation: str, month: date, rows: Iterable[bytes | bytearray | memoryview]
) -> ArchivedMonth:
    """Write a month's rows and their description; both have their names, and are on disk, when it returns."""
    unfinished, row_count = file.with_suffix(".partial"), 0
    with unfinished.open("wb") as raw:
        hashing = _HashingWriter(raw)
        with gzip.GzipFile(fileobj=hashing, mode="wb", mtime=0) as compressed:
            for chunk in rows:
                # COPY text has one line a row: it escapes the line ends within values.
                row_count += bytes(chunk).count(b"\n")
                compressed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    described = ArchivedMonth(installation, month.strftime("%Y-%m"), row_count, hashing.hash.hexdigest())
    with _description_path(file).open("wb") as raw:
        raw.write(orjson.dumps(asdict(described)))
        raw.flush()
        os.fsync(raw.fileno())
    unfinished.rename(file)
    _flush_folder(file.parent)
    return described


def read_rows(file: Path) -> Iterator[bytes]:
    """Yield a month's rows in chunks, which end anywhere."""
    with gzip.open(file, "rb") as compressed:
        while chunk := compressed.read(CHUNK_BYTES):
            yield chunk


class _HashingWriter:
    """Writes to a file and hashes what it was given: what the file returns later may differ."""

    def __init__(self, file: BinaryIO) -> None:
        self.hash = hashlib.sha256()
        self._file = file

    def write(self, data: bytes) -> int:
        self.hash.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _flush_folder(folder: Path) -> None:
    """Write the folder's entries to disk: without it a crash can lose files whose contents were written."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _description_path(file: Path) -> Path:
    return file.with_name(file.name.removesuffix(".copy.gz") + ".json")
