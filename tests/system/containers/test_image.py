"""The image is small and runs unprivileged, and its processes name missing settings."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from deploy.local.paths import ROOT
from services import __version__
from tests.system.containers.conftest import IMAGE, Engine

SIZE_MAX_MB = 350
LOCKED_DOWN = ("--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none")


def test_image_is_small_and_labelled(engine: Engine) -> None:
    [image] = json.loads(engine.docker("image", "inspect", IMAGE).stdout)
    assert image["Size"] / 1e6 <= SIZE_MAX_MB
    assert image["Config"]["User"] == "10001:10001"
    labels = image["Config"]["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.version"] == __version__


def test_image_contains_the_service_and_no_development_tools(engine: Engine) -> None:
    listed = engine.docker("run", *LOCKED_DOWN, IMAGE, "find", "/app", "/opt/venv", "-maxdepth", "1").stdout.split()
    assert {"/app/services", "/app/schemas", "/app/LICENSE"} <= set(listed)
    assert {"/app/tests", "/app/deploy", "/app/.git"}.isdisjoint(listed)
    for command in ("pip", "gcc", "git"):
        assert engine.docker("run", *LOCKED_DOWN, IMAGE, "which", command, check=False).returncode != 0


@pytest.mark.parametrize("process", ["handler", "relay", "gateway", "scheduler", "console"])
def test_unprivileged_process_starts_and_names_the_missing_setting(engine: Engine, process: str) -> None:
    ended = engine.docker("run", *LOCKED_DOWN, IMAGE, "python3", "-m", f"services.{process}", check=False)
    assert ended.returncode not in (0, 125, 126, 127)
    assert "DATABASE_URL" in ended.stdout + ended.stderr


def test_command_line_and_agreement_figures_work_in_the_image(engine: Engine) -> None:
    assert engine.docker("run", *LOCKED_DOWN, IMAGE, "moderated-grading", "--version").stdout.split()[-1] == __version__
    program = "from services.agreement import require_libraries; require_libraries()"
    engine.docker("run", *LOCKED_DOWN, IMAGE, "python3", "-c", program)


def test_bill_of_materials_names_what_the_image_contains(engine: Engine, tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    subprocess.run([ROOT / "deploy/sbom", file, IMAGE], env=engine.environment, check=True, capture_output=True)
    names = {component["name"] for component in json.loads(file.read_text())["components"]}
    installed = engine.docker("run", *LOCKED_DOWN, IMAGE, "dpkg-query", "--show", "--showformat=${Package}\\n").stdout
    program = "import importlib.metadata as m; print(*{d.name for d in m.distributions()})"
    python_packages = engine.docker("run", *LOCKED_DOWN, IMAGE, "python3", "-c", program).stdout
    assert set(installed.split()) <= names
    assert {re.sub("[-_.]+", "-", name).lower() for name in python_packages.split()} <= names


def test_image_contains_the_licences_of_its_system_packages(engine: Engine) -> None:
    listed = engine.docker("run", *LOCKED_DOWN, IMAGE, "sh", "-c", "ls /usr/share/doc/*/copyright").stdout
    assert {f"/usr/share/doc/{name}/copyright" for name in ("python3-minimal", "tini")} <= set(listed.split())
