"""The painted meadow: wider than a picture, since the camera that looks at it pans."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.data.assets import Floats

_LARGE = 1024
_HORIZON = 0.50
_TREE = (0.5, 0.51)
_PETALS = ((250, 244, 238), (248, 206, 70), (232, 92, 120), (176, 130, 224))
Rgba = tuple[int, ...]


def draw_meadow(size: int) -> Floats:
    """Colours 0..1 [size,size,3]: sky, hills, one tree in the middle, grass with flowers.

    Towards its borders everything is soft: what a pan uncovers there can be guessed.
    """
    rng = np.random.default_rng(8)
    image = _sky(rng)
    _hills(image)
    image = image.filter(ImageFilter.GaussianBlur(5))
    _grass(image, rng)
    sharp = image.copy()
    _flowers(sharp, rng)
    _tree(sharp, rng)
    soft = image.filter(ImageFilter.GaussianBlur(14))
    picture = Image.composite(sharp, soft, _middle())
    small = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


def _middle() -> Image.Image:
    """White where details are seen, black along the borders of what the resting camera shows."""
    line = (np.arange(_LARGE) + 0.5) / _LARGE
    inner = np.clip((np.minimum(line, 1 - line) - 0.15) / 0.07, 0, 1)
    weight = np.minimum(inner[None], inner[:, None])
    return Image.fromarray((255 * weight * weight * (3 - 2 * weight)).astype(np.uint8))


def _sky(rng: np.random.Generator) -> Image.Image:
    t = np.clip(np.linspace(0, 1, _LARGE) / _HORIZON, 0, 1)[:, None, None]
    top, low = np.array([104, 170, 232]), np.array([214, 234, 246])
    rows = top * (1 - t) + low * t
    image = Image.fromarray(np.repeat(rows, _LARGE, 1).astype(np.uint8))
    draw = ImageDraw.Draw(image, "RGBA")
    for x, y, wide in ((0.40, 0.20, 90), (0.66, 0.30, 76), (0.30, 0.36, 64)):
        for _ in range(14):
            dx, dy = rng.uniform(-wide, wide), rng.uniform(-14, 10)
            r = rng.uniform(16, 36) * (1 - 0.6 * abs(dx) / wide)
            _disc(draw, x * _LARGE + dx, y * _LARGE + dy, r * 1.3, r, (255, 255, 255, 150))
    return image


def _hills(image: Image.Image) -> None:
    draw = ImageDraw.Draw(image)
    x = np.arange(_LARGE)
    for base, tall, waves, colour in (
        (_HORIZON - 0.015, 0.045, 2.1, (134, 172, 178)),
        (_HORIZON + 0.02, 0.035, 3.0, (112, 168, 118)),
        (_HORIZON + 0.06, 0.02, 1.4, (122, 184, 92)),
    ):
        top = _LARGE * (base - tall * np.sin(x / _LARGE * waves * 2 * np.pi + 9 * base))
        outline = [*zip(x.tolist(), top.tolist(), strict=True), (_LARGE, _LARGE), (0, _LARGE)]
        draw.polygon(outline, fill=colour)


def _grass(image: Image.Image, rng: np.random.Generator) -> None:
    """Blades that grow larger and deeper green towards the viewer."""
    draw = ImageDraw.Draw(image, "RGBA")
    first = _HORIZON + 0.08
    for share in np.sort(rng.uniform(0, 1, 5200)):
        x, y = rng.uniform(0, _LARGE), _LARGE * (first + (1 - first) * share)
        tall, lean = 5 + 20 * share, rng.uniform(-6, 6)
        green = 150 - 44 * share + rng.uniform(-24, 24)
        colour = (int(0.56 * green), int(green + 34), int(0.36 * green), 120)
        draw.line([(x, y), (x + lean, y - tall)], fill=colour, width=3)


def _flowers(image: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    for share in np.sort(rng.uniform(0, 1, 84)):
        x = rng.uniform(0.2, 0.8) * _LARGE
        y = _LARGE * (_HORIZON + 0.10 + 0.20 * share)
        r = 4 + 4.5 * share
        colour = _PETALS[int(rng.integers(len(_PETALS)))]
        for angle in np.arange(5) * 2 * np.pi / 5:
            _disc(
                draw, x + r * np.cos(angle), y + 0.8 * r * np.sin(angle), 0.8 * r, 0.7 * r, colour
            )
        _disc(draw, x, y, 0.6 * r, 0.5 * r, (244, 178, 40))


def _tree(image: Image.Image, rng: np.random.Generator) -> None:
    """The one thing of the background that a finger would take hold of."""
    draw = ImageDraw.Draw(image)
    x, y = _TREE[0] * _LARGE, _TREE[1] * _LARGE
    _disc(draw, x, y + 96, 62, 12, (84, 138, 66))
    draw.polygon([(x - 14, y + 98), (x - 8, y + 10), (x + 8, y + 10), (x + 14, y + 98)],
                 fill=(112, 78, 50))  # fmt: skip
    for dx, dy, r in ((-38, 12, 34), (38, 10, 36), (0, 22, 38), (-20, -24, 38), (24, -26, 36)):
        _disc(draw, x + dx, y + dy, r, r, (52, 116, 58))
    for dx, dy, r in ((-34, 2, 24), (30, -2, 26), (-10, -32, 26), (4, 8, 26)):
        _disc(draw, x + dx, y + dy, r, r, (82, 150, 72))
    for _ in range(11):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(8, 50)
        _disc(draw, x + far * np.cos(angle), y - 6 + 0.8 * far * np.sin(angle), 7, 7, (220, 52, 50))


def _disc(
    draw: ImageDraw.ImageDraw, x: float, y: float, rx: float, ry: float, colour: Rgba
) -> None:
    draw.ellipse([x - rx, y - ry, x + rx, y + ry], fill=colour)
