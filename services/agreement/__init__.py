"""Agreement between the graders of an assignment: statistics, tables and small plots. Pure; nothing is stored.

The statistics need the libraries of the extra ``agreement``; the rest of the service runs without them.
"""

from importlib.util import find_spec

_LIBRARIES = ("numpy", "pycm")


class LibrariesMissing(Exception):
    """The extra ``agreement`` is not installed; the message names the remedy."""


def require_libraries() -> None:
    """Raise LibrariesMissing unless the extra is installed."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if missing:
        raise LibrariesMissing(
            f"agreement figures need {', '.join(missing)}; nothing was calculated:"
            " run pip install 'moderated-grading[agreement]'"
        )
