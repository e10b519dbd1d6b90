"""The OpenAPI document of the gateway, as it was generated: ``schemas/openapi.json``.

A gateway reads it when it is first asked for: generating it would take a third of a gateway's start.
"""

import functools
import json
from pathlib import Path
from typing import Any

Document = dict[str, Any]
OPENAPI_FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"


@functools.cache
def read_document() -> Document:
    """Return the document, always the same object."""
    document: Document = json.loads(OPENAPI_FILE.read_text(encoding="utf-8"))
    return document
