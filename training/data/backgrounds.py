"""Blurred backgrounds for portraits, drawn with Pillow: one recipe per name."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.data.assets import Floats

_WORK = 512
Rgb = tuple[int, int, int]


def _gradient(top: Rgb, bottom: Rgb) -> Image.Image:
    t = np.linspace(0, 1, _WORK)[:, None, None]
    rows = np.array(top) * (1 - t) + np.array(bottom) * t
    return Image.fromarray(np.repeat(rows, _WORK, 1).astype(np.uint8))


def _spots(image: Image.Image, rng: np.random.Generator, count: int, colours: list[Rgb],
           size: tuple[int, int], top: int = 0, bottom: int = _WORK) -> None:  # fmt: skip
    draw = ImageDraw.Draw(image, "RGBA")
    for _ in range(count):
        x, y, r = rng.uniform(0, _WORK), rng.uniform(top, bottom), rng.uniform(*size)
        colour = colours[int(rng.integers(len(colours)))]
        draw.ellipse([x - r, y - r, x + r, y + r], fill=(*colour, int(rng.uniform(60, 170))))


def _glow(image: Image.Image, x: float, y: float, radius: float, gain: float) -> Image.Image:
    gy, gx = np.mgrid[:_WORK, :_WORK]
    light = np.exp(-(((gx - x) ** 2 + (gy - y) ** 2) / radius**2))[..., None]
    pixels = np.asarray(image, np.float32)
    return Image.fromarray(np.clip(pixels * (1 + gain * light), 0, 255).astype(np.uint8))


def _studio_warm(rng: np.random.Generator) -> Image.Image:
    return _glow(_gradient((214, 198, 178), (186, 164, 142)), 180, 170, 230, 0.22)


def _city_night(rng: np.random.Generator) -> Image.Image:
    image = _gradient((18, 24, 52), (46, 40, 78))
    _spots(image, rng, 34, [(250, 190, 110), (120, 160, 240), (240, 120, 130)], (10, 32), 60, 430)
    return image.filter(ImageFilter.GaussianBlur(5))


def _screen_blue(rng: np.random.Generator) -> Image.Image:
    image = _gradient((36, 84, 150), (20, 48, 100))
    draw = ImageDraw.Draw(image, "RGBA")
    for k in range(6):
        x = k * 110
        draw.polygon([(x - 60, 0), (x + 4, 0), (x - 130, _WORK), (x - 230, _WORK)],
                     fill=(120, 190, 255, 34))  # fmt: skip
    return _glow(image.filter(ImageFilter.GaussianBlur(6)), 340, 150, 220, 0.4)


def _garden(rng: np.random.Generator) -> Image.Image:
    image = _gradient((176, 212, 190), (86, 136, 78))
    _spots(
        image, rng, 60, [(120, 170, 90), (90, 150, 80), (180, 210, 120), (230, 235, 190)], (22, 60)
    )
    return image.filter(ImageFilter.GaussianBlur(9))


def _gallery(rng: np.random.Generator) -> Image.Image:
    image = _gradient((226, 190, 192), (206, 164, 170))
    draw = ImageDraw.Draw(image)
    draw.rectangle([22, 70, 130, 240], fill=(250, 244, 236))
    draw.rectangle([36, 86, 116, 224], fill=(96, 140, 160))
    draw.rectangle([396, 40, 500, 180], fill=(250, 244, 236))
    draw.rectangle([410, 54, 486, 166], fill=(226, 160, 70))
    return _glow(image.filter(ImageFilter.GaussianBlur(5)), 256, 60, 260, 0.12)


def _sky(rng: np.random.Generator) -> Image.Image:
    image = _gradient((110, 172, 226), (206, 228, 242))
    draw = ImageDraw.Draw(image, "RGBA")
    for x, y in ((70, 120), (430, 210), (60, 330)):
        for _ in range(9):
            dx, dy, r = rng.uniform(-60, 60), rng.uniform(-16, 16), rng.uniform(20, 42)
            draw.ellipse(
                [x + dx - r, y + dy - r * 0.6, x + dx + r, y + dy + r * 0.6],
                fill=(255, 255, 255, 120),
            )
    return image.filter(ImageFilter.GaussianBlur(9))


def _library(rng: np.random.Generator) -> Image.Image:
    image = _gradient((82, 56, 38), (58, 38, 28))
    draw = ImageDraw.Draw(image)
    palette = [
        (142, 60, 46),
        (52, 84, 92),
        (164, 128, 70),
        (70, 88, 58),
        (110, 78, 96),
        (186, 170, 140),
    ]
    for shelf in range(4):
        x, floor = 0.0, 110 + shelf * 130
        while x < _WORK:
            width, height = rng.uniform(16, 34), rng.uniform(76, 104)
            colour = palette[int(rng.integers(len(palette)))]
            draw.rectangle([x, floor - height, x + width - 3, floor], fill=colour)
            x += width
        draw.rectangle([0, floor, _WORK, floor + 14], fill=(96, 66, 44))
    return _glow(image.filter(ImageFilter.GaussianBlur(6)), 120, 120, 240, 0.25)


def _winter(rng: np.random.Generator) -> Image.Image:
    image = _gradient((196, 210, 224), (238, 242, 246))
    _spots(image, rng, 40, [(255, 255, 255), (226, 234, 244)], (6, 26))
    return image.filter(ImageFilter.GaussianBlur(4))


def _sunset(rng: np.random.Generator) -> Image.Image:
    image = _gradient((246, 176, 110), (206, 98, 92))
    draw = ImageDraw.Draw(image, "RGBA")
    draw.ellipse([60, 110, 190, 240], fill=(255, 236, 190, 220))
    draw.rectangle([0, 380, _WORK, _WORK], fill=(120, 66, 92, 150))
    return image.filter(ImageFilter.GaussianBlur(9))


def _office(rng: np.random.Generator) -> Image.Image:
    image = _gradient((198, 204, 208), (164, 170, 176))
    draw = ImageDraw.Draw(image)
    draw.rectangle([20, 50, 190, 300], fill=(232, 240, 246))
    draw.rectangle([100, 50, 108, 300], fill=(176, 182, 188))
    draw.rectangle([20, 170, 190, 178], fill=(176, 182, 188))
    draw.rectangle([400, 230, 500, 512], fill=(126, 134, 140))
    _spots(image, rng, 22, [(86, 140, 90), (110, 160, 104)], (12, 30), 130, 260)
    draw.rectangle([190, 0, 396, 400], fill=(190, 196, 201))
    return image.filter(ImageFilter.GaussianBlur(7))


def _workshop(rng: np.random.Generator) -> Image.Image:
    image = _gradient((222, 198, 162), (192, 164, 126))
    draw = ImageDraw.Draw(image)
    for k in range(8):
        draw.line([(0, 64 * k), (_WORK, 64 * k)], fill=(176, 146, 108), width=4)
    for x, colour in (
        (40, (170, 72, 54)),
        (88, (66, 98, 120)),
        (424, (92, 110, 76)),
        (470, (176, 130, 60)),
    ):
        draw.rounded_rectangle([x, 90, x + 26, 230], 10, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(6))


def _stage(rng: np.random.Generator) -> Image.Image:
    image = _gradient((74, 46, 108), (42, 28, 70))
    draw = ImageDraw.Draw(image, "RGBA")
    for x, colour in ((60, (255, 120, 200)), (250, (130, 150, 255)), (450, (110, 220, 230))):
        draw.polygon(
            [(x - 8, 0), (x + 8, 0), (x + 110, _WORK), (x - 110, _WORK)], fill=(*colour, 46)
        )
    return image.filter(ImageFilter.GaussianBlur(9))


def _kitchen(rng: np.random.Generator) -> Image.Image:
    image = _gradient((206, 232, 216), (176, 210, 192))
    draw = ImageDraw.Draw(image)
    for k in range(6):
        draw.line([(0, 60 + 52 * k), (_WORK, 60 + 52 * k)], fill=(190, 220, 204), width=4)
        draw.line([(90 * k, 0), (90 * k, 330)], fill=(190, 220, 204), width=4)
    draw.rectangle([0, 330, _WORK, _WORK], fill=(236, 226, 206))
    for x, colour in ((46, (226, 120, 70)), (104, (240, 196, 90)), (430, (110, 150, 110))):
        draw.rounded_rectangle([x, 236, x + 44, 330], 12, fill=colour)
    return image.filter(ImageFilter.GaussianBlur(6))


def _curtain(rng: np.random.Generator) -> Image.Image:
    folds = np.linspace(0, 1, _WORK)[None, :, None]
    shade = 0.72 + 0.28 * np.sin(2 * np.pi * 7 * folds + 1.4 * np.sin(9 * folds))
    pixels = np.array([122, 26, 46]) * shade * np.linspace(1.1, 0.7, _WORK)[:, None, None]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return _glow(image.filter(ImageFilter.GaussianBlur(6)), 150, 120, 240, 0.35)


def _loft(rng: np.random.Generator) -> Image.Image:
    image = _gradient((176, 100, 78), (140, 78, 62))
    draw = ImageDraw.Draw(image)
    for row in range(16):
        for k in range(9):
            x, y = 60 * k - 30 * (row % 2), 32 * row
            tone = int(rng.uniform(-16, 16))
            draw.rectangle([x + 2, y + 2, x + 57, y + 29], fill=(168 + tone, 92 + tone, 70 + tone))
    return _glow(image.filter(ImageFilter.GaussianBlur(5)), 390, 130, 220, 0.35)


def _harbour(rng: np.random.Generator) -> Image.Image:
    image = _gradient((150, 206, 222), (60, 130, 156))
    draw = ImageDraw.Draw(image)
    for x, height, colour in (
        (30, 130, (236, 236, 232)), (120, 90, (226, 150, 110)), (400, 150, (240, 220, 170)),
    ):  # fmt: skip
        draw.rectangle([x, 300 - height, x + 80, 300], fill=colour)
    for k in range(7):
        draw.line([(0, 330 + 26 * k), (_WORK, 322 + 26 * k)], fill=(96, 166, 186), width=5)
    return image.filter(ImageFilter.GaussianBlur(7))


_RECIPES: dict[str, Callable[[np.random.Generator], Image.Image]] = {
    "studio-warm": _studio_warm, "city-night": _city_night, "screen-blue": _screen_blue,
    "garden": _garden, "gallery": _gallery, "sky": _sky, "library": _library, "winter": _winter,
    "sunset": _sunset, "office": _office, "workshop": _workshop, "stage": _stage,
    "kitchen": _kitchen, "curtain": _curtain, "loft": _loft, "harbour": _harbour,
}  # fmt: skip


BACKGROUNDS = tuple(_RECIPES)
PHOTOGRAPHED = "photographed-"
"""Before a number: what is behind people in photographs, blurred or not, each number another."""


def _photographed(rng: np.random.Generator) -> Image.Image:
    """Patches of all sizes in a few colours, a wall, a window, a row of things, out of focus."""
    base = np.clip(rng.uniform(30, 225) + rng.normal(0, 22, 3), 10, 240)
    other = np.clip(base + rng.normal(0, 40) + rng.normal(0, 25, 3), 5, 250)
    image = np.tile(base, (_WORK, _WORK, 1))
    for cells in (2, 4, 9, 20, 60):
        small = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
        soft = np.asarray(small.resize((_WORK, _WORK), Image.Resampling.BICUBIC), np.float32) / 255
        share = (soft[..., None] - 0.5) * rng.uniform(0.2, 1.6) * (2 / cells) ** 0.4
        image = image + share * (other - base) + 14 * share
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture, "RGBA")
    for _ in range(int(rng.integers(0, 12))):
        colour = tuple(
            int(c) for c in np.clip(base + rng.normal(0, 55) + rng.normal(0, 30, 3), 0, 255)
        )
        x, y, w, h = *rng.uniform(-40, _WORK, 2), *rng.uniform(15, 260, 2)
        shape = draw.ellipse if rng.random() < 0.4 else draw.rectangle
        shape([x, y, x + w, y + h], fill=(*colour, int(rng.uniform(40, 220))))
    blur = float(rng.choice([1.0, 4.0, 9.0, 16.0]))
    picture = picture.filter(ImageFilter.GaussianBlur(blur))
    x, y = rng.uniform(0, _WORK, 2)
    return _glow(picture, float(x), float(y), 260, float(rng.uniform(-0.3, 0.4)))


def paint_background(name: str, size: int, seed: int) -> Floats:
    """Colours 0..1 [size,size,3] of a named background.

    Raises ValueError for a name without a recipe.
    """
    if name.startswith(PHOTOGRAPHED):
        recipe, seed = _photographed, int(name.removeprefix(PHOTOGRAPHED))
    elif name in _RECIPES:
        recipe = _RECIPES[name]
    else:
        raise ValueError(f"unknown background {name!r}; expected one of {sorted(_RECIPES)}")
    image = recipe(np.random.default_rng(seed)).resize((size, size), Image.Resampling.LANCZOS)
    return np.ascontiguousarray(np.asarray(image, np.float32) / 255)
