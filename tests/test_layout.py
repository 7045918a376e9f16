"""Holds the shape of the code: who may import whom, what ships, what stays free of I/O."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from rollcast.server.web.page import SERVED_SUFFIXES

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kernels", "models", "client", "benchmarks", "server")

# The command line is the outermost shell: it wires the client and the benchmarks in, too.
MAY_IMPORT: dict[str, set[str]] = {
    "kernels": set(),
    "models": {"kernels"},
    "client": set(),
    "benchmarks": {"client", "models", "kernels"},
    "server": {"models"},
    "server/cli": {"models", "client", "benchmarks"},
}
SANS_IO = ("server/protocol", "server/session", "server/audience", "server/engine/scheduler.py")
NOT_SANS_IO = {"asyncio", "threading", "torch", "fastapi", "time"}


def _sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    made = {"node_modules", "build"}
    return [path for path in found if not made & set(path.relative_to(ROOT).parts)]


def _all_sources() -> list[Path]:
    return [path for package in PACKAGES for path in _sources(package)]


def _resolve(path: Path, node: ast.ImportFrom) -> str:
    """The module that an import names, as a dotted path from the repository root."""
    if not node.level:
        return node.module or ""
    here = list(path.relative_to(ROOT).parent.parts)
    base = here[: len(here) - node.level + 1]
    return ".".join([*base, *([node.module] if node.module else [])])


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def _imports(path: Path) -> frozenset[str]:
    """Modules a file imports; those of this project without the `rollcast.` in front."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = _resolve(path, node)
            found |= {module} if module else {alias.name for alias in node.names}
    return frozenset(found)


def _allowed(path: Path) -> set[str]:
    package = path.relative_to(ROOT).parts[0]
    is_cli = package == "server" and path.relative_to(ROOT).parts[1].startswith("cli")
    return MAY_IMPORT["server/cli" if is_cli else package] | {package}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# One test for all files, of which there are hundreds: who breaks a rule is named.


def test_imports_point_inwards() -> None:
    wrong = {}
    for path in _all_sources():
        ours = {module.split(".")[0] for module in _imports(path)} & set(PACKAGES)
        if beyond := ours - _allowed(path):
            wrong[_name(path)] = beyond
    assert not wrong


def test_training_imports_models_alone() -> None:
    wrong = {}
    for path in _sources("training"):
        ours = {m.split(".")[1] for m in _imports(path) if m.startswith("rollcast.")}
        if beyond := ours - {"models"}:
            wrong[_name(path)] = beyond
    assert not wrong


def test_package_imports_itself_relatively() -> None:
    roots = {"rollcast", "tests", "training"}
    wrong = {}
    for path in _all_sources():
        if absolute := {module for module in _imports(path) if module.split(".")[0] in roots}:
            wrong[_name(path)] = absolute
    assert not wrong


def test_files_say_what_they_are_for() -> None:
    silent = [_name(path) for path in _all_sources() if not ast.get_docstring(_tree(path))]
    assert not silent, "a module starts with what it is for"


def _sans_io() -> list[Path]:
    roots = [ROOT / name for name in SANS_IO]
    return [each for root in roots for each in (root.rglob("*.py") if root.is_dir() else [root])]


def test_core_does_no_io() -> None:
    wrong = {}
    for path in _sans_io():
        if used := {module.split(".")[0] for module in _imports(path)} & NOT_SANS_IO:
            wrong[_name(path)] = used
    assert not wrong


def _setuptools(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_every_package_ships() -> None:
    """Each in one distribution: what two of them own, the removal of either takes from both."""
    server, client = _setuptools(ROOT), _setuptools(ROOT / "client")
    folders = {p.parent for package in PACKAGES for p in _sources(package)}
    dotted = [".".join(["rollcast", *f.relative_to(ROOT).parts]) for f in folders]
    listed = [*server["packages"], *client["packages"]]
    assert sorted(listed) == sorted([*dotted, "rollcast.page"])
    assert all(name.split(".")[:2] == ["rollcast", "client"] for name in client["packages"])


def test_every_file_of_the_page_ships_and_none_of_its_tools() -> None:
    patterns = _setuptools(ROOT)["package-data"]["rollcast.page"]
    web = ROOT / _setuptools(ROOT)["package-dir"]["rollcast.page"]
    shipped = {path for pattern in patterns for path in web.glob(pattern)}
    page = {p for p in web.rglob("*") if p.suffix in SERVED_SUFFIXES}
    assert shipped == {p for p in page if "node_modules" not in p.parts}
    assert _setuptools(ROOT / "client")["package-data"] == {"rollcast.client": ["py.typed"]}


def test_the_server_wants_the_client_of_its_own_version() -> None:
    server, client = (
        tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        for folder in (ROOT, ROOT / "client")
    )
    assert f"rollcast-client=={client['version']}" in server["dependencies"]
    assert client["version"] == server["version"]
    assert set(client["dependencies"]) < set(server["dependencies"])


def test_kernels_cannot_be_taken_for_another_distribution() -> None:
    """Run from the repository root, `kernels` may shadow the distribution of that name."""
    tree = ast.parse((ROOT / "kernels" / "__init__.py").read_text())
    assert all(isinstance(node, ast.Expr) for node in tree.body), "a docstring only"


def test_importing_a_package_starts_no_torch() -> None:
    for package in PACKAGES:
        tops = {m.split(".")[0] for m in _imports(ROOT / package / "__init__.py")}
        assert "torch" not in tops, package


def _room(module: str) -> Path | None:
    """The folder below one of the packages that a module of ours lies in; None for others."""
    path = ROOT.joinpath(*module.split("."))
    while path not in (ROOT, path.parent):
        if path.with_suffix(".py").is_file() or (path / "__init__.py").is_file():
            room = path if path.is_dir() else path.parent
            return room if room.parent != ROOT else None
        path = path.parent
    return None


def test_no_two_folders_import_each_other() -> None:
    """Files directly in a package wire its folders, so they do not count."""
    wants: dict[Path, set[Path]] = {}
    for path in _all_sources():
        if path.parent.parent == ROOT:
            continue
        rooms = {_room(module) for module in _imports(path)} - {None, path.parent}
        wants.setdefault(path.parent, set()).update(room for room in rooms if room is not None)
    order = TopologicalSorter(wants)
    order.prepare()  # raises CycleError, which names the folders
