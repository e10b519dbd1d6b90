"""The built image and the composed service, on a separate container engine."""

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest

from deploy.local.container_engine import container_engine
from deploy.local.paths import ROOT

IMAGE = "moderated-grading"
NO_BASE_IMAGE = 3


class Engine:
    """A container engine that has the images."""

    def __init__(self, host: str) -> None:
        self.environment = {**os.environ, "DOCKER_HOST": host}

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the engine's client."""
        return subprocess.run(
            ["docker", *arguments], env=self.environment, capture_output=True, text=True, check=check, timeout=300
        )


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """Build the missing images: this tree's, and a base and substitutes if no image can be pulled."""
    with contextlib.ExitStack() as stack:
        try:
            engine = Engine(stack.enter_context(container_engine()))
        except RuntimeError as error:
            pytest.skip(f"no container engine runs here: {error}")
        script = ROOT / "deploy/containers/build-images"
        built = subprocess.run([script], cwd=ROOT, env=engine.environment, capture_output=True, text=True, check=False)
        if built.returncode == NO_BASE_IMAGE:
            pytest.skip(built.stderr.strip())
        assert built.returncode == 0, built.stderr[-3_000:]
        yield engine
