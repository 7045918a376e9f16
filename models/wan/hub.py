"""The cache of the Hugging Face hub as `huggingface_hub` lays it out; free of torch."""

from __future__ import annotations

import os
from pathlib import Path


def hub_cache() -> Path:
    """Where the hub's downloads lie: `HF_HUB_CACHE`, else `HF_HOME`, else the user's cache."""
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("HF_HOME") or f"{base}/huggingface"
    return Path(home).expanduser() / "hub"


def snapshot_folder(repository: str, cache: Path) -> Path | None:
    """The folder of `owner/name` in a cache, if it has one: its `main`, else the newest."""
    kept = cache / f"models--{repository.replace('/', '--')}"
    snapshots = kept / "snapshots"
    branch = kept / "refs" / "main"
    if branch.is_file():
        folder = snapshots / branch.read_text().strip()
        if folder.is_dir():
            return folder
    return max(snapshots.glob("*"), key=lambda each: each.stat().st_mtime, default=None)


def download(repository: str, patterns: list[str] | None, cache: Path) -> Path:
    """Download `owner/name` into a cache, of it what `patterns` name (None: all); its folder.

    What is there is not downloaded again. Raises FileNotFoundError where it cannot be had.
    """
    missing = f"{repository} is no file or folder, and not in the hub's cache ({cache})"
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise FileNotFoundError(f"{missing}; to download it, install rollcast[wan]") from error
    try:
        folder = snapshot_download(repository, allow_patterns=patterns, cache_dir=cache)
    except Exception as error:  # whatever a network and a server may do
        first = str(error).partition("\n")[0]
        raise FileNotFoundError(f"{missing}; it could not be downloaded: {first}") from error
    return Path(folder)
