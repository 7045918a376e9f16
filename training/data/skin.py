"""Face texture of one identity: brows, lids, blush, freckle noise and age lines on plain skin."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.data.assets import Floats
from training.data.identities import Identity

SIZE = 512
BOTTOM_Y, HEIGHT = 6.3, 2.1
"""The texture is projected from the front: x -1..1 and y BOTTOM_Y..BOTTOM_Y + HEIGHT (dm)."""


def _grid() -> tuple[Floats, Floats]:
    rows, cols = np.mgrid[:SIZE, :SIZE].astype(np.float32) / (SIZE - 1)
    return cols * 2 - 1, BOTTOM_Y + (1 - rows) * HEIGHT


def _blob(x: float, y: float, sx: float, sy: float) -> Floats:
    gx, gy = _grid()
    return np.exp(-(((gx - x) / sx) ** 2) - ((gy - y) / sy) ** 2)[..., None]


def _noise(rng: np.random.Generator, cells: int) -> Floats:
    small = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return (
        np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32)[..., None]
        / 255
        - 0.5
    )


def _photographed(who: Identity, seed: int) -> Floats:
    """What skin has that paint has not, as a factor [SIZE,SIZE,3]: pores, freckles, moles."""
    rng = np.random.default_rng([seed, *who.name.encode()])
    red = np.array([0.3, 1.0, 0.9])
    made = 1 + who.texture * (0.16 * _noise(rng, 300) + 0.12 * _noise(rng, 500))
    made = made + who.texture * 0.14 * _noise(rng, 12) * red + 0.1 * who.texture * _noise(rng, 5)
    # below the chin the lowest row is all that is seen
    fade = np.clip((SIZE - 1 - np.arange(SIZE)) / 40, 0, 1)[:, None, None]
    made = 1 + (made - 1) * fade
    spots = Image.new("L", (SIZE, SIZE), 0)
    draw = ImageDraw.Draw(spots)
    for _ in range(int(rng.integers(0, 4)) + int(rng.random() < 0.3) * int(rng.integers(40, 140))):
        x, y, r = *rng.uniform(0, SIZE, 2), rng.uniform(0.6, 2.2)
        draw.ellipse([x - r, y - r, x + r, y + r], fill=int(rng.uniform(40, 150)))
    dark = np.asarray(spots.filter(ImageFilter.GaussianBlur(0.7)), np.float32)[..., None] / 255
    return (made * (1 - 0.6 * dark * np.array([0.6, 0.9, 1.0]))).astype(np.float32)


def paint_skin(who: Identity, eyes: Floats, mouth: Floats, seed: int) -> Floats:
    """Skin colours 0..1 [SIZE,SIZE,3]; eyes [2,3] and mouth [3] are the identity's landmarks."""
    rng = np.random.default_rng(seed)
    image = np.tile(np.array(who.skin, np.float32), (SIZE, SIZE, 1))
    ex, ey = abs(float(eyes[0, 0])), float(eyes[:, 1].mean())
    image *= 1 + 0.05 * _noise(rng, 40) + 0.03 * _noise(rng, 130)
    if who.texture:
        image *= _photographed(who, seed)
    blush = np.array([0.02, 0.17, 0.15]) * who.blush
    for side in (-1, 1):
        image *= 1 - _blob(side * 0.46, ey - 0.34, 0.21, 0.17) * blush
        image *= 1 - _blob(side * ex, ey - 0.14, 0.16, 0.05) * np.array([0.08, 0.11, 0.09]) * 0.6
        image *= 1 - _blob(side * ex, ey + 0.11, 0.17, 0.06) * np.array([0.14, 0.18, 0.17]) * 0.6
    image *= 1 - _blob(0, ey - 0.28, 0.13, 0.10) * np.array([0.02, 0.10, 0.09]) * who.blush
    image *= 1 - _blob(0, float(mouth[1]) - 0.14, 0.16, 0.035) * np.array([0.14, 0.16, 0.15])
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    picture = picture.resize((SIZE * 2, SIZE * 2), Image.Resampling.BICUBIC)
    if who.age_lines:
        picture = _age(picture, who, ey, float(mouth[1]))
    _brows(ImageDraw.Draw(picture), who, ex, ey, rng)
    if who.liner:
        _liner(ImageDraw.Draw(picture), who, ex, ey)
    small = np.asarray(picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS), np.float32) / 255
    texture = small.copy()
    texture[0, 0] = who.skin  # the shader takes the plain skin colour from this texel
    return np.ascontiguousarray(texture)


def _pixel(x: float, y: float) -> tuple[float, float]:
    return (x + 1) * SIZE, (1 - (y - BOTTOM_Y) / HEIGHT) * 2 * SIZE


def _brows(
    draw: ImageDraw.ImageDraw, who: Identity, ex: float, ey: float, rng: np.random.Generator
) -> None:
    colour = np.array(who.hair.colour) * (0.75 if max(who.hair.colour) < 0.6 else 0.62)
    inner, lift = ex - 0.19, ey + 0.175
    arch = 0.058 if who.liner else 0.035
    for side in (-1, 1):
        for t in np.linspace(0, 1, 200):
            x = inner + 0.42 * t
            y = lift + arch * np.sin(np.pi * min(t * 0.62 + 0.06, 1)) - 0.035 * t * t
            width = 0.042 * who.brow * (1 - 0.72 * t) * (0.6 + 0.4 * min(1, t * 8))
            for _ in range(3):
                off, length = rng.uniform(-1, 1) * width, 0.05 * (1 - 0.3 * t)
                angle = 0.9 - 1.25 * t + rng.normal() * 0.15
                shade = tuple(int(255 * min(1, c * rng.uniform(0.8, 1.2))) for c in colour)
                end = (side * (x + length * np.cos(angle)), y + off + length * np.sin(angle) * 0.6)
                draw.line([_pixel(side * x, y + off), _pixel(*end)], fill=shade, width=2)


def _liner(draw: ImageDraw.ImageDraw, who: Identity, ex: float, ey: float) -> None:
    shade = tuple(int(c * 255 * (0.62 - 0.3 * who.liner)) for c in who.skin)
    for side in (-1, 1):
        arc = np.linspace(ex - 0.145, ex + 0.165, 24)
        bow = [0.065 * np.sqrt(max(0.0, 1 - ((x - ex - 0.01) / 0.165) ** 2)) for x in arc]
        line = [_pixel(side * x, ey + 0.02 + b) for x, b in zip(arc, bow, strict=True)]
        draw.line(line, fill=shade, width=5)


def _age(picture: Image.Image, who: Identity, ey: float, my: float) -> Image.Image:
    lines = Image.new("L", picture.size, 0)
    draw = ImageDraw.Draw(lines)
    strength = int(110 * who.age_lines)
    for k in range(3):
        y = ey + 0.45 + 0.11 * k
        draw.line([_pixel(x, y + 0.02 * np.cos(x * 5)) for x in np.linspace(-0.33, 0.33, 20)],
                  fill=strength // 2, width=5)  # fmt: skip
    for side in (-1, 1):
        fold = [(0.19, my + 0.24), (0.26, my + 0.14), (0.33, my + 0.02), (0.34, my - 0.09)]
        draw.line([_pixel(side * x, y) for x, y in fold], fill=strength, width=7)
        bag = [(0.17, ey - 0.13), (0.29, ey - 0.175), (0.40, ey - 0.14)]
        draw.line([_pixel(side * x, y) for x, y in bag], fill=strength, width=6)
        for k in range(3):
            start, end = (0.49, ey - 0.02 + 0.03 * k), (0.60, ey - 0.08 + 0.08 * k)
            draw.line([_pixel(side * start[0], start[1]), _pixel(side * end[0], end[1])],
                      fill=strength // 2, width=4)  # fmt: skip
    soft = np.asarray(lines.filter(ImageFilter.GaussianBlur(5)), np.float32)[..., None] / 255
    shaded = np.asarray(picture, np.float32) * (1 - soft * np.array([0.35, 0.45, 0.45]))
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))
