"""Fixtures of the console's unit tests."""

import pytest

from services.console.web.templates import Templates


@pytest.fixture(scope="session")
def templates() -> Templates:
    """The templates of all pages: to compile them takes a third of a second."""
    return Templates()
