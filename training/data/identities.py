"""The people who ship, two looks each: shape, hair, colours, clothes, backgrounds, words."""

from dataclasses import dataclass, field

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Hair:
    """Shape of one hairstyle; lengths in decimetres, heights are y of the head mesh."""

    colour: Colour
    thickness: float
    end_y: float
    """Where the hair ends at the sides and back; above the ears means cropped."""
    front_y: float = 8.04
    temple_deg: float = 64.0
    """Azimuth where the front hairline gives way to the sides (0 is straight ahead)."""
    sideburn_y: float = 7.25
    curl: float = 0.0
    wave: float = 0.0
    shine: float = 0.5
    parting: float = 0.0


@dataclass(frozen=True)
class Outfit:
    """What makes a look of a person: clothes, background and light."""

    name: str
    title: str
    cloth: Colour
    cloth2: Colour
    cloth_kind: int
    """0 plain pool neck, 1 high collar, 2 jacket over a shirt, 3 striped."""
    background: str
    light_deg: float
    words: dict[str, str]


@dataclass(frozen=True)
class Photograph:
    """A picture of a person that is no neutral one: it shows a face as people bring them."""

    worn: dict[str, float]
    """Face units of the picture alone, such as lips apart over teeth."""
    tilt: tuple[float, float, float]
    """Yaw, pitch and roll of the head in it, radians; motion starts from there."""
    light_height: float
    key: Colour
    fill: float
    """How light the side is that the key does not reach, 1 as in a studio."""
    glare: float
    glare_at: float
    grain: float
    """Spread of the noise, of 255 levels."""
    quality: int
    """Of its JPEG."""


@dataclass(frozen=True)
class Identity:
    """One person: macro shape mix, small shape changes and colours."""

    name: str
    macro: dict[str, float]
    details: dict[str, float]
    skin: Colour
    lip: Colour
    iris: Colour
    hair: Hair
    brow: float
    words: dict[str, str]
    outfits: tuple[Outfit, ...]
    blush: float = 0.6
    age_lines: float = 0.0
    liner: float = 0.0
    glasses: bool = False
    beard: bool = False
    exposure: float = 1.0
    rest: dict[str, float] = field(default_factory=dict)
    """Face units that make this identity's neutral mouth close; always added."""
    texture: float = 0.0
    """How much the skin varies as photographed skin does: pores, spots and moles."""
    photograph: "Photograph | None" = None
    """How the reference picture was taken, of somebody who brings one."""


def _macro(kind: str, gender: str, old: float = 0.0) -> dict[str, float]:
    body = f"universal-{gender}"
    return {
        f"{kind}-{gender}-young": 1 - old,
        f"{kind}-{gender}-old": old,
        f"{body}-young-averagemuscle-averageweight": 1 - old,
        f"{body}-old-averagemuscle-averageweight": old,
    }


def _words(gender: str, age: str, skin: str, hair: str, length: str, **more: str) -> dict[str, str]:
    base = {"gender": gender, "age": age, "skin": skin, "hair_colour": hair, "hair_length": length}
    return base | {"glasses": "no", "beard": "no"} | more


FREYA = Identity(
    "freya",
    _macro("caucasian", "female"),
    {"head/head-oval": 0.5, "nose/nose-scale-horiz-decr": 0.3,
     "mouth/mouth-lowerlip-volume-incr": 0.4},
    (0.93, 0.76, 0.67), (0.80, 0.40, 0.40), (0.30, 0.48, 0.64),
    Hair((0.78, 0.61, 0.39), 0.17, 5.45, front_y=8.12, wave=0.035, shine=0.45, parting=0.22,
         temple_deg=58),
    0.55,
    _words("woman", "young", "light", "blonde", "long"),
    (
        Outfit("freya-studio", "Freya in the studio", (0.13, 0.42, 0.45), (0.9, 0.9, 0.88), 0,
             "studio-warm", 32, {"clothes": "teal", "background": "cream"}),
        Outfit("freya-evening", "Freya in the evening", (0.62, 0.13, 0.20), (0.2, 0.1, 0.12), 1,
             "city-night", -30, {"clothes": "red", "background": "navy"}),
    ),
    liner=0.5, rest={"jawOpen": -0.02},
)  # fmt: skip
KOFI = Identity(
    "kofi",
    _macro("african", "male"),
    {"head/head-rectangular": 0.35, "chin/chin-width-incr": 0.2,
     "mouth/mouth-lowerlip-volume-incr": 0.2},
    (0.40, 0.262, 0.19), (0.53, 0.25, 0.24), (0.20, 0.11, 0.06),
    Hair((0.07, 0.055, 0.05), 0.07, 7.62, front_y=7.98, sideburn_y=7.2, curl=1.0, shine=0.12),
    0.95,
    _words("man", "young", "very dark", "black", "short"),
    (
        Outfit("kofi-news", "Kofi at the news desk", (0.15, 0.19, 0.30), (0.93, 0.93, 0.95), 2,
             "screen-blue", 28, {"clothes": "navy", "background": "blue"}),
        Outfit("kofi-garden", "Kofi in the garden", (0.90, 0.60, 0.13), (0.9, 0.85, 0.7), 0,
             "garden", -34, {"clothes": "yellow", "background": "green"}),
    ),
    blush=0.25, exposure=1.36, rest={"jawOpen": -0.02},
)  # fmt: skip
MEI = Identity(
    "mei",
    _macro("asian", "female"),
    {"head/head-round": 0.4, "nose/nose-scale-vert-decr": 0.2, "mouth/mouth-scale-horiz-incr": 0.2},
    (0.91, 0.74, 0.60), (0.79, 0.36, 0.36), (0.20, 0.12, 0.07),
    Hair((0.085, 0.07, 0.075), 0.16, 6.35, front_y=7.66, temple_deg=60, shine=0.65),
    0.7,
    _words("woman", "young", "fair", "black", "bob"),
    (
        Outfit("mei-gallery", "Mei in the gallery", (0.86, 0.85, 0.83), (0.85, 0.3, 0.3), 1,
             "gallery", 35, {"clothes": "white", "background": "pink"}),
        Outfit("mei-stripes", "Mei in stripes", (0.16, 0.24, 0.50), (0.92, 0.91, 0.88), 3,
             "sky", -28, {"clothes": "striped", "background": "sky blue"}),
    ),
    liner=0.9, rest={"jawOpen": -0.05, "mouthUpperUpLeft": -0.12, "mouthUpperUpRight": -0.12},
)  # fmt: skip
OSCAR = Identity(
    "oscar",
    _macro("caucasian", "male", old=0.75),
    {"head/head-square": 0.3, "nose/nose-hump-incr": 0.3, "head/head-age-incr": 0.4,
     "mouth/mouth-upperlip-volume-incr": 0.3},
    (0.90, 0.70, 0.61), (0.72, 0.43, 0.41), (0.36, 0.44, 0.46),
    Hair((0.66, 0.66, 0.67), 0.13, 7.5, front_y=8.12, sideburn_y=7.15, wave=0.02, shine=0.3,
         parting=0.3),
    0.85,
    _words("man", "old", "light", "grey", "short", glasses="yes"),
    (
        Outfit("oscar-library", "Oscar in the library", (0.40, 0.27, 0.17), (0.84, 0.88, 0.92), 2,
             "library", 30, {"clothes": "brown", "background": "brown"}),
        Outfit("oscar-winter", "Oscar in winter", (0.20, 0.40, 0.28), (0.2, 0.3, 0.25), 1,
             "winter", -32, {"clothes": "green", "background": "white"}),
    ),
    age_lines=0.8, glasses=True, blush=0.45,
    rest={"jawOpen": -0.05, "mouthUpperUpLeft": -0.1, "mouthUpperUpRight": -0.1},
)  # fmt: skip
AMARA = Identity(
    "amara",
    _macro("african", "female"),
    {"head/head-oval": 0.4, "chin/chin-width-decr": 0.3, "nose/nose-scale-horiz-decr": 0.25},
    (0.64, 0.42, 0.30), (0.66, 0.27, 0.29), (0.24, 0.13, 0.07),
    Hair((0.19, 0.105, 0.07), 0.27, 6.6, front_y=8.0, temple_deg=66, curl=1.0, shine=0.2),
    0.75,
    _words("woman", "young", "dark", "brown", "curly"),
    (
        Outfit("amara-sunset", "Amara at sunset", (0.90, 0.87, 0.80), (0.4, 0.2, 0.3), 0,
             "sunset", 30, {"clothes": "cream", "background": "orange"}),
        Outfit("amara-office", "Amara in the office", (0.42, 0.20, 0.48), (0.95, 0.93, 0.9), 2,
             "office", -30, {"clothes": "purple", "background": "grey"}),
    ),
    liner=0.8, blush=0.5, exposure=1.18, rest={"jawOpen": -0.03},
)  # fmt: skip
RAVI = Identity(
    "ravi",
    {k: v * 0.6 for k, v in _macro("caucasian", "male").items()}
    | {"asian-male-young": 0.2, "african-male-young": 0.2,
       "universal-male-young-averagemuscle-averageweight": 1.0},
    {"head/head-rectangular": 0.3, "nose/nose-scale-vert-incr": 0.25},
    (0.74, 0.53, 0.39), (0.68, 0.37, 0.33), (0.22, 0.13, 0.07),
    Hair((0.10, 0.075, 0.065), 0.20, 7.5, front_y=8.05, sideburn_y=6.95, wave=0.03, curl=0.25,
         shine=0.45, parting=-0.25),
    1.0,
    _words("man", "young", "tan", "dark brown", "short", beard="yes"),
    (
        Outfit("ravi-workshop", "Ravi in the workshop", (0.30, 0.36, 0.42), (0.8, 0.8, 0.8), 0,
             "workshop", 33, {"clothes": "grey", "background": "sand"}),
        Outfit("ravi-stage", "Ravi on stage", (0.72, 0.26, 0.14), (0.95, 0.94, 0.9), 2,
             "stage", -28, {"clothes": "rust", "background": "violet"}),
    ),
    beard=True, blush=0.35, exposure=1.08,
    rest={"jawOpen": -0.05, "mouthUpperUpLeft": -0.1, "mouthUpperUpRight": -0.1},
)  # fmt: skip

GRACE = Identity(
    "grace",
    _macro("african", "female", old=0.7),
    {"head/head-round": 0.35, "head/head-age-incr": 0.3, "mouth/mouth-lowerlip-volume-incr": 0.2},
    (0.50, 0.335, 0.25), (0.58, 0.29, 0.28), (0.22, 0.13, 0.08),
    Hair((0.50, 0.49, 0.49), 0.13, 7.2, front_y=8.02, sideburn_y=7.2, curl=1.0, shine=0.15),
    0.7,
    _words("woman", "old", "dark brown", "silver", "cropped", glasses="yes"),
    (
        Outfit("grace-kitchen", "Grace in the kitchen", (0.20, 0.52, 0.58), (0.9, 0.9, 0.85), 0,
             "kitchen", 30, {"clothes": "turquoise", "background": "mint"}),
        Outfit("grace-theatre", "Grace at the theatre", (0.86, 0.70, 0.36), (0.3, 0.1, 0.15), 1,
             "curtain", -30, {"clothes": "gold", "background": "burgundy"}),
    ),
    liner=0.5, blush=0.35, age_lines=0.6, glasses=True, exposure=1.26,
    rest={"jawOpen": -0.03},
)  # fmt: skip
JUN = Identity(
    "jun",
    _macro("asian", "male"),
    {"head/head-oval": 0.3, "nose/nose-scale-vert-incr": 0.1, "chin/chin-width-incr": 0.15},
    (0.87, 0.68, 0.54), (0.72, 0.40, 0.37), (0.19, 0.11, 0.07),
    Hair((0.13, 0.095, 0.08), 0.17, 7.45, front_y=8.0, sideburn_y=7.1, wave=0.025, shine=0.6,
         parting=-0.3),
    0.85,
    _words("man", "young", "golden", "jet black", "short"),
    (
        Outfit("jun-loft", "Jun in the loft", (0.92, 0.46, 0.30), (0.9, 0.9, 0.9), 0,
             "loft", 32, {"clothes": "coral", "background": "brick"}),
        Outfit("jun-harbour", "Jun at the harbour", (0.10, 0.13, 0.16), (0.75, 0.80, 0.86), 2,
             "harbour", -30, {"clothes": "black", "background": "cyan"}),
    ),
    blush=0.4, rest={"jawOpen": -0.05, "mouthUpperUpLeft": -0.1, "mouthUpperUpRight": -0.1},
)  # fmt: skip

IDENTITIES: tuple[Identity, ...] = (FREYA, KOFI, MEI, OSCAR, AMARA, RAVI, GRACE, JUN)
