"""Frames of recordings, and which of them stand for all: near duplicates left out, spread over looks and time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import Camera
from edge.errors import ConfigError
from edge.see.cameras import open_camera
from edge.types import Frame, Image

THUMBNAIL = (16, 9)  # width, height: enough to tell scenes apart, small enough to keep thousands of
TIME_WEIGHT = 64.0  # grey levels, per thumbnail pixel, between the first and the last frame of a recording
SAME_LEVELS = 1.0  # grey levels by which no thumbnail pixel of a near duplicate differs
READ_TIMEOUT_S = 10.0

Progress = Callable[[float], None]  # share of a step that is done, 0..1
Place = tuple[int, int]  # recording, number of the frame in it
Points = npt.NDArray[np.float32]


def frames(recording: Camera, limit: int) -> Iterator[Frame]:
    """Yield at most `limit` frames; each is valid until the next one is asked for.

    Raises `CameraError` where the recording cannot be read and `ConfigError` where it is a live source.
    """
    name = recording.source or " ".join(recording.command)
    with open_camera("recording", recording) as camera:
        if camera.live:
            raise ConfigError(f"recordings: {name} is a live source and has no end; record it to a file first")
        for _ in range(limit):
            frame = camera.read(READ_TIMEOUT_S)
            while not (isinstance(frame, Frame) or camera.ended):
                frame = camera.read(READ_TIMEOUT_S)
            if not isinstance(frame, Frame):
                return
            yield frame


def choose_frames(recordings: list[Camera], count: int, limit: int, progress: Progress) -> list[Place]:
    """Return the `count` frames that cover the recordings best, the farthest from all before it first.

    Far apart is meant in looks and in time; of near duplicates only the first is considered, so that there may be fewer
    than `count`. At most `limit` frames of each recording are looked at. The same recordings give the same choice.
    """
    places: list[Place] = []
    thumbnails: list[Points] = []
    times: list[Points] = []
    for number, recording in enumerate(recordings):
        rows: list[Points] = []
        for frame in frames(recording, limit):
            rows.append(thumbnail(frame.image))
            progress((number + len(rows) / limit) / len(recordings))
        times.append(np.linspace(0, TIME_WEIGHT * np.sqrt(rows[0].size), len(rows), dtype=np.float32))
        thumbnails += rows
        places += [(number, i) for i in range(len(rows))]
    progress(1.0)
    looks, when = np.stack(thumbnails), np.concatenate(times)
    kept = unlike_frames(looks)
    return [places[kept[i]] for i in farthest_points(np.column_stack([looks[kept], when[kept]]), count)]


def unlike_frames(thumbnails: Points) -> npt.NDArray[np.int64]:
    """Return the indices of the rows (n, d) that differ from every one before them that was kept."""
    kept: list[int] = []
    known = np.empty_like(thumbnails)
    for i, row in enumerate(thumbnails):
        if not (np.abs(known[: len(kept)] - row).max(axis=1) <= SAME_LEVELS).any():
            known[len(kept)] = row
            kept.append(i)
    return np.asarray(kept, np.int64)


def spread_frames(recordings: list[Camera], count: int, limit: int) -> list[Place]:
    """Return `count` frames at even distances over all recordings: a fair sample, for judging."""
    places = [(n, i) for n, recording in enumerate(recordings) for i, _ in enumerate(frames(recording, limit))]
    chosen = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    return [places[i] for i in chosen.tolist()]


def read_frames(recordings: list[Camera], places: list[Place]) -> Iterator[Image]:
    """Yield copies of the frames at `places`, in order of recording and number."""
    for number, recording in enumerate(recordings):
        wanted = {i for n, i in places if n == number}
        for i, frame in enumerate(frames(recording, max(wanted, default=-1) + 1)):
            if i in wanted:
                yield frame.image.copy()


def thumbnail(image: Image) -> Points:
    """Return what a picture (h, w, 3) looks like from afar, as a vector."""
    return cv2.resize(image, THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1)


def farthest_points(points: Points, count: int) -> list[int]:
    """Return indices of `count` points (n, d), each the farthest from all before it (Gonzalez 1985).

    The first is the one nearest to the mean, so that a single frame is a typical one.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    distances = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        distances = np.minimum(distances, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distances.argmax()))
        distances[chosen] = -1
    return chosen
