"""The commands, arguments and files that the documents mention exist."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from deploy.local.stack import USAGE
from services.cli import build_cli
from tests.fixtures.settings import setting_names

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for folder in (ROOT, ROOT / ".github", ROOT / "services", ROOT / "deploy", ROOT / "schemas")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if "node_modules" not in path.parts
]
SECURITY_PAGE = ROOT / "deploy" / "docs" / "security.md"


PAGES = sorted((ROOT / "deploy" / "docs").glob("*.md"))
DEPLOYING_PAGE = ROOT / "deploy" / "docs" / "deploying.md"
CHART = ROOT / "deploy" / "chart"
VARIABLE = re.compile(r"(?<![\w$.-])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+(?!\w)")
# Words like variables that are none of the settings: of other programs, of tests and compose, values, placeholders.
OTHER_VARIABLES = {
    "ACCESS_REASON", "DESCRIBE_CONFIGS", "DOCKER_HOST", "KUBEBUILDER_ASSETS", "SASL_PLAINTEXT", "SASL_SSL",
    "UPGRADE_FROM", "USER_ID",
}  # fmt: skip


@cache
def operate_commands() -> dict[str, Any]:
    """Return the commands of ``moderated-grading`` by name; those of a group with its name in front."""
    root = typer.main.get_command(build_cli())
    words: dict[str, Any] = dict(root.commands)  # type: ignore[attr-defined]
    for group, command in list(words.items()):
        words |= {f"{group} {word}": each for word, each in getattr(command, "commands", {}).items()}
    return words


def value_paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the chart's values as a.b.c, groups included."""
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, dict):
            yield from value_paths(value, f"{prefix}{name}.")


def names_of_secrets(values: object, key: str = "") -> Iterator[str]:
    """Yield the names of the Secrets that values of the chart refer to."""
    if isinstance(values, dict):
        for name, value in values.items():
            is_name = name in ("secret", "existingSecret") or (name == "name" and key in ("caSecret", "pullSecrets"))
            if is_name and isinstance(value, str):
                yield value
            else:
                yield from names_of_secrets(value, name)
    elif isinstance(values, list):
        for value in values:
            yield from names_of_secrets(value, key)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_references_existing_commands_and_files(path: Path) -> None:
    text = path.read_text()
    modules = set(re.findall(r"python -m ([a-z_]+(?:\.[a-z_]+)+)", text))
    scripts = set(re.findall(r"(?<![\w/.])deploy/[a-z]+(?:[-_.][a-z]+)*", text))
    operate = set(re.findall(r"(?:deploy/operate|moderated-grading) ((?:dead-letters|admin) [a-z-]+|[a-z]+)", text))
    stack = set(re.findall(r"deploy/stack ([a-z-]+)", text))
    links = {link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link}

    files = {module: ROOT / module.replace(".", "/") for module in modules}
    assert {
        m for m, at in files.items() if not at.with_suffix(".py").exists() and not (at / "__main__.py").exists()
    } == set()
    assert {script for script in scripts if not (ROOT / script).exists()} == set()
    assert operate - operate_commands().keys() == set()
    assert stack - set(re.findall(r"[a-z-]+", USAGE)) == set()
    assert {link for link in links if not (path.parent / link).exists()} == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_page_names_existing_settings_and_benchmarks(path: Path) -> None:
    text = path.read_text()
    benchmarks = re.findall(r'^    "([a-z-]+)": \w+\.\w+,$', (ROOT / "deploy/benchmarks/__main__.py").read_text(), re.M)

    assert set(VARIABLE.findall(text)) - setting_names() - OTHER_VARIABLES == set()
    assert "handler" in benchmarks
    assert set(re.findall(r"deploy/bench ([a-z][a-z-]*)", text)) - set(benchmarks) == set()


def test_deploying_pages_name_values_of_the_chart() -> None:
    text = DEPLOYING_PAGE.read_text() + DEPLOYING_PAGE.with_name("scaling.md").read_text()
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    words = set(re.findall(r"(?:`|--set )([a-z]\w*(?:\.[a-zA-Z]\w*)*)", text))
    named = {
        word for word in words
        if word.partition(".")[0] in values and not word.endswith((".key", ".jwks", ".yaml", ".crt", ".password"))
    }  # fmt: skip

    assert {"database.existingSecret", "image.digest", "monitoring.rules.enabled", "shards"} <= named
    assert named - set(value_paths(values)) == set()


def test_deploying_page_creates_every_secret_of_the_example_values() -> None:
    created = set(re.findall(r"create secret (?:generic|docker-registry) ([a-z-]+)", DEPLOYING_PAGE.read_text()))
    named = {
        name
        for path in (CHART / "ci").glob("*-values.yaml")
        for name in names_of_secrets(yaml.safe_load(path.read_text()))
    }

    assert len(named) > 5
    assert named - created == set()


def test_security_page_names_existing_tests() -> None:
    named = set(re.findall(r"(?<![\w/.])tests/[a-z_0-9/]+(?:\.py)?", SECURITY_PAGE.read_text()))
    assert len(named) > 30
    assert {test for test in named if not (ROOT / test).exists()} == set()


def test_each_security_requirement_that_is_met_names_its_tests() -> None:
    rows = [
        [cell.strip() for cell in line.strip("| ").split(" | ")]
        for line in SECURITY_PAGE.read_text().splitlines()
        if re.match(r"\| [0-9]", line)
    ]
    assert len(rows) > 40
    assert {row[1] for row in rows} <= {"pass", "n/a"}
    tested = {row[0]: re.findall(r"`(tests/[a-z_/]+\.py|tests/system/secure)`", row[-1]) for row in rows}
    assert [row[0] for row in rows if row[1] == "pass" and not tested[row[0]]] == []


def test_document_check_covers_the_main_documents() -> None:
    assert {path.name for path in DOCUMENTS} >= {
        "README.md",
        "runbook.md",
        "metrics.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
    }
    assert {"dead-letters redrive", "admin rewind"} <= operate_commands().keys()
