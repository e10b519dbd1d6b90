"""The commands, arguments and files that the documents mention exist."""

import re
from pathlib import Path

import pytest
import typer

from deploy.local.stack import USAGE
from services.cli import build_cli

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    path
    for folder in (ROOT, ROOT / ".github", ROOT / "services", ROOT / "deploy", ROOT / "schemas")
    for path in (folder.glob("*.md") if folder == ROOT else folder.rglob("*.md"))
    if "node_modules" not in path.parts
]
SECURITY_PAGE = ROOT / "deploy" / "docs" / "security.md"


def operate_commands() -> set[str]:
    """Return the commands of ``moderated-grading``; those of a group with its name in front."""
    root = typer.main.get_command(build_cli())
    words: dict[str, object] = dict(root.commands)  # type: ignore[attr-defined]
    for group, command in list(words.items()):
        words |= {f"{group} {word}": each for word, each in getattr(command, "commands", {}).items()}
    return set(words)


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
    assert operate - operate_commands() == set()
    assert stack - set(re.findall(r"[a-z-]+", USAGE)) == set()
    assert {link for link in links if not (path.parent / link).exists()} == set()


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
    assert {"dead-letters redrive", "admin rewind"} <= operate_commands()
