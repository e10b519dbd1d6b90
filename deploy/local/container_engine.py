"""A container engine that belongs to this clone, separate from the images and containers of others."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.local.paths import STATE, wait_until_ready

START_SECONDS = 60
STOP_SECONDS = 60


@contextlib.contextmanager
def container_engine() -> Iterator[str]:
    """Run dockerd and yield the value of DOCKER_HOST for it; images stay in the state folder for the next time.

    Raises RuntimeError when it is not installed or does not start.
    """
    binary = shutil.which("dockerd")
    if binary is None:
        raise RuntimeError("dockerd is not installed: run deploy/setup containers")
    folder = STATE / "containers"
    folder.mkdir(parents=True, exist_ok=True)
    # The path of a Unix socket may have at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="engine-") as run_folder, (folder / "dockerd.log").open("wb") as log:
        host = f"unix://{run_folder}/docker.sock"
        command = [binary, "--host", host, "--data-root", str(folder / "data"), "--exec-root", f"{run_folder}/exec"]
        command += ["--pidfile", f"{run_folder}/pid", "--storage-driver", "overlay2"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            if not wait_until_ready(lambda: _answers(host), lambda: process.poll() is None, START_SECONDS):
                lines = (folder / "dockerd.log").read_text(errors="replace").splitlines()
                raise RuntimeError(f"dockerd does not start: {lines[-1] if lines else 'it has no log'}")
            yield host
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(host: str) -> bool:
    return (
        Path(host.removeprefix("unix://")).exists()
        and not subprocess.run(["docker", "--host", host, "version"], capture_output=True, check=False).returncode
    )
