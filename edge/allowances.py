"""What may still grow once everything is open: a bound for each thing, in bytes, from the limits that the code keeps.

Each bound is the product of a number that the code never exceeds (`MOST_TRACKS`, `WINDOW`, the canvases of the
configuration …) and of what one of them takes. What one takes is measured with CPython 3.11 and NumPy 2 on 64 bits and
rounded up.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from edge.album import KEPT_BYTES, MOST_PX
from edge.bundle import Model
from edge.config import MOST_LOOKS, Camera, Config, Conversion, Interaction, Trajectory, Unattended, Unique
from edge.config.values import MOST_CORNERS, MOST_PLACES
from edge.decide.behaviour.trajectory import MOST_POINTS, RAW
from edge.decide.gallery import MOST_REMEMBERED
from edge.decide.growth import MOST_DEFECTS
from edge.decide.presence import MOST_THINGS
from edge.decide.reidentify import MOST_NAMED
from edge.decide.tracks import MOST_TRACKS
from edge.health import WINDOW as ROUNDS
from edge.see import misses
from edge.see.appearance import Rings, Stripes
from edge.see.attention import MOST_SPOTS
from edge.see.found import MOST_MASK_CELLS
from edge.see.instances import MOST_INSTANCES
from edge.see.prototypes import MOST_BOXES, MOST_OBJECTS
from edge.see.regions import MOST_KEPT_BYTES
from edge.see.spots import MOST_REMEMBERED as MOST_REMEMBERED_SPOTS
from edge.tell.connection import MAX_IN_FLIGHT, MAX_MESSAGE_BYTES
from edge.tell.evidence import GROUP as PICTURES
from edge.tell.schema import CACHE_KIB
from edge.workers import worker_counts

Size = tuple[int, int]  # width, height

KIB, MIB = 1 << 10, 1 << 20
PICTURE, PACKED, PLANAR = 3, 2, 1.5  # bytes per pixel: BGR; what USB cameras give; what decoders keep, 4:2:0 of 8 bits
READ_BUFFERS = 2  # pictures of a recording or program: the one that is looked at and the next
LIVE_BUFFERS = 4  # of a live source: looked at, newest, written to, given back
DRIVER_BUFFERS = 5  # of a USB camera: OpenCV asks for four, and decodes one
FOLDER_BUFFERS = 4  # of a folder: looked at, the next, its file, the decoder's own
CHECKED = 2 * PICTURE  # of a reference picture: its file and itself, or the decoder's own
REFERENCES = 16  # pictures that an H.264 or HEVC stream may refer to, at the most
DECODER_THREADS = 16  # FFmpeg's own limit; each holds a picture
STREAM_BYTES = 8 * MIB  # packets and tables of a demuxer and a decoder
HALVES = 1 / 3  # of a picture: its halves on the way to a semantic input, of a quarter, a sixteenth … of its pixels
CELL = 24  # bytes per label cell while one frame is looked at: maps, components and their statistics
KEPT_CELL = 3  # of which each camera keeps: classes, confidence, foreground
PAIR = 48  # bytes per pair of boxes that are compared, with all temporaries
TRACK, TRACK_CLASS, SNAPSHOTS = 144, 4, 5  # a row of arrays, votes of each class; copies of the rows at a time
OBJECT = 200  # of a small array, its buffer's header included
RECORD = 96  # of one track that may be known again, beside its vector
LASTING = 480  # of one object that has left, at one line or rule that counts it once
WATCH = 640  # of one track at one line: its side, sightings beyond, directions counted
EVENT = 1536  # of one event: the record, its numbered copy, the payload, the row
PRESENT = 512  # of one track in one zone: its record while it is copied, and where it stands now
ALERT = 2 * KIB  # of one track by one rule: its records, its alert as it began and what ends it
PATH_POINT = 3 * 8 * 3 + 160  # of a path: in its record while that is copied, in the event and its payload
SIZES = KIB  # of one track: its queue of looks, beside these
PICTURE_SHARE = 8  # of one defect in one picture that growth remembers: the number, and a copy of it for a moment
PLACE = KIB  # of a presence check: its corners, and what an event says of it
GROUP, JUDGED = 2 * KIB, 256  # of an audit's group beside its window; of a track in it
ROUND = KIB  # of the times of one round
FILE_NAME = 256  # of a picture, as a text
OVERLAY_PICTURES = 8  # of --save: the drawn one and those that the encoder holds
TLS_BYTES = 8 * MIB
THREAD_BYTES = 512 * KIB  # of stack and heap that a thread of ours touches
SMALL_BYTES = 4 * MIB  # of freed buffers that NumPy keeps: seven of each size below 1 KiB
HEAP_BYTES = 16 * MIB  # that the allocator keeps between arrays that come and go (`benchmarks/memory.py` has less)


def allowances(
    config: Config,
    semantic: Model,
    instance: Model,
    sizes: Mapping[str, Size],
    *,
    coarse: Model | None = None,
    appearance: Model | None = None,
    save: bool = False,
) -> dict[str, int]:
    """Return by name how many bytes may still be taken.

    `sizes` are those of the cameras' frames; `coarse` is the model that a governor may change to, `appearance` the one
    of re-identification; `save` says that an overlay video is written.
    """
    cameras = len(sizes)
    stations = cameras + (config.job_check is not None)  # which has one of its own
    passes = [semantic] if coarse is None else [semantic, coarse]
    cells = max(_cells(model, "labels") for model in passes)
    found = {
        "frames": sum(_frames(config.cameras[name], size) for name, size in sizes.items())
        + (stations - cameras) * CHECKED * max(map(_pixels, sizes.values()), default=0),
        "halves": _halves(config, sizes, coarse=coarse is not None),
        "labels": stations * KEPT_CELL * cells,
        "tracks": stations * MOST_TRACKS * _track(instance),
        "painted": stations * MOST_KEPT_BYTES,
        "rules": _rules(config, instance),
        "identities": cameras * _identities(config, appearance),
        "audit": stations * _audit(instance),
        "attention": stations * 4 * OBJECT * (MOST_SPOTS + MOST_REMEMBERED_SPOTS),
        "work": _work(config, cells, instance, cameras),
        "times": ROUNDS * ROUND,
        "evidence": _evidence(config),
        "ledger": 2 * CACHE_KIB * KIB + MIB,  # pages of both connections; the index of the write-ahead log
        "delivery": _delivery(config),
        "threads": (cameras + _encoders(config) + 1 + _workers(config, coarse=coarse is not None)) * THREAD_BYTES,
        "heap": SMALL_BYTES + HEAP_BYTES,
    }
    if save:
        found["overlay"] = OVERLAY_PICTURES * PICTURE * max((_pixels(size) for size in sizes.values()), default=0)
    return {name: math.ceil(some) for name, some in found.items()}


def _frames(camera: Camera, size: Size) -> float:
    """Return what the frames in flight of one camera take, its decoder's included; a program's own memory is not."""
    pixels = _pixels(size)
    if camera.command:
        return (LIVE_BUFFERS if camera.live else READ_BUFFERS) * PICTURE * pixels
    if camera.source.startswith("usb:"):
        return (LIVE_BUFFERS * PICTURE + DRIVER_BUFFERS * PACKED) * pixels + STREAM_BYTES
    live = "://" in camera.source
    if not live and os.path.isdir(camera.source):  # noqa: PTH112  it is no path where it names a stream
        return FOLDER_BUFFERS * PICTURE * pixels
    held = REFERENCES + min(os.cpu_count() or 1, DECODER_THREADS)
    buffers = (LIVE_BUFFERS if live else READ_BUFFERS) + 1  # one that the decoder converts into
    return (buffers * PICTURE + held * PLANAR) * pixels + STREAM_BYTES


def _halves(config: Config, sizes: Mapping[str, Size], *, coarse: bool) -> float:
    """Return what frames take that are halved again and again on their way to a semantic model, in each thread."""
    passes = (1 + worker_counts(config)["semantic"]) * (1 + coarse)
    return passes * HALVES * PICTURE * sum(_pixels(size) for size in set(sizes.values()))


def _encoders(config: Config) -> int:
    return sum(camera.encoder is not None for camera in config.cameras.values())


def _workers(config: Config, *, coarse: bool) -> int:
    counts = worker_counts(config)
    return counts["instance"] + counts["semantic"] * (1 + coarse)


def _track(instance: Model) -> int:
    rows = SNAPSHOTS * (TRACK + TRACK_CLASS * len(instance.classes))
    return rows + OBJECT + _mask_cells(instance)


def _rules(config: Config, instance: Model) -> int:
    """Return what lines, gates, zones and rules remember of all tracks, and what all of these at once would say."""
    evidence = KIB + MOST_LOOKS * (OBJECT + 4 * len(instance.defects))
    rules = len(config.lines) + len(config.gates)
    lasting = sum(line.once for line in config.lines) + sum(isinstance(r, (Unique, Conversion)) for r in config.rules)
    found = lasting * MOST_REMEMBERED * LASTING + MOST_TRACKS * (
        rules * (WATCH + EVENT) + len(config.gates) * (evidence + EVENT) + _behaviour(config)
    )
    if config.measures:
        found += (
            MOST_TRACKS * len(config.cameras) * (SIZES + EVENT + MOST_LOOKS * (2 * OBJECT + 48 * len(instance.defects)))
        )
    found += sum(MOST_DEFECTS * (EVENT + PICTURE_SHARE * rule.window) for rule in config.growth)
    found += sum(rule.window * (OBJECT + MOST_PLACES) + MOST_PLACES * PLACE for rule in config.presence)
    looks = KIB + MOST_LOOKS * (OBJECT + 4 * (len(instance.classes) + len(instance.defects)))
    return found + MOST_TRACKS * sum(gate.tallies for gate in config.gates) * looks


def _identities(config: Config, appearance: Model | None) -> int:
    """Return what all tracks of one camera and those that have left look like, while some of them are compared.

    Records are copied when the tracks change, and so is the gallery when one comes or goes; while ids are given there
    are copies of the records and of the mean looks too.
    """
    rules = config.tracks.reidentify
    if rules is None:
        return 0
    length = appearance.outputs[0].shape[0] if appearance is not None else max(Stripes.size, Rings.size)
    vector = 4 * length
    return (5 * MOST_TRACKS + 3 * MOST_REMEMBERED) * (vector + RECORD) + MOST_NAMED * MOST_REMEMBERED * PAIR


def _behaviour(config: Config) -> int:
    """Return what the zones and their rules remember of one track, and what they say of it at once."""
    if not config.rules:
        return 0
    paths = sum(isinstance(rule, Trajectory) for rule in config.rules)
    return (
        (1 + len(config.zones)) * PRESENT  # its speed, and where it is in each
        + len(config.rules) * (ALERT + EVENT)
        + paths * (MOST_POINTS + RAW) * PATH_POINT
    )


def _evidence(config: Config) -> int:
    """Return what looks take that may become pictures, and a picture with its outline while it is encoded."""
    if not config.pictured:
        return 0
    cameras = {gate.camera for gate in config.gates if gate.defects}
    return len(cameras) * KEPT_BYTES + 5 * PICTURE * MOST_PX + PICTURES * FILE_NAME


def _audit(instance: Model) -> int:
    groups = len(instance.classes) - 1 + len(misses.SIZES)
    return groups * (GROUP + 8 * misses.WINDOW) + MOST_TRACKS * JUDGED


def _work(config: Config, cells: int, instance: Model, cameras: int) -> int:
    """Return what is there for a moment while frames with so many label `cells` are looked at, one kind at a time.

    Workers make labels while regions are found, or decode canvases; what they hold then is far below the largest kind.
    """
    canvases = cameras * (config.attention.canvases + 1)
    most = min(MOST_INSTANCES, canvases * _objects(instance))  # of one frame: it may get the canvases of all
    both = MOST_TRACKS + most
    instances = 2 * canvases * _objects(instance) * (2 * OBJECT + _mask_cells(instance))
    stages = {
        "regions": CELL * cells,
        "spots": 2 * MOST_SPOTS * MOST_REMEMBERED_SPOTS * PAIR,
        "decoding": max(1, worker_counts(config)["instance"])
        * (2 * _outputs(instance) + _decoding(instance)),  # one in each thread
        "distinct": most * most * PAIR,
        "association": MOST_TRACKS * most * PAIR + 8 * both * both,  # `lap` fills a square matrix of float64
        "zones": MOST_TRACKS * MOST_CORNERS * PAIR * bool(config.rules),
        "pairs": MOST_TRACKS**2 * PAIR * any(isinstance(rule, (Unattended, Interaction)) for rule in config.rules),
        "places": MOST_THINGS**2 * MOST_PLACES * PAIR * any(rule.moves for rule in config.presence),
    }
    return instances + max(stages.values())


def _decoding(model: Model) -> int:
    """Return what the outputs of one canvas become on their way to objects."""
    if model.head.family == "centers":
        return 64 * _cells(model, "labels")  # a dozen arrays over the cells, of 2 to 8 bytes
    boxes, pixels = min(_rows(model, "boxes"), MOST_BOXES), math.prod(model.input.shape[:2])
    return 4 * _objects(model) * _cells(model, "prototypes") + boxes * boxes * PAIR + 24 * pixels


def _delivery(config: Config) -> int:
    if config.mqtt is None:
        return 0
    return MAX_IN_FLIGHT * 2 * EVENT + 4 * MAX_MESSAGE_BYTES + MIB + (TLS_BYTES if config.mqtt.ca_file else 0)


def _objects(instance: Model) -> int:
    """Return how many objects one canvas can show."""
    if instance.head.family == "centers":
        return _rows(instance, "peaks")
    return min(_rows(instance, "boxes"), MOST_OBJECTS)


def _rows(instance: Model, output: str) -> int:
    return next((spec.shape[0] for spec in instance.outputs if spec.name == output), MOST_INSTANCES)


def _mask_cells(instance: Model) -> int:
    stride = instance.head.label_stride
    return min(MOST_MASK_CELLS, math.prod(instance.input.shape[:2]) // stride**2)


def _cells(model: Model, output: str) -> int:
    """Return the cells of a map that a model gives."""
    return next((math.prod(spec.shape[-2:]) for spec in model.outputs if spec.name == output), 0)


def _outputs(model: Model) -> int:
    return sum(8 * math.prod(spec.shape) for spec in model.outputs)  # no output is wider


def _pixels(size: Size) -> int:
    return size[0] * size[1]
