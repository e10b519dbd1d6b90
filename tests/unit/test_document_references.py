"""Headings, paths, tasks, metrics and HTTP operations that the documents mention exist."""

import json
import re
from pathlib import Path

import pytest

from tests.unit.test_documents import DOCUMENTS, ROOT, operate_commands

CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
FOLDERS = "services|schemas|deploy|tests"
# A placeholder in a path, such as services/NAME.
PLACEHOLDER = re.compile(r"/[A-Z]+$")


def anchor(heading: str) -> str:
    """Return the anchor of a heading as forges compute it."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def names_of_metrics_and_tables() -> str:
    """Return the texts that name every metric, role, table, reason and scope."""
    pages = ("deploy/monitoring/metrics.md", "schemas/eventlog/schema.sql", "schemas/reasons.md")
    return "".join((ROOT / page).read_text() for page in pages)


@pytest.mark.parametrize("path", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_links_to_existing_headings_and_mentions_existing_paths(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", text)
    pages = [((path.parent / link).resolve() if link else path, name) for link, name in links if "://" not in link]
    mentioned = set(re.findall(rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w)", text))

    assert {
        (page.name, name)
        for page, name in pages
        if page.suffix == ".md" and name not in map(anchor, re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE))
    } == set()
    assert {each for each in mentioned if not (ROOT / each).exists() and not PLACEHOLDER.search(each)} == set()


@pytest.mark.parametrize("path", CURRENT, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_mentions_existing_options_tasks_operations_and_metrics(path: Path) -> None:
    text, commands = path.read_text(), operate_commands()
    unknown_options = {
        f"{name} {option}"
        for line in re.findall(r"(?:deploy/operate|moderated-grading) ([^`\n|#]*)", text)
        for name in [next((n for n in sorted(commands, key=len, reverse=True) if line.startswith(n)), None)]
        if name is not None
        for option in re.findall(r"(?<!\S)--[a-z-]+", line)
        if option not in {word for parameter in commands[name].params for word in parameter.opts}
    }
    tasks = set(re.findall(r"^([a-z-]+)[^:\n]*:", (ROOT / ".justfile").read_text(), re.MULTILINE))
    paths = json.loads((ROOT / "schemas" / "openapi.json").read_text())["paths"]
    operations = {re.sub(r"\{\w+\}", "*", each) for each in paths}
    mentioned = {
        re.sub(r":\w+|\{\w+\}|…|\b[A-Z_]{2,}\b|\b\d+\b", "*", each).rstrip("/.")
        for each in re.findall(r"/api/(?:moderation/)?v1/[\w/:{}…]*", text)
    }
    metrics = set(re.findall(r"\bmoderation_\w+_(?:total|seconds|bytes|records|commands)\b", text))

    assert unknown_options == set()
    assert set(re.findall(r"(?:^|`)just ([a-z-]+)", text, re.MULTILINE)) - tasks == set()
    assert {each for each in mentioned if not any(known.startswith(each) for known in operations)} == set()
    assert {each for each in metrics if each not in names_of_metrics_and_tables()} == set()


def test_documents_mention_existing_options_of_the_scripts() -> None:
    documents = "".join(path.read_text() for path in CURRENT)
    scripts = [path for path in (ROOT / "deploy").iterdir() if path.is_file() and not path.suffix]
    sources = [path.read_text() for folder in ("deploy", "tests") for path in (ROOT / folder).rglob("*.py")]
    mentioned = {
        (script, option)
        for script in scripts
        if script.name != "operate"
        for rest in re.findall(rf"(?<![\w/])deploy/{script.name}((?: +[^\s`|#]+)+)", documents)
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest)
    }
    unknown = {
        f"{script.name} {option}"
        for script, option in mentioned
        if not any(option in source for source in [script.read_text(), *sources])
    }

    assert len(mentioned) > 10
    assert unknown == set()
