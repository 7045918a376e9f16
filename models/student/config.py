"""Frozen shapes of a causal student and of its cache; checked when built."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ...kernels.block_sparse.sparse_policy import SparsePolicy as SparsePolicy

RopeFamily = Literal["absolute", "slot", "top_aligned"]
Prediction = Literal["velocity", "sample"]
SinkKind = Literal["none", "static", "ema"]
SinkPrecision = Literal["in_place", "shadow"]
RaggedEviction = Literal["fold", "overwrite"]
AttentionKind = Literal["exact", "int8"]
TimeWaves = Literal["float64", "float32"]


@dataclass(frozen=True, slots=True)
class AvatarConfig:
    """What a Live Avatar has beside the Wan blocks (arXiv 2512.04677, Wan2.2-S2V); as published.

    Speech of `audio_layers` x `audio_dim` features becomes `audio_tokens` tokens of a latent frame,
    heard behind the blocks `inject_layers`. The reference stands at latent frame `reference_frame`
    until the stream comes near. `half_rope` rounds rotations to float16 as the published code
    does; only for parity.
    """

    pose_channels: int = 16
    audio_layers: int = 25
    audio_dim: int = 1024
    audio_tokens: int = 4
    inject_layers: tuple[int, ...] = (0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39)
    reference_frame: int = 30
    half_rope: bool = False


@dataclass(frozen=True, slots=True)
class StudentConfig:
    """Shape of a `CausalStudent`; the defaults past `patch` make a plain Wan causal DiT.

    `rope` says what a checkpoint was trained with: "absolute" caches keys rotated at their frame
    number, "slot" caches raw keys and rotates them by their place in the cache on every call,
    "top_aligned" raw keys of which the sink stands at the start and the window at the top of
    `trained_frames` positions, once the stream is that long (Self-Gradient Forcing+).
    `image_dim` > 0 turns on attention to the features of an image (CLIP) beside the text.
    `time_waves` is the precision in which a checkpoint's code made the sinusoids of time: float64
    in Wan's own code, float32 in diffusers and FastVideo.
    `audio_tokens` > 0 turns on audio cross-attention, `frame_dim` > 0 per-frame conditions,
    `draft` a linear guess of the latents from them (needs `grid`, the latent rows and columns),
    `track_channels` > 0 the track head (`track_bias`: whether its layers have one),
    `extra_channels` > 0 channels beside the latents.
    `avatar` adds what a Live Avatar has: a sink of reference and motion, and speech.
    Stem and head kernel 3 are 3x3 convolutions and need a spatial patch of 1.
    """

    dim: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    in_channels: int
    out_channels: int
    text_dim: int
    text_len: int
    freq_dim: int = 256
    patch: tuple[int, int, int] = (1, 2, 2)
    eps: float = 1e-6
    rope: RopeFamily = "absolute"
    trained_frames: int = 0
    prediction: Prediction = "velocity"
    time_waves: TimeWaves = "float64"
    image_dim: int = 0
    audio_tokens: int = 0
    audio_dim: int = 0
    frame_dim: int = 0
    draft: bool = False
    grid: tuple[int, int] | None = None
    track_channels: int = 0
    track_stride: int = 4
    track_features: int = 16
    track_bias: bool = True
    extra_channels: int = 0
    stem_kernel: Literal[1, 3] = 1
    head_kernel: Literal[1, 3] = 1
    avatar: AvatarConfig | None = None

    def __post_init__(self) -> None:
        if self.dim % self.num_heads or self.head_dim % 2:
            raise ValueError(
                f"dim {self.dim} does not split into {self.num_heads} heads of an even size"
            )
        if self.head_dim < 6:
            raise ValueError(f"head dim {self.head_dim} leaves an axis without RoPE; use 6 or more")
        if self.patch[0] != 1:
            raise ValueError(f"patch {self.patch}: the temporal patch must be 1")
        if self.freq_dim % 2:
            raise ValueError(f"freq_dim {self.freq_dim} must be even")
        if 3 in (self.stem_kernel, self.head_kernel) and self.patch != (1, 1, 1):
            raise ValueError(f"patch {self.patch}: 3x3 stem and head need patch (1, 1, 1)")
        if self.draft and (self.grid is None or not self.frame_dim or self.prediction != "sample"):
            raise ValueError("draft needs grid, frame_dim > 0 and prediction 'sample'")
        if (self.rope == "top_aligned") != (self.trained_frames > 0):
            raise ValueError(
                f"trained_frames {self.trained_frames} with rope {self.rope!r}; they are for "
                "rope 'top_aligned', which needs them"
            )
        if self.avatar and self.rope != "absolute":
            raise ValueError(f"an avatar keeps its sink by absolute RoPE; got rope {self.rope!r}")
        if self.avatar and max(self.avatar.inject_layers, default=0) >= self.num_layers:
            raise ValueError(
                f"inject_layers {self.avatar.inject_layers}; this student has {self.num_layers}"
            )
        if bool(self.audio_tokens) != bool(self.audio_dim):
            raise ValueError(
                f"audio_tokens {self.audio_tokens} and audio_dim {self.audio_dim} go together"
            )

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.dim // self.num_heads

    @property
    def stem_channels(self) -> int:
        """Channels that enter the patch embedding: latents, draft, extra channels, tracks."""
        tracks = self.track_features if self.track_channels else 0
        draft = self.out_channels if self.draft else 0
        return self.in_channels + draft + self.extra_channels + tracks

    def tokens_per_frame(self, height: int, width: int) -> int:
        """Tokens of a latent frame of `height` x `width`.

        Raises ValueError if the patch does not divide it.
        """
        rows, columns = self.patch[1:]
        if height % rows or width % columns:
            raise ValueError(f"latent {height}x{width} is not divisible by patch {self.patch}")
        return (height // rows) * (width // columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> StudentConfig:
        """The config that `to_dict` wrote."""
        plain = _with_tuples(values)
        if plain.get("avatar") is not None:
            plain["avatar"] = AvatarConfig(**_with_tuples(plain["avatar"]))
        return cls(**plain)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How much past a stream keeps, in latent frames.

    The cache holds `sink_frames` (the stream's first frames) and behind them a window of the last
    `window_frames`, the chunk under way included; `sink_frames` + `window_frames` is the
    `local_attn_size` of the published students. `rolling=False` is global attention over at most
    that many frames.

    EMA-Sink (Reward Forcing, arXiv 2512.04678): a frame that leaves the window is averaged into
    the sink, sink = alpha * sink + (1 - alpha) * frame. `precision` "in_place" rounds every update
    to the cache's dtype as the published code does; in bfloat16 at alpha 0.999 that loses most of
    it, so "shadow" keeps the average in float32. `ragged` says what happens when a call evicts
    another number of frames than the sink holds: "fold" averages frame g into sink frame
    g mod sink_frames, "overwrite" copies it as the published code does.

    `bounded_sink` (absolute RoPE only) keeps the sink right behind the window for RoPE, however
    old it is; otherwise its distance grows without bound as published.
    `guard_sink` is LongLive's rule: a call that writes frames anew leaves the sink as it is, unless
    it starts at frame 0. With chunks as long as the sink only a prompt switch notices.
    `zero_start` is the published EMA-Sink warm start: until the sink is full, its empty frames are
    attended to as zero keys. Only for parity.

    `rolling_distance` is for students with an avatar, whose sink is tokens instead of frames: the
    reference stays that many latent frames ahead of the chunk under way (Rolling RoPE). There,
    `bounded_sink` takes the motion tokens along; as published they stay behind.

    `pinned_frames` (LongLive 2) keeps as many frames of the chunk that opened the latest shot, see
    `StudentCache.begin_shot`: behind the sink, whatever else leaves the window.
    `reach_frames` (Rolling Forcing, arXiv 2509.25161; needs `bounded_sink`) is the most frames a
    call attends to, its own among them. A call that stores gives up the oldest first, the sink
    like any other, which stands at its own place; one that does not store always keeps the sink,
    right behind what it sees of the window.

    `refresh_below` (StreamDiffusionV2, arXiv 2511.07399) makes the sink adaptive, see
    `adaptive_sink.AdaptiveKVCache`: a new frame that is less alike to a sink frame than this, from
    -1 (never) to 1, takes its place. Once the cache is full a call then has one frame.
    `rewind_at` goes with it: the frame that would stand at that place of absolute RoPE stands at
    that of the cache's last slot instead, and what is cached moves along, but for the sink frames
    that a stream began with. So places stay bounded, however long a stream is.

    `sparse` thins attention to the cache out (docs/kernels.md); the tokens of a frame then lie in
    the order of a space-filling curve. `attention` "int8" makes scores of 8-bit integers.
    """

    window_frames: int
    sink_frames: int = 0
    sink: SinkKind = "static"
    alpha: float = 0.999
    precision: SinkPrecision = "shadow"
    ragged: RaggedEviction = "fold"
    rolling: bool = True
    bounded_sink: bool = False
    guard_sink: bool = False
    zero_start: bool = False
    rolling_distance: int | None = None
    pinned_frames: int = 0
    reach_frames: int | None = None
    refresh_below: float | None = None
    rewind_at: int | None = None
    sparse: SparsePolicy | None = None
    attention: AttentionKind = "exact"

    def __post_init__(self) -> None:
        if self.window_frames < 1 or self.sink_frames < 0:
            raise ValueError(
                f"got window_frames {self.window_frames}, sink_frames {self.sink_frames}; "
                "expected at least 1 and 0"
            )
        if self.sink == "ema" and not (self.sink_frames and self.rolling):
            raise ValueError("an EMA sink needs sink_frames > 0 and a rolling window")
        if self.sink == "none" and self.sink_frames:
            raise ValueError(f"sink 'none' with sink_frames {self.sink_frames}; expected 0")
        if self.rolling_distance is not None and self.sink_frames:
            raise ValueError(
                f"sink_frames {self.sink_frames} with rolling_distance {self.rolling_distance}: "
                "an avatar's sink is tokens; expected 0 sink_frames"
            )
        if self.sparse is not None and self.rolling_distance is not None:
            raise ValueError("sparse attention needs a sink of frames; an avatar's is of tokens")
        if self.sparse is not None and self.attention != "exact":
            raise ValueError(f"attention {self.attention!r} is of all keys; leave sparse away")
        if not 0.0 <= self.alpha <= 1.0:
            raise ValueError(f"alpha {self.alpha} is outside 0..1")
        self._check_pins()
        self._check_reach()
        self._check_refresh()

    def _check_pins(self) -> None:
        if not 0 <= self.pinned_frames <= self.window_frames:
            raise ValueError(
                f"pinned_frames {self.pinned_frames} of a window of {self.window_frames}; expected "
                "0 or more, at most the window"
            )
        if self.pinned_frames and (self.sink == "ema" or self.bounded_sink or not self.rolling):
            raise ValueError("pinned frames need a rolling window and a static, unbounded sink")

    def _check_reach(self) -> None:
        if self.reach_frames is None:
            return
        if not self.sink_frames < self.reach_frames <= self.capacity_frames:
            raise ValueError(
                f"reach_frames {self.reach_frames} with a sink of {self.sink_frames} and "
                f"{self.capacity_frames} frames in all; expected more than the sink, at most all"
            )
        if not self.bounded_sink or self.sparse is not None:
            raise ValueError("reach_frames need bounded_sink, and dense attention")

    def _check_refresh(self) -> None:
        if self.rewind_at is not None and (
            self.refresh_below is None or self.rewind_at < self.capacity_frames
        ):
            raise ValueError(
                f"rewind_at {self.rewind_at} with refresh_below {self.refresh_below} and "
                f"{self.capacity_frames} frames in all; it needs an adaptive sink, and at least as "
                "many places as there are frames"
            )
        if self.refresh_below is None:
            return
        if not -1.0 <= self.refresh_below <= 1.0:
            raise ValueError(f"refresh_below {self.refresh_below} is outside -1..1")
        plain = self.sink == "static" and self.sink_frames and self.rolling
        others = self.bounded_sink or self.guard_sink or self.pinned_frames or self.reach_frames
        if not plain or others or self.zero_start or self.sparse or self.rolling_distance:
            raise ValueError(
                "refresh_below needs sink_frames > 0, a static sink and a rolling window, and goes "
                "with no other rule for what stays or is seen"
            )

    @property
    def capacity_frames(self) -> int:
        """Frames the cache holds."""
        return self.sink_frames + self.window_frames


def _with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """`values` from JSON, which knows only lists."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
