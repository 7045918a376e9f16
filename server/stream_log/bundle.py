"""A log packed for a bug report: with what a reader wants to know first, without paths."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

from msgspec.structs import replace

from .records import MAGIC, End, Header, Rebuilt, encode_record
from .replay import IN_BUNDLE, Comparison, StreamLog


def write_bundle(
    path: Path,
    log: StreamLog,
    compared: Comparison | None,
    differs: list[str],
    *,
    doctor: Mapping[str, Any] | None = None,
) -> None:
    """Write the zip: `report.json`, and the log, of which only names are left of paths.

    `compared` is how it was made again, None: it was not; `differs` is what is not as it was,
    `doctor` what `rollcast doctor` says of this machine. Raises OSError.
    """
    header = replace(log.header, arguments=_without_paths(log.header.arguments))
    report = {
        "model": header.model,
        "arguments": header.arguments,
        "machine": header.machine,
        "began": header.began,
        "chunks": len(log.steps),
        "ends": log.why,
        "rebuilt": list(log.rebuilt),
        "replay": None if compared is None else asdict(compared),
        "differs": differs,
        "doctor": None if doctor is None else _home_hidden(doctor),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("report.json", json.dumps(report, indent=2))
        bundle.writestr(IN_BUNDLE, b"".join(_bytes_of(header, log)))


def _bytes_of(header: Header, log: StreamLog) -> Iterable[bytes]:
    yield MAGIC
    yield encode_record(header)
    if log.gone_on is not None:
        yield encode_record(log.gone_on)
    for number, (step, then) in enumerate(log.steps):
        yield encode_record(step)
        if number in log.rebuilt:
            yield encode_record(Rebuilt())
        if then is not None:
            yield encode_record(then)
    if log.why:
        yield encode_record(End(log.why))


def _home_hidden(found: Any) -> Any:
    """`found`, without the name of whoever's home it speaks of."""
    if isinstance(found, str):
        return found.replace(str(Path.home()), "~")
    if isinstance(found, Mapping):
        return {key: _home_hidden(value) for key, value in found.items()}
    return [_home_hidden(each) for each in found] if isinstance(found, list | tuple) else found


def _without_paths(arguments: dict[str, Any]) -> dict[str, Any]:
    kept = {**arguments}
    if kept.get("weights"):
        kept["weights"] = [PurePath(each).name for each in kept["weights"]]
    for name in ("decoder", "tiny_decoder", "encoder"):
        if kept.get(name):
            kept[name] = PurePath(kept[name]).name
    return kept
