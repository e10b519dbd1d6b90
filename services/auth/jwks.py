"""The public keys that verify tokens: a JWK set (RFC 7517) in a file or at a URL, reloaded when it changes.

PyJWT's PyJWKClient is not enough: it cannot read a file, follows redirects, blocks the event loop, and limits neither
the size of the set, nor the total time of a request, nor the age of keys that it cannot reload.
"""

import asyncio
import http.client
import json
import logging
import os
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jwt import PyJWK
from jwt.exceptions import PyJWTError

LOGGER = logging.getLogger("tokens")
ALGORITHMS: dict[tuple[str, str | None], str] = {
    ("RSA", None): "RS256",
    ("EC", "P-256"): "ES256",
    ("OKP", "Ed25519"): "EdDSA",
}
"""Algorithm by type and curve of the key; the header of a token never chooses it."""
RSA_BITS_MIN = 2_048
JWKS_BYTES_MAX = 64 << 10
FETCH_SECONDS_MAX = 5
READ_BYTES = 8 << 10
CACHE_SECONDS = 300
UNKNOWN_KID_REFETCH_SECONDS = 60
FILE_CHECK_SECONDS = 1
AGE_SECONDS_MAX = 24 * 3600
"""How long keys stay in use while they cannot be reloaded (default of JWKS_AGE_MAX); KeysOld alerts after an hour."""


class JwksError(OSError):
    """The JWK set cannot be read, or holds no usable key; the message names the remedy."""


def parse_jwks(document: bytes) -> dict[str | None, list[PyJWK]]:
    """Parse the usable public keys, by key id. Skips private and weak keys, and those of another use or algorithm.

    Raises:
        JwksError: the document is not a JWK set, or holds no usable key.
    """
    try:
        entries = json.loads(document)["keys"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise JwksError('the JWK set is not JSON of the form {"keys": […]}') from None
    keys_by_id: dict[str | None, list[PyJWK]] = {}
    for entry in entries if isinstance(entries, list) else ():
        key = _parse_usable_key(entry)
        if key is not None:
            keys_by_id.setdefault(key.key_id, []).append(key)
    if not keys_by_id:
        raise JwksError("the JWK set holds no public key for RS256, ES256 or EdDSA: add one")
    return keys_by_id


def _parse_usable_key(entry: Any) -> PyJWK | None:
    if not isinstance(entry, dict):
        return None
    key_type, curve = entry.get("kty"), entry.get("crv")
    algorithm = ALGORITHMS.get((str(key_type), None if key_type == "RSA" else str(curve)))
    stated_algorithm, operations = entry.get("alg", algorithm), entry.get("key_ops", ["verify"])
    if (
        algorithm is None
        or stated_algorithm != algorithm
        or entry.get("use", "sig") != "sig"
        or not isinstance(operations, list | str)
        or "verify" not in operations
    ):
        return None
    kid = entry.get("kid")
    if "d" in entry or not (kid is None or isinstance(kid, str)):
        LOGGER.warning("skipped a key of the JWK set: it is private, or its kid is not a string")
        return None
    try:
        key = PyJWK(entry, algorithm)
    except (PyJWTError, ValueError, KeyError, TypeError):
        LOGGER.warning("skipped a key of the JWK set: it cannot be parsed")
        return None
    if getattr(key.key, "key_size", RSA_BITS_MIN) < RSA_BITS_MIN and algorithm == "RS256":
        LOGGER.warning("skipped an RSA key of the JWK set: it has less than %d bits", RSA_BITS_MIN)
        return None
    return key


class JwkSet:
    """The keys as they were last read. ``generation`` grows with each change.

    A file is reloaded when it changes, a URL every CACHE_SECONDS, so a removed key is refused after that time at the
    latest. An unknown key id reloads a URL at once, at most every UNKNOWN_KID_REFETCH_SECONDS, and waits for a read in
    progress: it may bring the key. While the set cannot be read, the known keys stay in use for ``age_seconds_max``;
    after that every token is refused until it can be read.
    """

    def __init__(
        self, location: str, clock: Callable[[], float] = time.monotonic, *, age_seconds_max: float = AGE_SECONDS_MAX
    ) -> None:
        self.location = location
        self.age_seconds_max = age_seconds_max
        self.clock = clock
        self.by_id: dict[str | None, list[PyJWK]] = {}
        self.generation = 0
        self._is_file = "://" not in location
        self._document = b""
        self._file_stamp: tuple[int, int, int] | None = None
        self._checked_at = self._refetched_at = self._confirmed_at = float("-inf")
        # The last reload. A task of its own, so that a caller who is cancelled does not end it for the others.
        self._reload_task: asyncio.Task[None] | None = None
        self._problem: str | None = None

    def keys_for(self, kid: str | None) -> list[PyJWK]:
        """Return the keys with that id; all keys for a token without a key id."""
        if kid is None:
            return [key for keys in self.by_id.values() for key in keys]
        return self.by_id.get(kid, [])

    def age(self) -> float:
        """Return the seconds since the keys were last read, or found to be unchanged."""
        return self.clock() - self._confirmed_at

    async def load(self) -> None:
        """Read the set for the first time. Raises JwksError."""
        await self._read()

    async def refresh(self, kids: Iterable[str | None] = ()) -> None:
        """Reload the set if that is due; ``kids``: the key ids to be looked up next. Never raises.

        Known key ids do not wait for a read that another caller began. Unknown ones wait for two at most: one in
        progress, and one begun after it, which settles whether the set has the key.
        """
        wanted = frozenset(kids)
        for _ in range(2):
            if self._reload_task is None or self._reload_task.done():
                if self._is_due(wanted):
                    self._reload_task = asyncio.create_task(self._reload())
                    await asyncio.shield(self._reload_task)
                return
            if not self._has_unknown(wanted):
                return
            await asyncio.shield(self._reload_task)

    async def keep_current(self) -> None:
        """Reload the set whenever that is due, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(FILE_CHECK_SECONDS)

    async def _reload(self) -> None:
        try:
            await self._read()
            self._problem = None
        except JwksError as error:
            if str(error) != self._problem:
                LOGGER.warning("the JWK set was not reloaded, the known keys stay in use: %s", error)
            self._problem = str(error)
            self._expire()

    def _expire(self) -> None:
        if self.by_id and self.age() > self.age_seconds_max:
            LOGGER.error("the JWK set could not be read for %d s: all tokens are refused", self.age_seconds_max)
            self.by_id, self._document = {}, b""
            self.generation += 1

    def _has_unknown(self, kids: Iterable[str | None]) -> bool:
        return any(kid is not None and kid not in self.by_id for kid in kids)

    def _is_due(self, kids: Iterable[str | None]) -> bool:
        """Return whether a read must begin now; the caller begins it before anyone else asks."""
        now = self.clock()
        if self._is_file:
            if now - self._checked_at < FILE_CHECK_SECONDS:
                return False
            self._checked_at = now
            if self._read_file_stamp() != self._file_stamp:
                return True
            self._confirmed_at = now
            return False
        if now - self._checked_at > CACHE_SECONDS:
            return True
        if self._has_unknown(kids) and now - self._refetched_at >= UNKNOWN_KID_REFETCH_SECONDS:
            self._refetched_at = now
            return True
        return False

    def _read_file_stamp(self) -> tuple[int, int, int] | None:
        try:
            file_status = os.stat(self.location)
        except OSError:
            return None
        return file_status.st_mtime_ns, file_status.st_size, file_status.st_ino

    async def _read(self) -> None:
        self._checked_at = self.clock()
        stamp = self._read_file_stamp() if self._is_file else None
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                document = await asyncio.to_thread(_read_file if self._is_file else _fetch, self.location)
        except TimeoutError:
            raise JwksError(f"the JWK set at {self.location} was not read within {FETCH_SECONDS_MAX} s") from None
        except (OSError, ValueError) as error:
            raise JwksError(f"the JWK set at {self.location} cannot be read: {error}") from None
        if document != self._document:
            self.by_id = parse_jwks(document)
            self._document = document
            self.generation += 1
        self._file_stamp = stamp
        self._confirmed_at = self.clock()


def _read_file(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return _check_size(file.read(JWKS_BYTES_MAX + 1))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Refuses redirects: keys come from the configured URL only."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetch(url: str) -> bytes:
    """Fetch within FETCH_SECONDS_MAX in total: urllib's timeout applies to each read of the socket."""
    deadline, document = time.monotonic() + FETCH_SECONDS_MAX, b""
    opener = urllib.request.build_opener(_NoRedirects)
    try:
        with opener.open(url, timeout=FETCH_SECONDS_MAX) as response:
            while chunk := response.read1(READ_BYTES):
                document = _check_size(document + chunk)
                if time.monotonic() > deadline:
                    raise TimeoutError
    except http.client.HTTPException as error:
        raise ValueError(f"the response is not complete HTTP ({type(error).__name__})") from None
    return document


def _check_size(document: bytes) -> bytes:
    if len(document) > JWKS_BYTES_MAX:
        raise ValueError(f"it is larger than {JWKS_BYTES_MAX} bytes")
    return document
