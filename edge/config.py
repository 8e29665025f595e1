"""TOML -> typed configuration. A wrong key, range, class or path names itself and its fix."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edge.config_checks import check
from edge.errors import ConfigError

Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
MOST = 1_000_000_000  # no number is larger: what comes from one fits every array, timer and memory
Positive = Annotated[float, msgspec.Meta(gt=0, le=MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=MOST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
Whole = Annotated[int, msgspec.Meta(ge=1, le=MOST)]
Threads = Annotated[int, msgspec.Meta(ge=1, le=1024)]
MOST_LOOKS = 32  # at one part that a gate remembers, the newest
Looks = Annotated[int, msgspec.Meta(ge=1, le=MOST_LOOKS)]
Rate = Annotated[float, msgspec.Meta(ge=1e-6, le=MOST)]  # per second: no time that it gives overflows
Degrees = Annotated[float, msgspec.Meta(ge=20, le=150)]  # Celsius
Side = Annotated[int, msgspec.Meta(ge=1, le=32768)]  # of a frame
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.=-]{1,64}\Z")]
Text = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*\Z")]  # what the system takes as a name: no NUL in it
Point = tuple[float, float]  # x, y in frame pixels


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A TOML table whose keys are checked."""


class Camera(_Table, frozen=True, kw_only=True):
    """Where frames come from."""

    source: Text = ""  # a file, a folder of pictures, usb:N, rtsp://…; empty where `command` is given
    command: list[Text] = []  # a program that writes raw BGR24 frames; "{python}" is the interpreter that runs foveate
    size: tuple[Side, Side] | None = None  # width, height; needed by `command`, and to start without a live source
    demand: bool = False  # `command` waits for one byte on its standard input before each frame
    live: bool = False  # `command` does not wait until its frames are read: the newest counts, as of a stream
    mm_per_px: Positive | None = None  # of the plane that objects lie in
    fps: Rate | None = None  # time base of a source that has none
    stall_s: Positive = 5.0  # a live source silent for so long is opened again


class Models(_Table, frozen=True, kw_only=True):
    """How the two models are run."""

    precision: Literal["auto", "int8", "float16", "float32"] = "auto"
    runtime: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    threads: Threads | None = None  # CPU threads shared by both models; default: the cores of this process
    score: Fraction | None = None  # instance confidence; default: the bundle's


class RegionRules(_Table, frozen=True, kw_only=True):
    """What in the semantic labels deserves attention."""

    classes: list[str] = []  # semantic classes; default: all but the background
    min_area_px: Positive = 300.0  # frame pixels of foreground below which a spot is ignored
    min_area_mm2: Positive | None = None  # the same in square millimetres, for cameras that have `mm_per_px`
    confidence: Fraction = 0.0  # label pixels below it count as background
    pad_px: Count = 16  # frame pixels of context round a spot that no track explains


class Attention(_Table, frozen=True, kw_only=True):
    """How much is looked at."""

    canvases: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # instance inferences per frame at the most
    pad_px: Count = 16  # frame pixels of context round a track
    max_scale: Positive = 1.0  # how far a small region may be enlarged on its canvas
    inspect_looks: Whole = 3  # looks an object gets early on
    refresh_frames: Whole = 30  # a track is looked at again after so many frames
    retry_frames: Whole = 4  # frames before a spot that showed nothing is looked at again


class Audit(_Table, frozen=True, kw_only=True):
    """How often the instance model sees a piece of the frame that nothing points to, and what it may find there."""

    every_frames: Count = 8  # frames between two such pieces, a canvas each beyond the budget; 0: never
    seen_share: Fraction = 0.5  # share of an object's mask that must be foreground for the gate to have seen it
    most_missed: Fraction = 0.02  # share of the objects of a class or size that the gate may miss before the alarm
    most_unexplained: Fraction = 0.5  # the same for foreground in which the instance model finds nothing


class Governor(_Table, frozen=True, kw_only=True):
    """What a round may take and how hot it may get before less is looked at; for live cameras."""

    limit_ms: Positive | None = None  # 99th percentile of a round
    celsius: Degrees | None = None  # of the hottest thermal zone

    @property
    def limits(self) -> bool:
        """Tell whether there is a limit to keep."""
        return self.limit_ms is not None or self.celsius is not None


class TrackRules(_Table, frozen=True, kw_only=True):
    """How objects keep their identity."""

    classes: list[str] = []  # instance classes that are tracked; default: all
    motion: Literal["free", "belt"] = "free"  # belt: everything moves together, rigidly
    at_border: Literal["track", "wait"] = "track"  # wait: objects cut by the frame's border are not yet objects
    confirm_looks: Whole = 2  # complete looks before a track has an id
    need_support: bool = False  # no id before the semantic labels have shown something there
    lost_frames: Whole = 30  # frames without sight or support before a track ends
    min_score: Fraction = 0.0  # instances below it only continue tracks, never begin one
    min_area_px: NotNegative = 0.0  # frame pixels of mask below which an instance is no object


class Line(_Table, frozen=True, kw_only=True):
    """A line whose crossings are counted: ``<name>/<class>/<direction>``, or ``<name>/<class>`` for one direction."""

    name: Name
    camera: Name
    start: Point
    end: Point
    direction: Literal["both", "right", "left", "up", "down"] = "both"
    anchor: Literal["center", "bottom"] = "center"  # the point of an object that crosses
    hysteresis_px: NotNegative = 4.0  # how far beyond the line it must be
    settle_looks: Whole = 2  # sightings in a row beyond the line that make a crossing: one alone may be a bad box
    once: bool = False  # an object counts once per direction, however often it comes back


class DefectLimit(_Table, frozen=True, kw_only=True):
    """When a defect class rejects a part."""

    min_area_px: Positive = 30.0  # frame pixels
    looks: Fraction = 0.5  # share of the part's complete looks that must show it


class Gate(_Table, frozen=True, kw_only=True):
    """A line before which every part must have a verdict."""

    name: Name
    camera: Name
    start: Point
    end: Point
    direction: Literal["right", "left", "up", "down"]
    defects: dict[str, DefectLimit] = {}  # by defect class; a class that is not named does not reject
    min_looks: Looks = 2  # complete looks without which nothing passes
    fail_safe: Literal["REJECT", "REVIEW"] = "REJECT"  # the verdict of a part that was not inspected


class Zone(_Table, frozen=True, kw_only=True):
    """A polygon of one camera's frame."""

    name: Name
    camera: Name
    points: Annotated[list[Point], msgspec.Meta(min_length=3)]
    attention: Literal["only", "ignore"]  # spots begin in zones of the first kind alone, and in none of the second


class Mqtt(_Table, frozen=True, kw_only=True):
    """The broker and who must acknowledge."""

    host: Text = "127.0.0.1"
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    username: Text | None = None
    password_file: Path | None = None
    ca_file: Path | None = None  # switches TLS on
    cert_file: Path | None = None
    key_file: Path | None = None
    plaintext: bool = False  # permits a broker that is not on this machine without TLS
    keepalive_s: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 5
    receivers: list[Name] = []  # every event waits for all of these; none: for the broker's PUBACK
    drain_s: NotNegative = 5.0  # how long a daemon that ends waits for acknowledgements


class Ledger(_Table, frozen=True, kw_only=True):
    """The limits of the ledger on disk."""

    max_mib: Whole = 256


class Config(_Table, frozen=True, kw_only=True):
    """A whole configuration file. Paths in it are relative to its own folder."""

    bundle: Path
    state: Path
    cameras: dict[Name, Camera]
    site: Name = "site"
    line: Name = "line"
    device: Name = "device"
    simulated: bool = False  # every event says that it is not from real cameras
    models: Models = Models()
    regions: RegionRules = RegionRules()
    attention: Attention = Attention()
    audit: Audit = Audit()
    governor: Governor = Governor()
    tracks: TrackRules = TrackRules()
    lines: list[Line] = []
    gates: list[Gate] = []
    zones: list[Zone] = []
    mqtt: Mqtt | None = None
    ledger: Ledger = Ledger()


def load_config(path: Path) -> Config:
    """Return the configuration in file `path` (TOML, or JSON by its suffix), its paths made absolute.

    Raises `ConfigError`.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # as some editors write it
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {path}: cannot be read: {error}; name a TOML file") from error
    decode = msgspec.json.decode if path.suffix == ".json" else msgspec.toml.decode
    try:
        config = decode(text, type=Config, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration {path}: {_with_hint(_with_name(str(error), decode(text)))}") from error
    except (msgspec.DecodeError, ValueError, RecursionError) as error:  # tomllib: huge integers, endless nesting
        raise ConfigError(f"configuration {path}: cannot be understood: {error}") from error
    check(config, path)
    return _absolute(config, path.resolve().parent)


def class_numbers(names: list[str], known: list[str], setting: str) -> list[int]:
    """Return the indices of `names` in `known`; an unknown name raises `ConfigError` that lists the known ones."""
    for name in names:
        if name not in known:
            raise ConfigError(f"{setting}: no class {name!r} in the bundle; it has {', '.join(known) or 'none'}")
    return [known.index(name) for name in names]


def check_point(point: Point, size: tuple[int, int], setting: str) -> None:
    """Raise `ConfigError` where `point` lies outside a frame of `size` (width, height)."""
    if not (0 <= point[0] <= size[0] and 0 <= point[1] <= size[1]):
        raise ConfigError(
            f"{setting}: point ({point[0]:g}, {point[1]:g}) is outside the frame of {size[0]} x {size[1]} pixels; "
            f"x goes from 0 to {size[0]}, y from 0 to {size[1]}"
        )


def _decode(kind: type, value: Any) -> Any:
    """Turn a string into a path, the one type that msgspec leaves to us."""
    if kind is Path and isinstance(value, str) and value and "\0" not in value:
        return Path(value)
    raise TypeError(f"expected a path, got {value!r}")


_T = TypeVar("_T", bound=msgspec.Struct)


def _absolute(config: Config, folder: Path) -> Config:
    """Make every path absolute; a camera's `source` only where it names something beside the configuration."""
    cameras = {name: _replaced(camera, _source(camera, folder)) for name, camera in config.cameras.items()}
    changes: dict[str, Any] = {
        "bundle": Path(os.path.realpath(folder / config.bundle)),
        "state": folder / config.state,
        "cameras": cameras,
    }
    if config.mqtt is not None:
        names = ("password_file", "ca_file", "cert_file", "key_file")
        found = {name: getattr(config.mqtt, name) for name in names}
        changes["mqtt"] = _replaced(config.mqtt, {name: folder / p for name, p in found.items() if p is not None})
    return _replaced(config, changes)


def _source(camera: Camera, folder: Path) -> dict[str, Any]:
    if not camera.source or "://" in camera.source or camera.source.startswith("usb:"):
        return {}
    return {"source": str(folder / camera.source)}


def _replaced(struct: _T, changes: dict[str, Any]) -> _T:
    return msgspec.structs.replace(struct, **changes)


def _with_name(message: str, found: Any) -> str:
    """Put the name of the camera into msgspec's message: its path does not say which of a table's keys it means."""
    if "$.cameras[...]" not in message:
        return message
    name = next((name for name, camera in found["cameras"].items() if not _is_camera(camera)), "[...]")
    return message.replace("$.cameras[...]", f"$.cameras.{name}")


def _is_camera(table: Any) -> bool:
    try:
        msgspec.convert(table, Camera)
    except msgspec.ValidationError:
        return False
    return True


def _with_hint(message: str) -> str:
    """Add the nearest known key to msgspec's message on an unknown one."""
    if "unknown field" not in message:
        return message
    wrong = message.split("`")[1]
    near = difflib.get_close_matches(wrong, _known_keys(), n=1)
    return message + (f"; did you mean `{near[0]}`?" if near else "; see docs/config.md for every key")


def _known_keys() -> list[str]:
    return sorted({field for table in _Table.__subclasses__() for field in table.__struct_fields__})
