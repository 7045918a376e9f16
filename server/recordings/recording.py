"""One stream to files, one behind the other: each begins at a key frame and ends at a limit."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from av.error import FFmpegError

from ..bounded_folder import BoundedFolder
from .movie import Movie, MovieKind
from .movie_file import MovieFile
from .piece import Piece

FILE_MB = 2000


@dataclass(frozen=True, slots=True)
class MovieShape:
    """What a film must know of its stream."""

    kind: MovieKind
    size: tuple[int, int]
    fps: int
    sound: bool


class Recording:
    """Writes into `folder`, files `name-1`, `name-2`, each of `file_s` seconds or `file_mb` at most
    (1e6 bytes, and what comes until the next key frame).

    Called from one thread at a time. Raises OSError where nothing more can be written; what was is
    there and plays.
    """

    def __init__(
        self,
        folder: BoundedFolder,
        name: str,
        shape: MovieShape,
        *,
        file_s: float,
        file_mb: float = FILE_MB,
    ) -> None:
        self._folder = folder
        self._name = name
        self._shape = shape
        self._file_s = file_s
        self._file_bytes = file_mb * 1e6
        self._number = 0
        self._movie: Movie | None = None
        self._file: MovieFile | None = None
        self._past_s = 0.0

    @property
    def seconds(self) -> float:
        """How long all of it is."""
        return self._past_s + (0.0 if self._movie is None else self._movie.seconds)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Add pieces in the order of their coming."""
        try:
            for piece in pieces:
                if piece.key and (self._movie is None or self._is_full):
                    self._turn()
                if self._movie is not None:
                    self._movie.write(piece)
        except FFmpegError as error:
            raise OSError(f"the film could not be written: {error}") from error

    def close(self) -> None:
        """End the file at hand. Raises OSError for an index that finds no room."""
        movie, file, self._movie, self._file = self._movie, self._file, None, None
        if movie is None or file is None:
            return
        self._past_s += movie.seconds
        try:
            movie.close()
        except FFmpegError as error:
            raise OSError(f"the film could not be ended: {error}") from error
        finally:
            file.close()

    def give_up(self) -> None:
        """End it after a failure: the file stays as it is."""
        with suppress(OSError):
            self.close()

    @property
    def _is_full(self) -> bool:
        assert self._movie is not None and self._file is not None
        return self._movie.seconds >= self._file_s or self._file.tell() >= self._file_bytes

    def _turn(self) -> None:
        self.close()
        self._number += 1
        shape = self._shape
        file = MovieFile(self._folder.new(f"{self._name}-{self._number}.{shape.kind}"))
        self._file = file
        self._movie = Movie(file, shape.kind, size=shape.size, fps=shape.fps, sound=shape.sound)
