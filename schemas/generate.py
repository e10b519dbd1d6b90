"""Generates the files of the contracts: ``python -m schemas.generate``.

``generated/``: a JSON Schema for every message's value, and one for the headers of each topic; ``asyncapi.yaml``;
``reasons.md``: why a command is rejected.
A test refuses changes that break users of ``released/``.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from schemas import asyncapi, reasons
from schemas.catalog import DIALECT, HTTP_REQUEST, MESSAGES, get_topic_headers

FOLDER = Path(__file__).parent
GENERATED = FOLDER / "generated"


def render_files() -> dict[str, str]:
    """Render every generated file, by its path below ``schemas``."""
    files = {"generated/http_request.schema.json": _to_json(HTTP_REQUEST)}
    for message in MESSAGES:
        if message.value is not None:
            folder = f"{message.topic}/" if message.topic in ("commands", "events") else ""
            files[f"generated/{folder}{message.name}.schema.json"] = _to_json(message.value)
    for topic, headers in headers_by_topic().items():
        files[f"generated/headers/{topic}.schema.json"] = _to_json(headers)
    files["asyncapi.yaml"] = asyncapi.render_yaml()
    files["reasons.md"] = reasons.render_markdown()
    return files


def headers_by_topic() -> dict[str, dict[str, Any]]:
    """Return the schema of the headers on each topic, for all of its messages."""
    schemas = {}
    for topic in dict.fromkeys(message.topic for message in MESSAGES):
        schema = get_topic_headers(topic)
        schemas[topic] = {"$schema": DIALECT, "$id": f"urn:moderated-grading:headers:{topic}", **schema}
    return schemas


def _to_json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files, and delete those that no message needs any more."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    for path, text in render_files().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text)


if __name__ == "__main__":
    main()
