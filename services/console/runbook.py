"""The runbook, as the console shows it: an HTML page with an anchor for each heading."""

from functools import cache
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

RUNBOOK = Path(__file__).with_name("runbook.md")


def to_anchor(heading: str) -> str:
    """Return the anchor of a heading, as forges make it: in lower case, with hyphens for spaces."""
    return heading.lower().replace(" ", "-")


@cache
def render_runbook() -> tuple[Markup, frozenset[str]]:
    """Return the runbook as HTML, without its title, and the anchors in it."""
    markdown = MarkdownIt("commonmark", {"html": False})
    tokens = markdown.parse(RUNBOOK.read_text())
    anchors = []
    for opening, content in zip(tokens, tokens[1:], strict=False):
        if opening.type == "heading_open":
            anchors.append(to_anchor(content.content))
            opening.attrSet("id", anchors[-1])
    title_end = next(number for number, token in enumerate(tokens) if token.type == "heading_close") + 1
    return Markup(markdown.renderer.render(tokens[title_end:], markdown.options, {})), frozenset(anchors)
