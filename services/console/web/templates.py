"""Templates to pages. Everything that comes from outside is escaped, and kept from turning the text around it."""

import hashlib
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.console.group_members import UNASSIGNED
from services.console.pipeline_status import format_duration, pluralize

FOLDER = Path(__file__).parent
STATIC = {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir())}
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
NAVIGATION = (
    ("/", "Now"),
    ("/failures", "Failures"),
    ("/assignments", "Assignments"),
    ("/topics", "Topics"),
    ("/actions", "Actions"),
)
STATIC_VERSION = hashlib.blake2b(b"".join(STATIC.values()), digest_size=6).hexdigest()
"""In every link to a static file: a new version is asked for at once, the old one kept for ever."""
TEXT_CHARACTERS_MAX = 500


class Templates:
    """One environment for all pages."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(
            format_duration=format_duration,
            time_tag=time_tag,
            format_iso_time=format_iso_time,
            untrusted_text=untrusted_text,
            humanize=humanize,
        )
        self.environment.globals.update(
            pluralize=pluralize, stamp=STATIC_VERSION, pages=NAVIGATION, unassigned=UNASSIGNED
        )
        # All at once: those of a newer version, put in place under a running process, are not this code's.
        for name in self.environment.list_templates():
            self.environment.get_template(name)

    def render_page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page for whoever asks; ``values`` are the template's."""
        user = getattr(request.state, "user", None)
        monitor = request.app.state.dependencies.monitor
        text = self.environment.get_template(template).render(
            user=user, now=monitor.status, path=request.url.path, **values
        )
        return HTMLResponse(text, status)

    def render_fragment(self, template: str, name: str, *values: Any) -> str:
        """What a template's macro makes of values: a part of a page that is sent alone."""
        return str(getattr(self.environment.get_template(template).module, name)(*values))


def time_tag(at: datetime | None) -> Markup:
    """A time, to the second and in UTC; its date too where that is not today's."""
    if at is None:
        return Markup("–")
    at = at.astimezone(UTC)
    display_text = f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="milliseconds"), display_text)


def format_iso_time(at: datetime) -> str:
    """A time for a form's field, exact to the microsecond."""
    return at.astimezone(UTC).isoformat()


def humanize(name: str | None) -> str:
    """A name of ours as words."""
    return "unreadable" if name is None else name.replace("_", " ")


def untrusted_text(text: object, characters_max: int = TEXT_CHARACTERS_MAX) -> Markup:
    """Text of somebody else's: cut, its invisible and turning characters shown as escapes, isolated from ours."""
    full_text = "–" if text is None else str(text)
    display_text = escape_invisible(full_text[:characters_max]) + ("…" if len(full_text) > characters_max else "")
    return Markup("<bdi>{}</bdi>").format(escape(display_text))


def escape_invisible(text: str) -> str:
    """Control, format and unassigned characters as escapes; line feeds and tabs as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" or c == "\u200d" else unicode_escape(c) for c in text
    )


def unicode_escape(character: str) -> str:
    """As JSON or Python would write it."""
    code_point = ord(character)
    return f"\\u{code_point:04x}" if code_point < 0x10000 else f"\\U{code_point:08x}"
