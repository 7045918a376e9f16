"""`rollcast models check`: what files are, what they lack and cost, without loading them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from .byte_counts import gigabytes
from .failure import EXIT_FAILED, as_failure

if TYPE_CHECKING:
    from ...models.wan.inspect_files import FoundFile, Served


def check(
    path: Annotated[Path, typer.Argument(help="A file, or a folder with some.")],
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Say what files are and which models they serve; exits with 1 if they serve none."""
    from ...models.wan.inspect_files import config_in, files_in, inspect_file, served_from
    from ...models.wan.locate import config_beside
    from ...models.wan.weight_files import BadCheckpoint

    files: list[dict[str, Any]] = []
    with as_failure():
        if not path.is_dir():
            files.append(_plain(inspect_file(path, config_beside(path))))
        config = config_in(path) if path.is_dir() else None
        for each in files_in(path) if path.is_dir() else ():
            try:
                files.append(_plain(inspect_file(each, config_beside(each) or config)))
            except (BadCheckpoint, FileNotFoundError) as error:
                files.append({"path": str(each), "kind": "broken", "why": str(error)})
        served = served_from(path) if path.is_dir() else {}
    serves = [name for name, each in served.items() if not (each.lacks or each.misfits)]
    usable = bool(serves) if path.is_dir() else files[0]["kind"] != "unknown"
    if as_json:
        report = {
            "files": files,
            "serves": serves,
            "lacks": {name: each.lacks for name, each in served.items()},
            "misfits": {name: list(each.misfits) for name, each in served.items() if each.misfits},
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(files, served, serves)
    if not usable:
        raise typer.Exit(EXIT_FAILED)


def _plain(found: FoundFile) -> dict[str, Any]:
    return {
        "path": str(found.path),
        "kind": found.kind,
        "values": found.values,
        "bytes": found.bytes,
        "bytes_bfloat16": 2 * found.values,
        "dtypes": list(found.dtypes),
        "fits": list(found.fits),
        "wrong_names": dict(found.wrong or {}),
    }


def _show(files: list[dict[str, Any]], served: dict[str, Served], serves: list[str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for each in files:
        if each["kind"] == "broken":
            console.print(f"{each['path']}: cannot be read. {each['why']}", markup=False)
            continue
        console.print(
            f"{each['path']}: {each['kind']}, {each['values']:,} values in "
            f"{', '.join(each['dtypes'])}, {gigabytes(each['bytes'])} "
            f"({gigabytes(each['bytes_bfloat16'])} in bfloat16)",
            markup=False,
        )
        if each["fits"]:
            console.print(f"  fits {', '.join(each['fits'])}")
        elif each["wrong_names"]:
            name, count = min(each["wrong_names"].items(), key=lambda pair: pair[1])
            console.print(f"  fits no model; nearest is {name}, with {count} wrong names")
    if serves:
        console.print(f"Serves {', '.join(serves)}.")
    wrong: dict[str, list[str]] = {}
    for name, each in served.items():
        for line in each.misfits:
            wrong.setdefault(line, []).append(name)
    for line, names in wrong.items():
        here = f"the files of {', '.join(names)} are here and cannot be served"
        console.print(f"{here}: {line}", markup=False)
    for name, each in served.items():
        if each.lacks:
            console.print(f"{name} lacks {each.lacks}", markup=False)
