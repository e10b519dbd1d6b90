"""The project installs as pyproject.toml states: the locks agree, the wheel is complete, the script runs."""

import importlib.resources
import json
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema_rs
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from services import __version__

ROOT = Path(__file__).parents[2]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PYPROJECT["project"]["optional-dependencies"]
LOCKS = {
    "requirements.lock": ("agreement",),
    "requirements-local.lock": ("agreement", "local"),
    "requirements-dev.lock": tuple(EXTRAS),
}
# Files besides Python modules that a process reads at run time.
DATA = {"services/console/web": {".html", ".css", ".js", ".svg"}, "schemas/eventlog": {".sql"}, "schemas": {".json"}}


def locked(name: str) -> dict[str, list[Requirement]]:
    """Return the pins of a lock by package; some packages have one pin per version of Python."""
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "deploy" / name).read_text().splitlines():
        if line and not line.startswith(("#", " ")):
            pin = Requirement(line.removesuffix("\\"))
            found.setdefault(canonicalize_name(pin.name), []).append(pin)
    return found


def version_of(pin: Requirement) -> str:
    """Return the only version that a pin allows."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("name", LOCKS)
def test_locks_satisfy_pyproject(name: str) -> None:
    asked = [*PYPROJECT["project"]["dependencies"], *(line for extra in LOCKS[name] for line in EXTRAS[extra])]
    requirements = [Requirement(line) for line in asked if not line.startswith(PYPROJECT["project"]["name"])]
    pins = locked(name)

    unmet = {
        str(requirement)
        for requirement in requirements
        for pin in pins.get(canonicalize_name(requirement.name), [Requirement(f"{requirement.name}==0")])
        if not requirement.specifier.contains(version_of(pin), prereleases=True)
    }

    assert unmet == set(), "run deploy/lock"


def test_narrow_locks_have_the_versions_of_the_wide_ones() -> None:
    run, local, dev = (
        {(name, version_of(pin)) for name, pins in locked(lock).items() for pin in pins} for lock in LOCKS
    )

    assert run < local < dev


@pytest.mark.parametrize("name", LOCKS)
def test_locks_pin_by_hash_and_name_no_index(name: str) -> None:
    text = (ROOT / "deploy" / name).read_text()

    assert "://" not in text
    assert re.findall(r"^[a-z].*==.*\\\n(?!    --hash=sha256:[0-9a-f]{64}\b)", text, re.MULTILINE) == []


def test_kafka_jars_are_past_known_advisories_and_fetched_with_their_checksums() -> None:
    """CVE-2026-35554 (clients before 4.1.2), CVE-2025-12183 and CVE-2025-66566 (org.lz4:lz4-java)."""
    project = ElementTree.parse(ROOT / "deploy" / "kafka" / "pom.xml")
    kafka = [d for d in project.iterfind(".//{*}dependency") if d.findtext("{*}groupId") == "org.apache.kafka"]
    versions = [tuple(map(int, (d.findtext("{*}version") or "0").split("."))) for d in kafka]
    excluded = [(e.findtext("{*}groupId"), e.findtext("{*}artifactId")) for e in project.iterfind(".//{*}exclusion")]
    assert versions
    assert min(versions) >= (4, 1, 2)
    assert excluded.count(("org.lz4", "lz4-java")) == len(kafka)
    calls = re.findall(r"^ *(?:with_progress )?mvn .*", (ROOT / "deploy" / "setup").read_text(), re.MULTILINE)
    assert calls
    assert all(" -C " in call for call in calls)


@pytest.mark.slow
def test_version_is_written_once() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]

    asked = [sys.executable, "-m", "services.cli", "--version"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT).stdout == (
        f"moderated-grading {__version__}\n"
    )


@pytest.mark.slow
def test_shell_completes_commands() -> None:
    typed = {"COMP_WORDS": "moderated-grading dead-letters re", "COMP_CWORD": "2"}
    asked = {**os.environ, **typed, "_MODERATED_GRADING_COMPLETE": "complete_bash"}
    command = [sys.executable, "-m", "services.cli"]

    completed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=asked)

    assert completed.stdout.split() == ["redrive", "reveal"]


def test_scripts_name_functions() -> None:
    assert [name for name, where in PYPROJECT["project"]["scripts"].items() if not callable(find(where))] == []


def find(where: str) -> object:
    """Return the object that an entry point names."""
    found: object = pkgutil.resolve_name(where)
    return found


@pytest.mark.slow
def test_wheel_contains_modules_and_their_data(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(build, capture_output=True, check=True, cwd=ROOT)
    (wheel,) = tmp_path.glob(f"moderated_grading-{__version__}-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())

    modules = {path for package in ("services", "schemas") for path in (ROOT / package).rglob("*.py")}
    data = {path for folder, kinds in DATA.items() for path in (ROOT / folder).rglob("*") if path.suffix in kinds}
    assert {str(path.relative_to(ROOT)) for path in modules | data} - packed == set()
    assert not any(name.startswith(("tests/", "deploy/")) for name in packed)


@pytest.mark.slow
def test_sbom_is_valid_and_names_each_package_of_the_run_time(tmp_path: Path) -> None:
    subprocess.run([ROOT / "deploy" / "sbom", tmp_path / "sbom.json"], cwd=ROOT, check=True, capture_output=True)

    document = json.loads((tmp_path / "sbom.json").read_text())

    schemas = Path(str(importlib.resources.files("cyclonedx") / "schema" / "_res"))
    loaded = {path.name: json.loads(path.read_text()) for path in schemas.glob("*.json")}
    registry = jsonschema_rs.Registry(
        [(f"http://cyclonedx.org/schema/{name}", schema) for name, schema in loaded.items()]
    )
    specification = loaded[f"bom-{document['specVersion']}.SNAPSHOT.schema.json"]
    jsonschema_rs.validator_for(specification, registry=registry).validate(document)
    named = {(canonicalize_name(part["name"]), part["version"]) for part in document["components"]}
    pins = locked("requirements.lock")
    assert named == {(name, version_of(pin)) for name, found in pins.items() for pin in found}
    hashes = [reference["hashes"] for part in document["components"] for reference in part["externalReferences"]]
    assert all(hashes)


@pytest.mark.parametrize(("index", "installer"), [("https://index.example/simple", "pip"), ("", "uv")])
def test_setup_leaves_packages_to_pip_where_its_configuration_names_an_index(
    index: str, installer: str, tmp_path: Path
) -> None:
    """uv does not read pip's configuration, and would install from another index."""
    script = (ROOT / "deploy" / "setup").read_text()
    functions = re.findall(r"^(?:pip\(\) \{ .*? \}$|add_with_uv\(\) \{\n.*?^\})", script, re.MULTILINE | re.DOTALL)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (tmp_path / "lock").write_text("uv==1 \\\n    --hash=sha256:00\n")
    (programs / "uv").write_text("#!/bin/sh\necho uv\n")
    # Installs nothing, but shows its configuration.
    (programs / "python").write_text(f'#!/bin/sh\ncase "$*" in *" config list") exec {sys.executable} "$@";; esac\n')
    for program in programs.iterdir():
        program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    environment = kept | {"PIP_CONFIG_FILE": os.devnull} | ({"PIP_INDEX_URL": index} if index else {})

    command = "\n".join(["set -euo pipefail", *functions, "add_with_uv lock || echo pip"])
    result = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert len(functions) == 2
    assert result.stdout == f"{installer}\n"
