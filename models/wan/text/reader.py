"""Has prompts encoded by a process of its own, so that nobody who makes chunks waits for one.

Free of torch. What the process makes goes through the store on disk; it ends by itself when nobody
has asked for a while, and its memory is free again.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .encoders import ENCODERS, EncoderProcess, Encoders
from .store import TextStore, default_folder, fingerprint

IDLE_S = 600.0


class TextFailed(RuntimeError):
    """A prompt could not be encoded; says why, and may quote an exception."""


@dataclass(frozen=True, slots=True)
class TextFiles:
    """Files of an encoder, see `locate.ModelFiles`; texts are cut at `text_len` tokens."""

    weights: Path
    tokenizer: Path
    text_len: int

    @property
    def fingerprint(self) -> str:
        """What tells this encoder from another."""
        tokenizer = sorted(file for file in self.tokenizer.iterdir() if file.is_file())
        return fingerprint((self.weights, *tokenizer), self.text_len)


class TextReader:
    """Prompts in, and a promise that the store has them; one is encoded at a time."""

    def __init__(
        self,
        files: TextFiles,
        store: TextStore | None = None,
        *,
        idle_s: float = IDLE_S,
        encoders: Encoders = ENCODERS,
    ) -> None:
        self.files = files
        self.store = store or TextStore(default_folder(), files.fingerprint)
        self._idle_s = idle_s
        self._encoders = encoders
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="text")
        self._lock = threading.Lock()
        self._process: EncoderProcess | None = None
        self._timer: threading.Timer | None = None

    def has(self, text: str) -> bool:
        """Whether `text` needs no reading any more."""
        return self.store.has(text)

    def read(self, text: str) -> Future[None]:
        """Encode `text` if it is not kept already; the future raises TextFailed."""
        if self.has(text):
            done: Future[None] = Future()
            done.set_result(None)
            return done
        return self._thread.submit(self._read, text)

    def warm(self) -> None:
        """Start the process if it does not run: somebody may soon have something to read."""
        if self._process is None:
            self._thread.submit(self._answer, None)

    def get(self, text: str) -> bytes:
        """What the store keeps of `text`; waits for it if it has to be encoded first.

        Raises TextFailed.
        """
        for _ in range(2):
            # it may be gone again when others fill the store
            self.read(text).result()
            data = self.store.get(text)
            if data is not None:
                return data
        raise TextFailed("the store of embeddings is too small for a single prompt")

    @property
    def pid(self) -> int | None:
        """The encoder's process, while there is one."""
        process = self._process
        return None if process is None else process.pid

    def close(self) -> None:
        """End the process, whatever it is at; nothing can be read from here on."""
        process = self._process
        if process is not None:
            process.kill()
        self._thread.shutdown(cancel_futures=True)
        self._end()

    def _read(self, text: str) -> None:
        # an earlier call may have been about the same
        if not self.has(text):
            self._answer(text)

    def _answer(self, text: str | None) -> None:
        """Have the process read a text, or only the encoder; it may end when it idles then."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            try:
                answer = self._ask(text)
            finally:
                self._timer = threading.Timer(self._idle_s, self._end, kwargs={"idle": True})
                self._timer.daemon = True
                self._timer.start()
        if "error" in answer:
            raise TextFailed(answer["error"])

    def _ask(self, text: str | None) -> dict[str, str]:
        """One message to the process and its answer. Raises TextFailed if it has ended."""
        process = self._process
        if process is not None and process.ended:
            self._stop(process)
            process = None
        if process is None:
            process = self._process = self._encoders.start(self._arguments())
        line = process.ask(json.dumps(text))
        if not line:
            self._stop(process)
            raise TextFailed("the text encoder's process ended; the log says more")
        return json.loads(line)

    def _arguments(self) -> list[str]:
        arguments = {
            "--weights": self.files.weights,
            "--tokenizer": self.files.tokenizer,
            "--text-len": self.files.text_len,
            "--store": self.store.folder,
            "--model": self.store.model,
            "--max-bytes": self.store.max_bytes,
        }
        return [str(each) for pair in arguments.items() for each in pair]

    def _end(self, *, idle: bool = False) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            if self._process is not None:
                self._stop(self._process, idle=idle)

    def _stop(self, process: EncoderProcess, *, idle: bool = False) -> None:
        self._process = None
        self._encoders.end(process, idle=idle)
