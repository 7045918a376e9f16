"""The documents stay true: links lead somewhere, and commands, options and targets exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rollcast.server.cli.commands import app

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)


def snippets(path: Path) -> list[str]:
    """The lines of code in a document, in fences and in running text, comments cut off."""
    found = [fenced or inline for fenced, inline in CODE.findall(path.read_text())]
    return [line.split(" #")[0].strip() for text in found for line in text.splitlines()]


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name) if name else path
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_make_targets_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for line in snippets(path):
        for target in re.findall(r"\bmake ([a-z-]+)", line):
            assert target in targets, line


@pytest.mark.slow
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_commands_and_options_exist(path: Path) -> None:
    for line in snippets(path):
        for call in re.findall(r"(?:^|/)rollcast ([a-z].*)", line):
            words = call.split()
            command = find_command(words)
            known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
            used = {word.split("=")[0] for word in words if word.startswith("--")}
            assert used <= known, line


def find_command(words: list[str]) -> Any:
    """The command that a line calls. Fails for one that does not exist."""
    command: Any = typer.main.get_command(app)
    for word in words:
        # a group may have options and do something by itself
        if not hasattr(command, "commands") or word.startswith("-"):
            break
        assert word in command.commands, " ".join(words)
        command = command.commands[word]
    return command
