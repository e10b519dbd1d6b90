"""Checks of settings that are URLs."""

from urllib.parse import urlsplit

LMS_URL_DESCRIPTION = "the http or https URL of the LMS's web pages"
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")


def validate_jwks_location(value: str | None) -> str | None:
    """Return the value. Raises ValueError unless it is a path, an https URL, or an http URL of this machine."""
    if value is None or "://" not in value:
        return value
    parts = urlsplit(value)
    if parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS)):
        return value
    raise ValueError("neither a path nor an https URL")


def validate_base_url(value: str) -> str:
    """Return the URL without a trailing slash. Raises ValueError unless it can be the base of links.

    User and password are refused, because links and messages show the URL.
    """
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("not a base URL")
    if "@" in parts.netloc:
        raise ValueError("a base URL with user or password")
    return value.rstrip("/")
