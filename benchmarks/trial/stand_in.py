"""A picture, and a video, for a model that needs one and is given none: a drawn hill and a ball."""

from __future__ import annotations

import numpy as np
import simplejpeg


def drawn(width: int, height: int, seconds: float = 0.0) -> np.ndarray:
    """A scene in which a ball goes round once in 4 s, uint8 RGB [H, W, 3]."""
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns / width, rows / height
    sky = np.stack((90 + 80 * y, 150 + 60 * y, 225 - 20 * y), axis=-1)
    ground = np.stack((70 + 60 * x, 120 + 30 * np.sin(9 * x), 60 + 0 * x), axis=-1)
    hill = 0.62 + 0.1 * np.sin(5 * x + 1)
    scene = np.where((y > hill)[..., None], ground, sky)
    turn = np.pi * seconds / 2
    across, down = 0.5 + 0.28 * np.cos(turn), 0.42 + 0.22 * np.sin(turn)
    away = np.hypot((x - across) * width / height, y - down)
    ball = np.array((225, 80, 50)) * (1.15 - 2.5 * away[..., None])
    scene = np.where((away < 0.13)[..., None], ball, scene)
    return np.clip(scene, 0, 255).astype(np.uint8)


def drawn_image(width: int, height: int) -> bytes:
    """Its beginning as a JPEG file."""
    return simplejpeg.encode_jpeg(drawn(width, height), quality=92)
