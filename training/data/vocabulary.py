"""Words to speak: a short list of our own plus invented words, split so that none is shared."""

import zlib
from functools import lru_cache

import numpy as np

_COMMON = """
about above across actor afraid after again agree airport album almost alone along already always
amber anchor angle animal answer apple april arrive artist aunt autumn awake away baby back bad
bag bake ball bamboo banana band bank barn basket bath beach bean bear beard beautiful become bed
bee before begin behind believe bell below bench berry best better big bike bird biscuit bite
black blanket blue board boat body bone book boot borrow bottle bottom bowl box boy branch brave
bread break breakfast breath bridge bright bring broken brother brown brush bubble bucket build
bus busy butter button buy cabbage cabin cake call calm camera camp candle captain car card carpet
carrot conditioning castle cat catch chair chalk change cheap cheese cherry child chip choose church
circle city class clean clear clever climb clock close cloth cloud club coat coffee coin cold
colour come cook copper corn corner cotton couch count country cousin cover cow cream cross crowd
cry cup curtain dance dark daughter day deep deer desk dinner dish doctor dog door double down
dragon draw dream dress drink drive drop drum dry duck dust each ear early earth east easy eat
edge egg eight elbow empty engine enjoy evening ever every eye face fair fall family famous far
farm fast father feather feel fence few field fifty find finger finish fire first fish five flag
flat float floor flour flower fly follow food foot forest forget fork forty forward four fox free
fresh friday friend frog front frozen fruit full funny future game garage garden gate gather
gentle giant gift ginger girl give glad glass glove goat gold good goose grandmother grape grass
great green grey ground group grow guess guitar hair half hall hammer hand happy harbour hard
harvest hat have hear heart heavy height hello help hen hero hill hold hole holiday home honey
hope horse hospital hot hotel hour house how hundred hungry hurry ice idea inside island itch
jacket jam january jar jelly jewel job join joke journey joy juice july jump june jungle just keep
kettle key kick kind king kiss kitchen kite knee knife knock know ladder lake lamb lamp land
language large last laugh lazy leaf learn leather leave left lemon letter library light like lion
list little live long look loud love lovely lucky lunch machine magic make mango many map march
market marry mat match maybe meal measure meat medal meet melon member merry message metal middle
milk million minute mirror miss mix moment monday money monkey month moon more morning mother
mountain mouse mouth move much mud museum mushroom music narrow near neck needle neighbour nephew
nest never new nice night nine noise north nose nothing november number nurse oak oatmeal object
ocean october offer office often oil old olive once onion only open orange orchard other outside
oven over owl own page paint pair palace pan paper parade parcel park parrot party pass path
patient peach pear pebble pen pencil people pepper perhaps phone photo piano picnic picture piece
pig pillow pilot pink pipe place plain plant plate play please plenty plum pocket point pond pony
poor popular potato pour present pretty prince problem promise proud pull pumpkin puppet pure
purple push puzzle quarter queen question quick quiet quite rabbit race radio rain rainbow reach
read ready real red remember repair rest rice rich ride right ring river road robin rock roof room
rope rose round row rubber ruler run sad saddle safe sail salad salt same sand saturday sauce save
say school science scissors sea season seat second secret see seed sell send september seven
shadow shake shape share sheep shelf shell ship shirt shoe shop short shoulder show shower sick
side silver simple sing sister sit six skin sky sleep slow small smile smooth snake snow soap sock
sofa soft soldier some song soon sorry sound soup south space speak spider spoon spring square
squirrel stable stair stamp star start station stay steam step stick still stone stop storm story
strange street strong student sudden sugar summer sun sunday supper sure surprise sweet swim table
tail take talk tall taste taxi tea teach team tell temple ten tent thank theatre thick thin thing
think third thirsty thirteen thousand thread three through throw thumb thunder thursday ticket
tidy tiger time tiny tired toast today together tomato tomorrow tongue tool tooth top touch towel
tower town toy track train travel treasure tree trip trouble true trumpet trust tuesday turn
turtle twelve twenty twice two umbrella uncle under until upon useful valley van vegetable very
village violet violin visit voice volcano wait wake walk wall want warm wash watch water wave way
wealthy wear weather wednesday week welcome west wet whale wheat wheel where while whisper white
whole why wide wild window wing winter wire wise wish with wolf woman wonder wood wool word work
world worm wrap write yard year yellow yesterday young zebra zero zoo
""".split()
_ONSETS = """
b br bl ch d dr f fl fr g gl gr h j k kl l m n p pl pr r s sh sk sl sm sn sp st sw t th tr tw
v w y z
""".split()
_NUCLEI = "a e i o u oo ee ay oy ow ar er or ea igh".split()
_CODAS = "b ck d f g l m mp n nd ng nk nt p r s sh st t th v x".split()
_KINDER = {
    "wanker": "wamper",
    "shitle": "shimle",
    "sexle": "seffle",
    "titing": "timing",
    "faging": "faming",
}
"""Invented words that turned out rude, and what is said instead."""
_ENDINGS = ("er", "ing", "y", "o", "a", "en", "ish", "le", "")


def _invented(count: int) -> list[str]:
    rng = np.random.default_rng(1913)
    parts = (_ONSETS, _NUCLEI, _CODAS, _ENDINGS)
    made = {"".join(p[int(rng.integers(len(p)))] for p in parts) for _ in range(count)}
    return sorted(made)


@lru_cache(maxsize=2)
def words(split: str) -> tuple[str, ...]:
    """All words of `train` or `test`; every seventh word by hash is held out for `test`.

    Raises ValueError for another split.
    """
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}")
    everything = sorted(set(_COMMON) | set(_invented(2600)))
    held_out = [zlib.crc32(w.encode()) % 7 == 0 for w in everything]
    chosen = zip(everything, held_out, strict=True)
    return tuple(_KINDER.get(w, w) for w, out in chosen if out == (split == "test"))


def sentence(rng: np.random.Generator, split: str) -> str:
    """Three to nine random words, mostly common ones."""
    pool = words(split)
    usual = set(_COMMON)
    common = [w for w in pool if w in usual]
    size = int(rng.integers(3, 10))
    chosen = [common if rng.random() < 0.7 else pool for _ in range(size)]
    return " ".join(p[int(rng.integers(len(p)))] for p in chosen)
