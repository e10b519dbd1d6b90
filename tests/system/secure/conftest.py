"""Secured servers, for a run without ``deploy/test secure``."""

import os
from collections.abc import Iterator

import pytest

from tests.fixtures.secure import VARIABLE, secured_servers
from tests.fixtures.system import RUN_PREFIX


@pytest.fixture(scope="session", autouse=True)
def _secured_environment() -> Iterator[None]:
    if VARIABLE in os.environ:
        yield
        return
    with secured_servers(RUN_PREFIX, "512m") as environment:
        before = {name: os.environ.pop(name, None) for name in environment}
        os.environ.update(environment)
        yield
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture(scope="session")
def bootstrap(_secured_environment: None) -> str:
    return os.environ["KAFKA_BOOTSTRAP"]


@pytest.fixture(scope="session")
def postgres(_secured_environment: None) -> str:
    return os.environ["DATABASE_URL"]
