"""The reader of a preset's prompts; free of torch."""

from __future__ import annotations

from importlib.util import find_spec

from ..config_file import student_config
from ..locate import ModelFiles
from ..presets.preset import Preset
from .reader import TextFiles, TextReader


def text_reader(preset: Preset, files: ModelFiles) -> TextReader:
    """What reads this preset's prompts. Raises ValueError where its library is not installed."""
    if find_spec("transformers") is None or find_spec("ftfy") is None:
        raise ValueError(
            f"{preset.name} reads its prompts with transformers; install rollcast[wan]"
        )
    text_len = student_config(preset, files.config).text_len
    return TextReader(TextFiles(files.text_encoder, files.tokenizer, text_len))
