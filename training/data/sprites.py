"""The things that move in the scenes, drawn large with Pillow, and the scenes' backgrounds."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from training.data.assets import Floats

SPRITE = 256
"""Sprites are drawn this large; the object's radius is SPRITE_RADIUS of it."""
SPRITE_RADIUS = 88
_MID = SPRITE // 2
_OVER = 2
Rgb = tuple[int, ...]


class _Canvas:
    """Draws in units of the object's radius, y down, at double size."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (SPRITE * _OVER, SPRITE * _OVER), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (_MID + x * SPRITE_RADIUS) * _OVER, (_MID + y * SPRITE_RADIUS) * _OVER

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Rgb) -> None:
        self.draw.ellipse([*self.at(x - rx, y - ry), *self.at(x + rx, y + ry)], fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: Rgb) -> None:
        self.draw.polygon([self.at(*p) for p in points], fill=colour)

    def box(self, x0: float, y0: float, x1: float, y1: float, round_by: float, colour: Rgb) -> None:
        radius = round_by * SPRITE_RADIUS * _OVER
        self.draw.rounded_rectangle([*self.at(x0, y0), *self.at(x1, y1)], radius, fill=colour)

    def line(self, points: list[tuple[float, float]], width: float, colour: Rgb) -> None:
        pixels = int(width * SPRITE_RADIUS * _OVER)
        self.draw.line([self.at(*p) for p in points], fill=colour, width=pixels, joint="curve")

    def eye(self, x: float, y: float, size: float) -> None:
        self.ellipse(x, y, size, size, (250, 250, 248))
        self.ellipse(x + size * 0.25, y, size * 0.55, size * 0.55, (24, 24, 30))
        self.ellipse(x + size * 0.4, y - size * 0.25, size * 0.18, size * 0.18, (255, 255, 255))

    def finish(self) -> Floats:
        """Rounded shading from the outline, then premultiplied colours 0..1 [S,S,4]."""
        image = self.image.resize((SPRITE, SPRITE), Image.Resampling.LANCZOS)
        pixels = np.asarray(image, np.float32) / 255
        alpha = pixels[..., 3]
        outline = image.getchannel("A")
        blurred = [outline.filter(ImageFilter.GaussianBlur(r)) for r in (7, 22)]
        soft = [np.asarray(b, np.float32) / 255 for b in blurred]
        height = soft[0] * 0.5 + soft[1]
        dy, dx = np.gradient(height)
        lit = np.clip(1 + 16 * (np.array(dx) * 0.6 + np.array(dy) * 0.9), 0.55, 1.45)[..., None]
        colour = np.clip(pixels[..., :3] * lit + np.clip(lit - 1.15, 0, 1) * 0.35, 0, 1)
        return np.concatenate([colour * alpha[..., None], alpha[..., None]], -1).astype(np.float32)


def _ball(c: _Canvas) -> None:
    c.ellipse(0, 0, 1, 1, (224, 58, 52))
    c.draw.chord([*c.at(-1, -1), *c.at(1, 1)], 200, 340, fill=(238, 92, 80))
    c.line(
        [(-0.98, 0.12), (-0.5, 0.27), (0, 0.32), (0.5, 0.27), (0.98, 0.12)], 0.2, (250, 246, 240)
    )
    c.ellipse(-0.38, -0.45, 0.17, 0.12, (255, 206, 198))


def _cube(c: _Canvas) -> None:
    c.box(-0.88, -0.88, 0.88, 0.88, 0.22, (56, 118, 214))
    c.box(-0.64, -0.64, 0.64, 0.64, 0.12, (96, 158, 240))
    c.polygon([(-0.1, -0.42), (0.14, -0.42), (0.42, 0.44), (0.2, 0.44), (0.02, -0.16),
               (-0.18, 0.44), (-0.42, 0.44)], (250, 248, 240))  # fmt: skip
    c.line([(-0.24, 0.2), (0.26, 0.2)], 0.13, (250, 248, 240))


def _duck(c: _Canvas) -> None:
    c.polygon([(-0.7, 0.1), (-1.2, -0.28), (-0.95, 0.42)], (250, 200, 40))
    c.ellipse(-0.12, 0.28, 0.92, 0.62, (252, 208, 48))
    c.ellipse(0.46, -0.42, 0.5, 0.48, (253, 214, 60))
    c.polygon([(0.86, -0.46), (1.28, -0.32), (0.86, -0.16)], (240, 120, 30))
    c.ellipse(-0.26, 0.2, 0.48, 0.3, (238, 184, 30))
    c.eye(0.58, -0.54, 0.13)


def _star(c: _Canvas) -> None:
    angles = np.arange(10) * np.pi / 5 - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.08, 0.52)
    points = [
        (float(r * np.cos(a)), float(r * np.sin(a))) for a, r in zip(angles, radii, strict=True)
    ]
    c.polygon(points, (54, 178, 104))
    c.line([*points, points[0], points[1]], 0.18, (54, 178, 104))
    for x in (-0.2, 0.2):
        c.ellipse(x, -0.08, 0.08, 0.12, (18, 60, 36))
    c.line([(-0.2, 0.22), (0, 0.32), (0.2, 0.22)], 0.07, (18, 60, 36))


def _fish(c: _Canvas) -> None:
    c.polygon([(-0.7, 0), (-1.3, -0.58), (-1.12, 0), (-1.3, 0.58)], (236, 108, 30))
    c.polygon([(-0.3, -0.5), (0.15, -0.98), (0.4, -0.5)], (236, 108, 30))
    c.ellipse(0.08, 0, 0.98, 0.64, (248, 136, 44))
    for x in (-0.32, 0.24):
        c.line([(x, -0.52), (x + 0.1, 0), (x, 0.52)], 0.17, (252, 246, 236))
    c.ellipse(0.02, 0.16, 0.2, 0.13, (232, 104, 28))
    c.eye(0.66, -0.14, 0.17)


def _crab(c: _Canvas) -> None:
    for side in (-1, 1):
        for k in range(3):
            knee = (side * (0.98 + 0.05 * k), 0.16 + 0.2 * k)
            c.line(
                [(side * 0.5, 0.2 + 0.1 * k), knee, (side * 1.04, 0.5 + 0.17 * k)],
                0.12,
                (178, 40, 62),
            )
        c.line([(side * 0.55, 0.0), (side * 0.98, -0.36)], 0.16, (196, 46, 70))
        c.ellipse(side * 1.0, -0.56, 0.3, 0.28, (214, 56, 80))
        c.polygon([(side * 1.0, -0.58), (side * 0.9, -0.96), (side * 1.16, -0.92)], (0, 0, 0, 0))
        c.line([(side * 0.26, -0.2), (side * 0.3, -0.5)], 0.1, (196, 46, 70))
    c.ellipse(0, 0.14, 0.8, 0.52, (214, 56, 80))
    for side in (-1, 1):
        c.eye(side * 0.3, -0.56, 0.16)
    c.line([(-0.22, 0.3), (0, 0.4), (0.22, 0.3)], 0.08, (110, 18, 36))


def _beach_ball(c: _Canvas) -> None:
    colours = [
        (248, 246, 240),
        (150, 84, 206),
        (248, 246, 240),
        (72, 190, 130),
        (248, 246, 240),
        (236, 90, 150),
    ]
    for k, colour in enumerate(colours):
        c.draw.pieslice([*c.at(-1, -1), *c.at(1, 1)], 60 * k, 60 * k + 60, fill=colour)
    c.ellipse(0, 0, 0.2, 0.2, (150, 84, 206))


def _boat(c: _Canvas) -> None:
    c.line([(0, 0.3), (0, -1.1)], 0.1, (112, 76, 48))
    c.polygon([(0.08, -1.05), (0.92, 0.12), (0.08, 0.12)], (252, 250, 244))
    c.polygon([(-0.08, -0.8), (-0.66, 0.12), (-0.08, 0.12)], (250, 216, 70))
    c.polygon([(-1.1, 0.26), (1.16, 0.26), (0.76, 0.82), (-0.76, 0.82)], (40, 96, 150))
    c.polygon([(-1.1, 0.26), (1.16, 0.26), (1.06, 0.42), (-1.0, 0.42)], (240, 240, 236))


def _rocket(c: _Canvas) -> None:
    c.polygon([(-0.3, 0.7), (0, 1.3), (0.3, 0.7)], (250, 160, 40))
    for side in (-1, 1):
        c.polygon([(side * 0.3, 0.1), (side * 0.86, 0.86), (side * 0.28, 0.72)], (206, 50, 60))
    c.ellipse(0, -0.1, 0.44, 1.0, (240, 240, 244))
    c.polygon([(-0.33, -0.72), (0, -1.3), (0.33, -0.72)], (206, 50, 60))
    c.ellipse(0, -0.26, 0.24, 0.24, (50, 64, 92))
    c.ellipse(0, -0.26, 0.17, 0.17, (130, 210, 240))


def _planet(c: _Canvas) -> None:
    c.ellipse(0, 0, 0.86, 0.86, (206, 84, 160))
    c.draw.chord([*c.at(-0.86, -0.86), *c.at(0.86, 0.86)], 160, 260, fill=(230, 130, 190))
    c.line([(-0.78, 0.3), (0.0, 0.42), (0.8, 0.2)], 0.14, (166, 52, 130))
    c.line([(-1.28, 0.3), (-0.6, 0.16), (0.6, -0.12), (1.28, -0.36)], 0.13, (248, 220, 150))


def _robot(c: _Canvas) -> None:
    c.line([(0, -0.9), (0, -1.16)], 0.09, (120, 126, 136))
    c.ellipse(0, -1.18, 0.12, 0.12, (240, 80, 70))
    for side in (-1, 1):
        c.line([(side * 0.7, 0.3), (side * 1.06, 0.6)], 0.2, (120, 126, 136))
        c.box(side * 0.4 - 0.2, 0.82, side * 0.4 + 0.2, 1.12, 0.08, (88, 94, 106))
    c.box(-0.66, -0.92, 0.66, -0.02, 0.2, (186, 194, 206))
    c.box(-0.72, 0.04, 0.72, 0.88, 0.16, (160, 168, 182))
    c.box(-0.5, -0.7, 0.5, -0.26, 0.16, (40, 48, 66))
    for side in (-1, 1):
        c.ellipse(side * 0.24, -0.48, 0.13, 0.13, (90, 230, 220))
    c.ellipse(0, 0.44, 0.18, 0.18, (250, 200, 60))


def _saucer(c: _Canvas) -> None:
    c.ellipse(0, -0.28, 0.56, 0.56, (150, 220, 240))
    c.ellipse(-0.14, -0.46, 0.16, 0.2, (220, 246, 252))
    c.ellipse(0, 0.16, 1.2, 0.42, (110, 190, 70))
    c.ellipse(0, 0.06, 0.9, 0.22, (150, 222, 100))
    for x in (-0.8, -0.28, 0.28, 0.8):
        c.ellipse(x, 0.3 - 0.1 * abs(x), 0.11, 0.11, (252, 232, 120))


def _balloon(c: _Canvas) -> None:
    for side in (-1, 1):
        c.line([(side * 0.36, 0.5), (side * 0.2, 0.96)], 0.05, (92, 66, 44))
    c.polygon([(-0.78, 0.12), (0.78, 0.12), (0.3, 0.72), (-0.3, 0.72)], (214, 52, 48))
    c.ellipse(0, -0.26, 0.86, 0.86, (214, 52, 48))
    for x, width in ((-0.5, 0.14), (0.5, 0.14), (0.0, 0.2)):
        low = 0.68 - 0.2 * abs(x)
        high = -0.26 - 0.83 * float(np.sqrt(1 - (x / 0.86) ** 2))
        c.polygon([(x - width, -0.26), (x * 0.45 - width * 0.4, low),
                   (x * 0.45 + width * 0.4, low), (x + width, -0.26)], (252, 236, 190))  # fmt: skip
        c.polygon([(x - width, -0.26), (x * 0.6 - width * 0.5, high),
                   (x * 0.6 + width * 0.5, high), (x + width, -0.26)], (252, 236, 190))  # fmt: skip
    c.box(-0.34, 0.6, 0.34, 0.74, 0.05, (150, 34, 34))
    c.box(-0.25, 0.9, 0.25, 1.26, 0.07, (158, 112, 66))
    c.line([(-0.25, 1.0), (0.25, 1.0)], 0.06, (112, 76, 42))


def _kite(c: _Canvas) -> None:
    tail = [(0.0, 0.62), (-0.16, 0.84), (0.12, 1.04), (-0.08, 1.3)]
    c.line(tail, 0.06, (120, 40, 110))
    for x, y in tail[1:3]:
        c.polygon([(x, y), (x - 0.2, y - 0.1), (x - 0.2, y + 0.1)], (250, 206, 60))
        c.polygon([(x, y), (x + 0.2, y - 0.1), (x + 0.2, y + 0.1)], (250, 206, 60))
    top, left, right, low = (0.0, -1.2), (-0.84, -0.36), (0.84, -0.36), (0.0, 0.72)
    middle = (0.0, -0.36)
    c.polygon([top, left, middle], (236, 78, 150))
    c.polygon([top, middle, right], (252, 200, 52))
    c.polygon([left, low, middle], (252, 200, 52))
    c.polygon([right, middle, low], (236, 78, 150))
    c.line([left, right], 0.06, (120, 40, 110))
    c.line([top, low], 0.06, (120, 40, 110))


def _sheep(c: _Canvas) -> None:
    for x in (-0.5, -0.24, 0.22, 0.46):
        c.line([(x, 0.4), (x, 0.98)], 0.15, (58, 50, 54))
    wool = (246, 243, 234)
    for x, y, r in ((-0.72, -0.02, 0.38), (-0.5, -0.36, 0.4), (-0.08, -0.46, 0.42),
                    (0.34, -0.34, 0.4), (0.56, 0.0, 0.38), (0.34, 0.32, 0.4),
                    (-0.1, 0.4, 0.42), (-0.52, 0.32, 0.4), (-0.08, 0, 0.6)):  # fmt: skip
        c.ellipse(x, y, r, r, wool)
    for x, y in ((-0.42, -0.2), (-0.06, 0.18), (-0.52, 0.24), (0.1, -0.24)):
        c.line([(x - 0.13, y), (x, y + 0.09), (x + 0.13, y)], 0.06, (206, 200, 190))
    c.ellipse(0.5, -0.52, 0.2, 0.11, (58, 50, 54))
    c.ellipse(1.02, -0.5, 0.2, 0.11, (58, 50, 54))
    c.ellipse(0.78, -0.3, 0.32, 0.4, (70, 62, 66))
    c.ellipse(0.74, -0.66, 0.28, 0.18, wool)
    for x in (0.66, 0.9):
        c.eye(x, -0.38, 0.1)


def _butterfly(c: _Canvas) -> None:
    for side in (-1, 1):
        c.ellipse(side * 0.56, 0.44, 0.46, 0.44, (70, 44, 140))
        c.ellipse(side * 0.6, -0.4, 0.62, 0.58, (70, 44, 140))
        c.ellipse(side * 0.55, 0.42, 0.34, 0.32, (246, 150, 60))
        c.ellipse(side * 0.6, -0.4, 0.48, 0.44, (120, 92, 226))
        c.ellipse(side * 0.78, -0.48, 0.2, 0.19, (252, 222, 120))
        c.ellipse(side * 0.44, -0.2, 0.1, 0.1, (252, 222, 120))
        c.line([(side * 0.04, -0.6), (side * 0.2, -0.94), (side * 0.36, -1.04)], 0.06, (40, 30, 52))
    c.ellipse(0, 0.06, 0.14, 0.7, (48, 38, 60))
    c.ellipse(0, -0.56, 0.17, 0.17, (48, 38, 60))


_DRAWINGS: dict[str, Callable[[_Canvas], None]] = {
    "ball": _ball, "cube": _cube, "duck": _duck, "star": _star, "fish": _fish, "crab": _crab,
    "beach ball": _beach_ball, "boat": _boat, "rocket": _rocket, "planet": _planet,
    "robot": _robot, "saucer": _saucer, "balloon": _balloon, "kite": _kite, "sheep": _sheep,
    "butterfly": _butterfly,
}  # fmt: skip


def draw_sprite(name: str) -> Floats:
    """Premultiplied colours and alpha 0..1 [256,256,4]; ValueError for an unknown name."""
    if name not in _DRAWINGS:
        raise ValueError(f"unknown sprite {name!r}; expected one of {sorted(_DRAWINGS)}")
    canvas = _Canvas()
    _DRAWINGS[name](canvas)
    return canvas.finish()


def draw_background(name: str, size: int) -> Floats:
    """Colours 0..1 [size,size,3] of the scene `toys` (a table from above), `sea` or `space`."""
    large = 512
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:large, :large].astype(np.float32) / large
    paint = {"toys": _table, "sea": _water, "space": _stars}[name]
    image = paint(rng, x, y)
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    small = picture.resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(small, np.float32) / 255


def _table(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    planks = np.floor(y * 5)
    tone = np.array([0.0, 0.05, -0.035, 0.03, -0.02])[planks.astype(int) % 5]
    grain = 0.02 * np.sin((y * 150 + 3 * np.sin(x * 7 + planks * 2)) + planks * 9)
    edge = np.minimum((y * 5) % 1, 1 - (y * 5) % 1)
    seam = 0.20 * np.exp(-((edge / 0.018) ** 2))
    light = 0.12 * np.exp(-((x - 0.3) ** 2 + (y - 0.25) ** 2) / 0.25) - 0.08 * y
    base = np.array([0.80, 0.62, 0.43])
    return base * (1 + tone + grain - seam + light)[..., None]


def _water(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    top, deep = np.array([0.40, 0.78, 0.90]), np.array([0.07, 0.30, 0.55])
    image = top * (1 - y[..., None]) + deep * y[..., None]
    for k in range(5):
        beam = np.exp(-(((x - 0.12 - 0.2 * k - 0.18 * y) / (0.03 + 0.035 * y)) ** 2)) * (1 - y)
        image = image + 0.10 * beam[..., None]
    sand = 0.86 + 0.03 * np.sin(x * 9) + 0.015 * np.sin(x * 23)
    on = np.clip((y - sand) / 0.02, 0, 1)[..., None]
    ripple = 0.04 * np.sin(x * 60 + y * 190)
    image = (
        image * (1 - on)
        + on * np.array([0.86, 0.77, 0.55]) * (1 + ripple - 0.6 * (y - sand))[..., None]
    )
    for _ in range(9):
        x0, height, lean = rng.uniform(0, 1), rng.uniform(0.1, 0.3), rng.uniform(-0.06, 0.06)
        t = np.clip((0.9 - y) / height, 0, 1)
        stem = np.exp(
            -(((x - x0 - lean * t + 0.012 * np.sin(t * 9)) / (0.011 * (1.05 - t) + 0.003)) ** 2)
        )
        leaf = (stem * (y < 0.9) * (y > 0.9 - height) * 0.9)[..., None]
        image = image * (1 - leaf) + leaf * np.array([0.10, 0.46 + 0.1 * rng.random(), 0.30])
    return image


def _stars(rng: np.random.Generator, x: Floats, y: Floats) -> Floats:
    image = np.array([0.07, 0.06, 0.17]) * (1.2 - 0.5 * y[..., None])
    for colour, cx, cy, size in (
        ((0.30, 0.12, 0.42), 0.25, 0.7, 0.28),
        ((0.08, 0.26, 0.45), 0.75, 0.35, 0.30),
        ((0.40, 0.16, 0.25), 0.65, 0.85, 0.16),
    ):
        cloud = np.exp(-(((x - cx) / size) ** 2 + ((y - cy) / (0.6 * size)) ** 2))
        image = image + 0.55 * cloud[..., None] * np.array(colour)
    for _ in range(90):
        cx, cy, size = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.0016, 0.0042)
        star = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / size**2)
        image = image + rng.uniform(0.3, 0.9) * star[..., None]
    return image
