"""Validate the AsyncAPI document with AsyncAPI's own parser, and show it with AsyncAPI's own component."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from deploy.local.paths import ROOT, STATE
from schemas.catalog import MESSAGES

DOCUMENT = ROOT / "schemas" / "asyncapi.yaml"
RENDER_MS = 120_000
PLANTED_ERRORS = {
    "wrong action": ("action: receive", "action: listen", "action"),
    "unknown Kafka setting": ("partitions: 12", "partitions: 12\n        colour: red", "colour"),
    "undefined message": ("#/components/messages/verdict", "#/components/messages/verdikt", "verdikt"),
}


def run_node(script: str, *arguments: Path) -> str:
    modules = STATE / "asyncapi" / "node_modules"
    assert (modules / "@asyncapi" / "react-component").is_dir(), "run deploy/setup tests"
    command: list[str | Path] = ["node", ROOT / "deploy" / "asyncapi" / script, *arguments]
    environment = {**os.environ, "NODE_PATH": str(modules)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def test_asyncapi_document_is_valid_and_planted_errors_are_found(tmp_path: Path) -> None:
    text, files = DOCUMENT.read_text(), [DOCUMENT]
    for name, (right, wrong, _) in PLANTED_ERRORS.items():
        assert right in text
        files.append(tmp_path / name)
        files[-1].write_text(text.replace(right, wrong, 1))
    findings: dict[str, Any] = json.loads(run_node("check.js", *files))
    valid, *planted = findings.values()
    assert valid == []
    for (name, (_, _, word)), found in zip(PLANTED_ERRORS.items(), planted, strict=True):
        assert any(word in finding for finding in found), (name, found)


async def test_contracts_page_shows_every_message_and_loads_nothing(tmp_path: Path, chromium: Browser) -> None:
    file = tmp_path / "page.html"
    run_node("page.js", DOCUMENT, file)
    page = await chromium.new_page(offline=True)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    await page.goto(file.as_uri())
    await page.wait_for_selector("#messages", state="attached", timeout=RENDER_MS)
    ids = await page.eval_on_selector_all("[id]", "elements => elements.map(element => element.id)")
    await page.close()

    assert {f"message-{message.name}" for message in MESSAGES} <= set(ids)
    assert requested == [file.as_uri()]
