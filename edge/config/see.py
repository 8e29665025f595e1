"""Tables for what turns frames into instances."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from edge.config.values import (
    Count,
    Degrees,
    Fraction,
    NotNegative,
    Point,
    Positive,
    Rate,
    Side,
    Table,
    Text,
    Threads,
    Whole,
)

Mark = tuple[float, float, float, float]  # x, y in frame pixels, and x, y of the same point in millimetres


class Measuring(Table, frozen=True, kw_only=True):
    """What measuring in millimetres needs to know of a camera, beside its `mm_per_px`."""

    scale_u: Fraction  # relative standard uncertainty of the scale
    marks: list[Mark] = []  # four or more, of a plane that the camera sees at a slant; instead of `mm_per_px`
    edge_px: Annotated[float, msgspec.Meta(ge=-32, le=32)] = 0.0  # how far masks reach beyond the objects, frame pixels
    edge_u_px: NotNegative = 0.25  # standard uncertainty of it
    contact_u_px: NotNegative = 4.0  # the same where another object touches: the edge might belong to either
    defect_u_px: NotNegative = 4.0  # the same for the ends of defects, which fade


class Encoder(Table, frozen=True, kw_only=True):
    """What counts the ticks of the belt that a camera looks at: numbers, one per line."""

    px_per_tick: Point  # frame pixels that the belt moves with one tick, x and y
    source: Text = ""  # of a recording a file with a line per frame; of a live camera a pipe or a serial device
    command: list[Text] = []  # a program that writes the lines; for a live camera


class Camera(Table, frozen=True, kw_only=True):
    """Where frames come from."""

    source: Text = ""  # a file, a folder of pictures, usb:N, rtsp://…; empty where `command` is given
    command: list[Text] = []  # a program that writes raw BGR24 frames; "{python}" is the interpreter that runs foveate
    size: tuple[Side, Side] | None = None  # width, height; needed by `command`, and to start without a live source
    demand: bool = False  # `command` waits for one byte on its standard input before each frame
    live: bool = False  # `command` does not wait until its frames are read: the newest counts, as of a stream
    mm_per_px: Positive | None = None  # of the plane that objects lie in
    measure: Measuring | None = None  # what lines and gates need that measure
    encoder: Encoder | None = None  # of the belt
    fps: Rate | None = None  # time base of a source that has none
    stall_s: Positive = 5.0  # a live source silent for so long is opened again
    static_ok: bool = False  # pictures that are the same to the last bit do not make a live source blind

    @property
    def px_per_tick(self) -> Point | None:
        """Return how far the belt moves with a tick of its encoder; None: there is none."""
        return None if self.encoder is None else self.encoder.px_per_tick


class Models(Table, frozen=True, kw_only=True):
    """How the two models are run."""

    precision: Literal["auto", "int8", "float16", "float32"] = "auto"
    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    dla: bool = False  # TensorRT: what can goes to the first deep learning accelerator, the rest to the GPU
    threads: Threads | None = None  # CPU threads shared by both models; default: the cores of this process
    score: Fraction | None = None  # instance confidence; default: the bundle's


class RegionRules(Table, frozen=True, kw_only=True):
    """What in the semantic labels deserves attention."""

    classes: list[str] = []  # semantic classes; default: all but the background
    min_area_px: Positive = 300.0  # frame pixels of foreground below which a spot is ignored
    min_area_mm2: Positive | None = None  # the same in square millimetres, for cameras that have `mm_per_px`
    confidence: Fraction = 0.0  # label pixels below it count as background
    pad_px: Count = 16  # frame pixels of context round a spot that no track explains


class Attention(Table, frozen=True, kw_only=True):
    """How much is looked at."""

    canvases: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # instance inferences per frame at the most
    pad_px: Count = 16  # frame pixels of context round a track
    max_scale: Positive = 1.0  # how far a small region may be enlarged on its canvas
    inspect_looks: Whole = 3  # looks an object gets early on
    refresh_frames: Whole = 30  # a track is looked at again after so many frames
    retry_frames: Whole = 4  # frames before a spot that showed nothing is looked at again


class Audit(Table, frozen=True, kw_only=True):
    """How often the instance model sees a piece of the frame that nothing points to, and what it may find there."""

    every_frames: Count = 8  # frames between two such pieces, a canvas each beyond the budget; 0: never
    seen_share: Fraction = 0.5  # share of an object's mask that must be foreground for the gate to have seen it
    most_missed: Fraction = 0.02  # share of the objects of a class or size that the gate may miss before the alarm
    most_unexplained: Fraction = 0.5  # the same for foreground in which the instance model finds nothing


class Governor(Table, frozen=True, kw_only=True):
    """What a round may take and how hot it may get before less is looked at; for live cameras."""

    limit_ms: Positive | None = None  # 99th percentile of a round
    celsius: Degrees | None = None  # of the hottest thermal zone

    @property
    def limits(self) -> bool:
        """Tell whether there is a limit to keep."""
        return self.limit_ms is not None or self.celsius is not None
