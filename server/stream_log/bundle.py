"""A log packed for a bug report: with what a reader wants to know first, without paths."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from msgspec.structs import replace

from .records import MAGIC, Header, encode_record
from .replay import IN_BUNDLE, Comparison, StreamLog


def write_bundle(path: Path, log: StreamLog, compared: Comparison, differs: list[str]) -> None:
    """Write the zip: `report.json`, and the log, of which only names are left of paths.

    `differs` is what is not as it was. Raises OSError.
    """
    header = replace(log.header, arguments=_without_paths(log.header.arguments))
    report = {
        "model": header.model,
        "arguments": header.arguments,
        "machine": header.machine,
        "began": header.began,
        "chunks": len(log.steps),
        "ends": log.why,
        "replay": asdict(compared),
        "differs": differs,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("report.json", json.dumps(report, indent=2))
        bundle.writestr(IN_BUNDLE, b"".join(_bytes_of(header, log)))


def _bytes_of(header: Header, log: StreamLog) -> Iterable[bytes]:
    yield MAGIC
    yield encode_record(header)
    for step, then in log.steps:
        yield encode_record(step)
        if then is not None:
            yield encode_record(then)


def _without_paths(arguments: dict[str, Any]) -> dict[str, Any]:
    kept = {**arguments}
    if kept.get("weights"):
        kept["weights"] = [PurePath(each).name for each in kept["weights"]]
    for name in ("decoder", "encoder"):
        if kept.get(name):
            kept[name] = PurePath(kept[name]).name
    return kept
