"""The AsyncAPI document: valid by the parser that AsyncAPI publishes, and readable as a page."""

import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

from deploy.asyncapi.contracts_page import render_page
from deploy.local.paths import ROOT, STATE
from schemas.catalog import MESSAGES

DOCUMENT = ROOT / "schemas" / "asyncapi.yaml"
PLANTED_ERRORS = {
    "wrong action": ("action: receive", "action: listen", "action"),
    "unknown Kafka setting": ("partitions: 12", "partitions: 12\n        colour: red", "colour"),
    "message that is not there": ("#/components/messages/verdict", "#/components/messages/verdikt", "verdikt"),
}


def validate_documents(*files: Path) -> list[list[str]]:
    """What AsyncAPI's parser has against each document."""
    modules = STATE / "asyncapi" / "node_modules"
    assert modules.is_dir(), "run deploy/setup tests"
    result = subprocess.run(
        ["node", ROOT / "deploy" / "asyncapi" / "check.js", *files],
        env={**os.environ, "NODE_PATH": str(modules)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return list(json.loads(result.stdout).values())


def test_asyncapi_document_is_valid_and_planted_errors_are_found(tmp_path: Path) -> None:
    text, files = DOCUMENT.read_text(), [DOCUMENT]
    for name, (right, wrong, _) in PLANTED_ERRORS.items():
        assert right in text
        files.append(tmp_path / name)
        files[-1].write_text(text.replace(right, wrong, 1))
    valid, *planted = validate_documents(*files)
    assert valid == []
    for (name, (_, _, word)), found in zip(PLANTED_ERRORS.items(), planted, strict=True):
        assert any(word in finding for finding in found), (name, found)


class PageReader(HTMLParser):
    """What a page names and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if named.get("id"):
            self.ids.append(str(named["id"]))
        if tag == "a":
            self.links.append(str(named["href"]))
        elif tag in ("script", "link", "img", "iframe") or "src" in named:
            self.loaded.append(tag)


def test_contracts_page_shows_every_message_and_is_self_contained() -> None:
    html = render_page()
    reader = PageReader()
    reader.feed(html)
    assert {f"{message.topic}.{message.name}" for message in MESSAGES} <= set(reader.ids)
    assert len(reader.ids) == len(set(reader.ids))
    assert {link.removeprefix("#") for link in reader.links} <= set(reader.ids)
    assert (reader.loaded, re.findall(r"url\(|@import", html)) == ([], [])
