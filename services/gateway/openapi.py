"""Regenerates schemas/openapi.json: ``python -m services.gateway.openapi``."""

import json

from fastapi import FastAPI

from services.gateway.app import create_fastapi_app
from services.gateway.openapi_completion import complete_document
from services.gateway.openapi_document import OPENAPI_FILE


def render_openapi() -> str:
    """Render the OpenAPI document of all routes, byte for byte as in schemas/openapi.json."""
    # FastAPI's own method: that of the application reads the file.
    document = complete_document(FastAPI.openapi(create_fastapi_app()))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI_FILE.write_text(render_openapi())
