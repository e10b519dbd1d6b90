"""Renders pages. Untrusted text is escaped, and isolated so that it cannot reorder the text around it."""

import functools
import hashlib
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from schemas.reasons import REASONS
from services.console.group_members import UNASSIGNED
from services.console.runbook import to_anchor
from services.console.web.csv_export import build_csv_link
from services.console.wording import format_duration, pluralize

FOLDER = Path(__file__).parent
STATIC = {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir())}
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
NAVIGATION = (
    ("/", "Status"),
    ("/failures", "Failures"),
    ("/assignments", "Assignments"),
    ("/topics", "Topics"),
    ("/actions", "Actions"),
    ("/audit", "Audit"),
)
MODERATOR_NAVIGATION = (("/moderation", "Moderation"),)
STATIC_VERSION = hashlib.blake2b(b"".join(STATIC.values()), digest_size=6).hexdigest()
"""Part of each link to a static file, so that browsers cache it forever and load a new version at once."""
TEXT_CHARACTERS_MAX = 500


class Templates:
    """The Jinja environment of all pages."""

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
            pluralize=pluralize,
            stamp=STATIC_VERSION,
            pages=NAVIGATION,
            moderator_pages=MODERATOR_NAVIGATION,
            unassigned=UNASSIGNED,
            to_anchor=to_anchor,
            refusals=REASONS,
        )
        # Load all templates now: files that are replaced while the process runs belong to other code.
        for name in self.environment.list_templates():
            self.environment.get_template(name)

    def render_page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Render a page for the user of the request, with ``values`` for the template."""
        user = getattr(request.state, "user", None)
        monitor = request.app.state.dependencies.monitor
        text = self.environment.get_template(template).render(
            user=user,
            pipeline=monitor.status,
            path=request.url.path,
            csv_link=functools.partial(build_csv_link, request),
            **values,
        )
        return HTMLResponse(text, status)

    def render_fragment(self, template: str, name: str, *values: Any) -> str:
        """Render a template's macro: a fragment of a page that is sent alone."""
        return str(getattr(self.environment.get_template(template).module, name)(*values))


def time_tag(at: datetime | None) -> Markup:
    """Format a time in UTC, to the second; with its date unless that is today."""
    if at is None:
        return Markup("–")
    at = at.astimezone(UTC)
    display_text = f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="milliseconds"), display_text)


def format_iso_time(at: datetime) -> str:
    """Format a time for a link or form field, to the microsecond."""
    return at.astimezone(UTC).isoformat()


def humanize(name: str | None) -> str:
    """Write an identifier as words."""
    return "unreadable" if name is None else name.replace("_", " ")


def untrusted_text(text: object, characters_max: int = TEXT_CHARACTERS_MAX) -> Markup:
    """Truncate and isolate untrusted text, and show invisible and bidirectional characters as escapes."""
    return Markup("<bdi>{}</bdi>").format(escape(plain_text("–" if text is None else text, characters_max)))


def plain_text(text: object, characters_max: int = TEXT_CHARACTERS_MAX) -> str:
    """Truncate untrusted text, and show invisible and bidirectional characters as escapes."""
    full_text = str(text)
    return escape_invisible(full_text[:characters_max]) + ("…" if len(full_text) > characters_max else "")


def escape_invisible(text: str) -> str:
    """Replace control, format and unassigned characters by escapes, except line feeds and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c if c in "\n\t" or unicodedata.category(c)[0] != "C" or c == "\u200d" else unicode_escape(c) for c in text
    )


def unicode_escape(character: str) -> str:
    """Return the escape that JSON and Python use."""
    code_point = ord(character)
    return f"\\u{code_point:04x}" if code_point < 0x10000 else f"\\U{code_point:08x}"
