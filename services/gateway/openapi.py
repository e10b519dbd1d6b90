"""Regenerates schemas/openapi.json: ``python -m services.gateway.openapi``."""

import json
from pathlib import Path

from services.gateway.app import create_fastapi_app

OPENAPI_FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"


def render_openapi() -> str:
    """Render the OpenAPI document, byte for byte as in schemas/openapi.json."""
    return json.dumps(create_fastapi_app().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    OPENAPI_FILE.write_text(render_openapi())
