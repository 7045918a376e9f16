"""What an operator asks for when a model is loaded, in one value; free of torch."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """Each means the model's own choice where it is left out.

    `threads` is how many CPU threads it may compute with. `weights` are files, folders or
    `owner/name`, `size` the width and height of frames in pixels, `sessions` how many streams there
    should be room for. `decoder` and `encoder` are files whose decoder and encoder take the place
    of the model's, `tiny_decoder` is that of one for chunks that ask for it (`Economy`); `dtype` is
    bf16, fp16 or fp32, `quantize` fp8, fp8-dynamic or int8, `attention` exact or int8, `steps` are
    denoising steps such as (1000, 500), `device` one of `devices.device_named`, `lookahead_ms` how
    far ahead speech is heard. A model raises ValueError for what it has no use for, and
    FileNotFoundError for files that are missing.
    """

    threads: int | None = None
    sessions: int = 1
    weights: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    decoder: str | None = None
    tiny_decoder: str | None = None
    encoder: str | None = None
    dtype: str | None = None
    quantize: str | None = None
    attention: str | None = None
    steps: tuple[float, ...] | None = None
    device: str | None = None
    lookahead_ms: int | None = None

    def check_none_but(self, *taken: str) -> None:
        """Raise ValueError for an option that is given and is not `taken`.

        Threads, sessions and the CPU may always be asked for: no model has to have them.
        """
        free = LoadOptions(threads=self.threads, sessions=self.sessions)
        given = [f.name for f in fields(self) if getattr(self, f.name) != getattr(free, f.name)]
        wrong = [name for name in given if name not in taken]
        if self.device in ("auto", "cpu") and "device" in wrong:
            wrong.remove("device")
        if wrong:
            raise ValueError(f"it has no use for {', '.join(wrong)}: leave that out")
