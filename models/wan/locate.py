"""Finds a preset's files in what a user names: files, folders, the hub's cache; free of torch.

A folder may be laid out as a family's own repository asks for, as diffusers writes it
(`transformer`, `vae`, `text_encoder`, `tokenizer`), or be the cache of the Hugging Face hub. Parts
may lie in several places: a student in one, Wan's VAE and text encoder in another.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .hub import download, hub_cache, snapshot_folder
from .presets.preset import Preset, Source
from .weight_files import INDEX, BadCheckpoint, index_of_shards, is_weight_file, weight_file

_DEPTH = 5
"""So deep in a folder that is named files are looked for."""
_TOKENIZER_FILES = ("tokenizer.json", "spiece.model")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """Where the parts of one model are; `weights`, `vae` and `text_encoder` are files or indexes.

    `tokenizer` is a folder. A configuration may be missing: the preset says what it would. `more`
    are those that conditioning needs, see `Conditioning.sources`.
    """

    weights: Path
    vae: Path
    text_encoder: Path
    tokenizer: Path
    adapter: Path | None = None
    config: Path | None = None
    more: Mapping[str, Path] = field(default_factory=dict)


class FilesMissing(FileNotFoundError):
    """Parts of a model were not found; `hint` says how to get them."""

    def __init__(self, preset: Preset, missing: Sequence[Source], places: Sequence[str]) -> None:
        looked = ", ".join(places) or f"the hub's cache ({hub_cache()})"
        names = ", ".join(source.path for source in missing)
        super().__init__(f"{preset.name} lacks {names}; looked in {looked}")
        self.missing = tuple(missing)
        self.hint = "Download with: " + "; ".join(map(_download, missing))


def locate(preset: Preset, places: Sequence[str]) -> ModelFiles:
    """The files of `preset` in `places`: files, folders, or `owner/name` of the hub's cache.

    Without any the hub's cache is looked through. A file that is named itself is the student's
    weights, unless it has the name of another part. Raises FilesMissing for all that is not there,
    FileNotFoundError for a place or a shard that is not, and BadCheckpoint where two files could be
    meant.
    """
    found = _Places.of(places, preset)
    base = preset.base
    weights, vae = found.weights(preset), found.part(base.vae, "vae")
    text_encoder = found.part(base.text_encoder, "text_encoder")
    tokenizer = found.tokenizer(base.tokenizer)
    adapter = None if preset.adapter is None else found.part(preset.adapter.source, None)
    sources = {name: each for kind in preset.conditioning for name, each in kind.sources().items()}
    more = {name: found.part(source, name) for name, source in sources.items()}
    pairs = [
        (preset.weights, weights),
        (base.vae, vae),
        (base.text_encoder, text_encoder),
        (base.tokenizer, tokenizer),
        *((sources[name], path) for name, path in more.items()),
    ]
    if preset.adapter is not None:
        pairs.append((preset.adapter.source, adapter))
    missing = [source for source, path in pairs if path is None]
    if weights is None or vae is None or text_encoder is None or tokenizer is None or missing:
        raise FilesMissing(preset, missing, places)
    for file in (weights, vae, text_encoder, adapter, *more.values()):
        if file is not None and file.name.endswith(INDEX):
            index_of_shards(file)
    config = next(filter(None, map(config_beside, (weights, vae))), None)
    others = {name: path for name, path in more.items() if path is not None}
    return ModelFiles(weights, vae, text_encoder, tokenizer, adapter, config, others)


@dataclass(frozen=True, slots=True)
class _Places:
    files: tuple[Path, ...]
    folders: tuple[Path, ...]
    caches: tuple[Path, ...]

    @classmethod
    def of(cls, places: Sequence[str], preset: Preset) -> _Places:
        """Raises FileNotFoundError for a place that is not there."""
        files: list[Path] = []
        folders: list[Path] = []
        caches: list[Path] = [] if places else [hub_cache()]
        for place in places:
            path = Path(place).expanduser()
            if path.is_file():
                files.append(path)
            elif path.is_dir():
                (caches if _is_cache(path) else folders).append(path)
            elif _REPOSITORY.fullmatch(place):
                folders.append(_from_hub(place, preset))
            else:
                raise FileNotFoundError(f"no such file or folder: {place}")
        return cls(tuple(files), tuple(folders), tuple(caches))

    def weights(self, preset: Preset) -> Path | None:
        """The student's."""
        named = self.part(preset.weights, "transformer")
        others = {name for source in preset.sources[1:] for name in source.names}
        given = [file for file in self.files if file.name not in others]
        if len(given) > 1:
            raise BadCheckpoint(
                f"{', '.join(map(str, given))}: one file of weights was expected for {preset.name}"
            )
        return given[0] if given else named

    def part(self, source: Source, diffusers: str | None) -> Path | None:
        """The file of a part; `diffusers` is its folder as diffusers names it."""
        for file in self.files:
            if file.name in source.names:
                return file
        published = self._published(source)
        if published is not None:
            return weight_file(published)
        if diffusers is None:
            return None
        for folder in (root / diffusers for root in (*self.folders, *self._snapshots())):
            if folder.is_dir() and any(is_weight_file(file) for file in folder.iterdir()):
                return weight_file(folder)
        return None

    def tokenizer(self, source: Source) -> Path | None:
        """The tokenizer's folder."""
        folder = self._published(source)
        others = [root / "tokenizer" for root in (*self.folders, *self._snapshots())]
        for each in ([folder] if folder else []) + others:
            if any((each / name).exists() for name in _TOKENIZER_FILES):
                return each
        return None

    def _published(self, source: Source) -> Path | None:
        """What has the published path, or the longest end of it, in a folder or a cache."""
        kept = (snapshot_folder(source.repository, cache) for cache in self.caches)
        for folder in kept:
            if folder is not None and (folder / source.path).exists():
                return folder / source.path
        return next(filter(None, map(self._ending, (source.path, *source.also))), None)

    def _ending(self, published: str) -> Path | None:
        """What has the longest end of a path in the folders."""
        wanted = PurePosixPath(published).parts
        found: list[tuple[int, int, Path]] = []
        for folder in self.folders:
            for path in _inside(folder):
                if path.name == wanted[-1]:
                    found.append((-_common_end(path.parts, wanted), len(path.parts), path))
        if not found:
            return None
        found.sort()
        best = [path for *rank, path in found if rank == list(found[0][:2])]
        if len({path.resolve() for path in best}) > 1:
            raise BadCheckpoint(f"which is meant: {' or '.join(map(str, best))}?")
        return best[0]

    def _snapshots(self) -> Iterator[Path]:
        """Every repository of the caches that were named."""
        for cache in self.caches:
            for repository in sorted(cache.glob("models--*--*")):
                name = repository.name.removeprefix("models--").replace("--", "/", 1)
                folder = snapshot_folder(name, cache)
                if folder is not None:
                    yield folder


def _from_hub(repository: str, preset: Preset) -> Path:
    """A repository's folder; of one that the preset names only what the preset needs."""
    wanted = [source for source in preset.sources if source.repository == repository]
    paths = [source.path for source in wanted]
    patterns = [pattern for source in wanted for pattern in source.patterns]
    cache = hub_cache()
    kept = snapshot_folder(repository, cache)
    if kept is not None and all((kept / path).exists() for path in paths):
        return kept
    return download(repository, [*patterns, "config.json"] if paths else None, cache)


def _is_cache(folder: Path) -> bool:
    return any(folder.glob("models--*--*/snapshots"))


def _inside(folder: Path) -> Iterator[Path]:
    """Files and folders in it, to a bounded depth; hidden ones are passed over."""
    for root, folders, files in os.walk(folder, followlinks=True):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (here / name for name in sorted((*folders, *files)))
        if len(here.relative_to(folder).parts) >= _DEPTH - 1:
            folders.clear()


def _common_end(path: Sequence[str], wanted: Sequence[str]) -> int:
    """How many parts at the end two paths share."""
    pairs = zip(reversed(path), reversed(wanted), strict=False)
    return next((k for k, (a, b) in enumerate(pairs) if a != b), min(len(path), len(wanted)))


def config_beside(file: Path | None) -> Path | None:
    """The `config.json` beside a file."""
    config = None if file is None else file.parent / "config.json"
    return config if config is not None and config.exists() else None


def _download(source: Source) -> str:
    first, *more = source.patterns
    if not more and "*" not in first:
        return f"hf download {source.repository} {first}"
    include = " ".join(f'"{each}"' for each in (first, *more))
    return f"hf download {source.repository} --include {include}"
