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

from services.console.group_members import NOBODY
from services.console.pipeline_status import count, lasting

FOLDER = Path(__file__).parent
STATIC = {path.name: path.read_bytes() for path in sorted((FOLDER / "static").iterdir())}
TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
PAGES = (
    ("/", "Now"),
    ("/failures", "Failures"),
    ("/assignments", "Assignments"),
    ("/topics", "Topics"),
    ("/actions", "Actions"),
)
STAMP = hashlib.blake2b(b"".join(STATIC.values()), digest_size=6).hexdigest()
"""In every link to a static file: a new version is asked for at once, the old one kept for ever."""
TEXT_CHARACTERS_MAX = 500


class Rendering:
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
        self.environment.filters.update(lasting=lasting, when=when, day=day, foreign=foreign, words=words)
        self.environment.globals.update(count=count, stamp=STAMP, pages=PAGES, nobody=NOBODY)
        # All at once: those of a newer version, put in place under a running process, are not this code's.
        for name in self.environment.list_templates():
            self.environment.get_template(name)

    def page(self, request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A page for whoever asks; ``values`` are the template's."""
        person = getattr(request.state, "person", None)
        watch = request.app.state.parts.watch
        text = self.environment.get_template(template).render(
            person=person, now=watch.now, path=request.url.path, **values
        )
        return HTMLResponse(text, status)

    def part(self, template: str, name: str, *values: Any) -> str:
        """What a template's macro makes of values: a part of a page that is sent alone."""
        return str(getattr(self.environment.get_template(template).module, name)(*values))


def when(at: datetime | None) -> Markup:
    """A time, to the second and in UTC; its date too where that is not today's."""
    if at is None:
        return Markup("–")
    at = at.astimezone(UTC)
    shown = f"{at:%H:%M:%S}" if at.date() == datetime.now(UTC).date() else f"{at:%Y-%m-%d %H:%M:%S}"
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="milliseconds"), shown)


def day(at: datetime) -> str:
    """A time for a form's field, exact to the microsecond."""
    return at.astimezone(UTC).isoformat()


def words(name: str | None) -> str:
    """A name of ours as words."""
    return "unreadable" if name is None else name.replace("_", " ")


def foreign(text: object, characters_max: int = TEXT_CHARACTERS_MAX) -> Markup:
    """Text of somebody else's: cut, its invisible and turning characters shown as escapes, isolated from ours."""
    whole = "–" if text is None else str(text)
    shown = visible(whole[:characters_max]) + ("…" if len(whole) > characters_max else "")
    return Markup("<bdi>{}</bdi>").format(escape(shown))


def visible(text: str) -> str:
    """Control, format and unassigned characters as escapes; line feeds and tabs as they are."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in "\n\t" or unicodedata.category(c)[0] != "C" or c == "\u200d" else escaped(c) for c in text)


def escaped(character: str) -> str:
    """As JSON or Python would write it."""
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
