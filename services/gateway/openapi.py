"""Write schemas/openapi.json anew: ``python -m services.gateway.openapi``."""

import json
from pathlib import Path

from services.gateway.app import application

FILE = Path(__file__).parents[2] / "schemas" / "openapi.json"


def text() -> str:
    """The OpenAPI document as it is checked in."""
    return json.dumps(application().openapi(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
