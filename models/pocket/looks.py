"""What the pocket model can show: its looks and people's own pictures, as the networks see them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .. import picture
from ..contract import (
    PICTURE,
    Economy,
    ModelInfo,
    ModelInputs,
    PictureGuide,
    PromptInput,
    Scene,
    SpeechInput,
    TracksInput,
)
from ..state import DecoderState
from .audio import CHUNK_FRAMES, LOOKAHEAD_MS, SAMPLE_RATE
from .autoencoder import (
    FRAME_SIZE,
    PICTURE_SIZE,
    FrameEncoder,
    Pictures,
    ReferenceFeatures,
    WarpDecoder,
    at_rest,
    plate_of_size,
)
from .closing import with_closed_lips
from .conditions import reference_base, reference_channels
from .frame_decoder import FrameDecoder
from .manifest import LookEntry, Manifest
from .opening import Opening
from .weights import filled, part

NAME = "pocket"
FPS = 25
GUIDE = PictureGuide(PICTURE_SIZE, ((0.395, 0.484), (0.602, 0.484)), (0.5, 0.712))
"""Where the faces of the looks have their eyes and mouths, on average."""
AVATAR_SCALE = 6.0
"""Pixels of flow per unit of a face's motion latent, whoever's it is."""
_THUMBNAIL_QUALITY = 85


@dataclass(frozen=True, slots=True)
class LookPictures:
    """A look's reference picture, the one with open mouth, and its plate, RGB."""

    reference: Image.Image
    opened: Image.Image
    plate: Image.Image

    @classmethod
    def read(cls, folder: Path, entry: LookEntry) -> LookPictures:
        """The pictures of a manifest entry."""
        names = (entry.reference, entry.opened, entry.plate)
        return cls(*(Image.open(folder / name).convert("RGB") for name in names))


@dataclass(frozen=True, slots=True)
class Look:
    """A manifest entry with what the networks see of its picture.

    `plate` is what lies behind, in frames of the model's size.
    """

    entry: LookEntry
    features: ReferenceFeatures
    plate: Tensor
    scale: Tensor
    base: Tensor
    channels: Tensor


@dataclass(frozen=True, slots=True)
class OwnPicture:
    """A stream's own picture, as `picture.small_square` gives it, and the look made of it."""

    square: bytes
    look: Look

    def tensors(self) -> dict[str, Tensor]:
        """What steps and decoder cannot know, wherever they run; part of every plan."""
        return {"channels": self.look.channels, "picture": bytes_tensor(self.square)}


@dataclass(frozen=True, slots=True)
class LookEncoder:
    """The networks that see pictures, what opens mouths, and how latents are normalised."""

    decoder: WarpDecoder
    frame_decoder: FrameDecoder
    encoder: FrameEncoder
    opening: Opening
    mean: Tensor
    spread: Tensor
    size: int

    @classmethod
    def of(cls, weights: Mapping[str, Tensor], size: int = FRAME_SIZE) -> LookEncoder:
        """What the weight file has of them, for frames of `size` x `size` pixels."""
        decoder = filled(WarpDecoder, weights, "decoder")
        decoder.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        encoder = filled(FrameEncoder, weights, "encoder")
        opening = Opening.of(part(weights, "opening"))
        frame_decoder = FrameDecoder(decoder, _convolution_type(), size=size)
        mean, spread = weights["latent.mean"], weights["latent.spread"]
        return cls(decoder, frame_decoder, encoder, opening, mean, spread, size)

    def look(self, entry: LookEntry, pictures: LookPictures) -> Look:
        """A look of the manifest."""
        shown = (pictures.reference, pictures.opened, pictures.plate)
        signed = (_signed(np.asarray(picture)) for picture in shown)
        known = Pictures(*signed, flat=torch.tensor([False]), pans=torch.tensor([entry.pans]))
        return self._look(entry, known)

    def bring(self, data: bytes) -> OwnPicture:
        """A picture as somebody sends it. Raises PictureRefused, a ValueError."""
        return self.own(picture.small_square(data, PICTURE_SIZE))

    def own(self, square: bytes) -> OwnPicture:
        """A picture as it is kept; lips that show teeth are closed first."""
        closed, lip_row = with_closed_lips(picture.pixels(square))
        image = _signed(closed)
        pictures = Pictures.without_plate(image, self.opening.apply(image, lip_row))
        return OwnPicture(square, self._look(_OWN, pictures))

    def own_once(self, square: bytes, state: DecoderState) -> OwnPicture:
        """The same, looked at once as long as a stream's decoder shows it."""
        own: OwnPicture | None = state.derived.get(PICTURE)
        if own is None or own.square != square:
            own = state.derived[PICTURE] = self.own(square)
        return own

    def frames(self, latents: Tensor, look: Look) -> np.ndarray:
        """uint8 RGB frames [T, H, W, 3] of normalised latents [T, 28, 8, 8]."""
        raw = torch.addcmul(self.mean, latents, self.spread)
        return self.frame_decoder(raw, look.features, look.scale, look.plate).numpy()

    def _look(self, entry: LookEntry, pictures: Pictures) -> Look:
        features = self.decoder.encode_reference(pictures)
        plate = features.plate
        if self.size != FRAME_SIZE:
            plate = plate_of_size(pictures.behind(), self.size)
        scale = torch.tensor([entry.scale])
        raw = at_rest(self.encoder, pictures.reference, features, scale)
        latent = (raw - self.mean) / self.spread
        channels = reference_channels(features, latent)
        return Look(entry, features, plate, scale, reference_base(latent), channels)


_OWN = LookEntry(PICTURE, "Your picture", "avatar", "", "", "", (), AVATAR_SCALE, ())


def bytes_tensor(data: bytes) -> Tensor:
    """Bytes as a tensor, uint8 [N]."""
    return torch.from_numpy(np.frombuffer(data, np.uint8).copy())


def tensor_bytes(tensor: Tensor) -> bytes:
    """The inverse of `bytes_tensor`."""
    return tensor.numpy().tobytes()


def describe(manifest: Manifest, folder: Path, *, name: str, size: int, steps: int) -> ModelInfo:
    """What clients are told of the model, which takes so many steps; its pictures in `folder`."""
    scenes = tuple(
        Scene(e.name, e.title, e.kind, _thumbnail(Image.open(folder / e.reference).convert("RGB")))
        for e in manifest.looks
    )
    return ModelInfo(
        name=name,
        title=manifest.title if size == FRAME_SIZE else f"{manifest.title}, {size} pixels wide",
        width=size,
        height=size,
        fps=FPS,
        chunk_frames=CHUNK_FRAMES,
        # one step is as good as more (docs/embedded-model.md)
        economy=Economy(steps=1 if steps > 1 else None, frame_every=2),
        inputs=ModelInputs(
            scenes=scenes,
            prompt=PromptInput(manifest.presets),
            speech=SpeechInput(SAMPLE_RATE, LOOKAHEAD_MS),
            tracks=TracksInput(),
            picture=GUIDE,
        ),
    )


def _convolution_type() -> torch.dtype:
    """What the decoder's convolutions are made in: bfloat16 where the processor multiplies it.

    They take half of the time or less then. Of the shipped looks no level differs by more than 3
    for it, and one in 20,000 by more than 1.
    """
    asked = getattr(torch.cpu, "get_capabilities", None)
    able = asked() if asked is not None else {}
    wide = able.get("avx512_bf16") or able.get("amx_bf16")
    return torch.bfloat16 if wide else torch.float32


def _signed(pixels: np.ndarray) -> Tensor:
    """uint8 RGB [H, W, 3] as -1..1 [1, 3, H, W]."""
    signed = torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)
    return signed.permute(2, 0, 1)[None]


def _thumbnail(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    small = picture.resize((FRAME_SIZE, FRAME_SIZE), Image.Resampling.LANCZOS)
    small.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return buffer.getvalue()
