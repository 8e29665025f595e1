"""Everything the loop knows of a frame, drawn into it."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edge.config import Config, Gate, Line, corners_of
from edge.errors import FoveateError
from edge.event_facts import counter_of
from edge.events import ConversionEvent, Count, GrowthEvent, Measurement, PresenceEvent, Verdict, VisitorEvent
from edge.rigid import motion_of
from edge.types import Array, Boxes, Image, Labels, Moment, Tracks

Color = tuple[int, int, int]  # BGR

WHITE, BLACK, GREY = (255, 255, 255), (0, 0, 0), (160, 160, 160)
REGION, LOOK, LINE, ZONE, ALARM = (60, 200, 255), (255, 255, 255), (255, 200, 60), (230, 230, 120), (60, 60, 235)
VERDICTS: dict[str, Color] = {"PASS": (90, 200, 60), "REJECT": (60, 60, 235), "REVIEW": (40, 180, 240), "EXPIRED": GREY}
CLASSES: list[Color] = [(0, 0, 0), (214, 140, 60), (80, 190, 110), (190, 100, 190), (70, 150, 230), (200, 200, 70)]
PALETTE = np.asarray([CLASSES[i % len(CLASSES)] for i in range(256)], np.uint8)  # (256, 3) by class
TINT = 0.28  # opacity of the semantic labels
FONT = cv2.FONT_HERSHEY_SIMPLEX
OF_ZONES = ("occupancy", "congestion", "slow_station")  # rules whose alerts are about a zone, not about objects
REMEMBERED = 500  # verdicts that stay on their parts


class Overlay:
    """Draws moments of one camera; remembers counts and verdicts in between."""

    def __init__(
        self, config: Config, classes: list[str], canvases: Callable[[], Sequence[Image]] = lambda: ()
    ) -> None:
        """`classes` are the instance classes; `canvases` gives those of the last frame, to be drawn into a corner."""
        self._config = config
        self._classes = classes
        self._canvases = canvases
        self._counts: Counter[str] = Counter()
        self._verdicts: dict[int, str] = {}
        self._order: deque[int] = deque()
        self._sizes: dict[int, str] = {}  # by track, oldest first
        self._defects: dict[tuple[str, int], GrowthEvent] = {}  # by rule and number
        self._presence: dict[str, PresenceEvent] = {}  # the newest, by rule

    def draw(self, moment: Moment) -> Image:
        """Return the frame (h, w, 3) with labels, regions, looks, tracks, lines, zones, counts, verdicts, alerts."""
        self._remember(moment)
        picture: Image = moment.frame.image.copy()
        tint_labels(picture, moment.labels)
        unit = max(0.5, picture.shape[0] / 1080)
        self._zones(picture, moment, unit)
        self._lines(picture, moment.frame.camera, unit)
        for box in moment.regions.boxes.tolist():
            cv2.rectangle(picture, box[:2], box[2:], REGION, max(1, round(unit)))
        for box in moment.looks.sources.tolist():
            _corners(picture, box, LOOK, max(1, round(2 * unit)))
        self._tracks(picture, moment.tracks, unit)
        _alarms(picture, moment, unit)
        self._growth(picture, unit)
        self._places(picture, moment.frame.camera, unit)
        self._header(picture, moment, unit)
        for place, canvas in enumerate(self._canvases()):
            _inset(picture, canvas, place, unit)
        return picture

    def _remember(self, moment: Moment) -> None:
        for event in moment.events:
            if isinstance(event, (Count, ConversionEvent, VisitorEvent)):
                self._counts[str(counter_of(event))] += 1
            elif isinstance(event, Verdict):
                self._verdicts[event.track] = event.verdict
                self._order.append(event.track)
                self._counts[f"{event.gate}/{event.verdict}"] += 1
            elif isinstance(event, Measurement) and event.measures:
                length, width = (event.measures[f"{name}_mm"].value for name in ("length", "width"))
                self._sizes[event.track] = f" {length:.1f} x {width:.1f} mm"
            elif isinstance(event, GrowthEvent):
                self._defects[event.rule, event.defect] = event
            elif isinstance(event, PresenceEvent):
                self._presence[event.rule] = event
                self._counts[str(counter_of(event))] += 1
        self._defects = {key: event for key, event in self._defects.items() if event.stage != "gone"}
        while len(self._sizes) > REMEMBERED:
            del self._sizes[next(iter(self._sizes))]
        while len(self._order) > REMEMBERED:
            self._verdicts.pop(self._order.popleft(), None)

    def _tracks(self, picture: Image, tracks: Tracks, unit: float) -> None:
        for row in range(len(tracks)):
            number, label = int(tracks.ids[row]), int(tracks.classes[row])
            verdict = self._verdicts.get(number, "")
            color = VERDICTS.get(verdict, CLASSES[label % len(CLASSES)] if number else GREY)
            shade(picture, tracks.boxes[row], tracks.masks[row], color, 0.45 if tracks.since_look[row] == 0 else 0.25)
            if number:
                text = f"{number} {self._classes[label]}" + (f" {verdict}" if verdict else "")
                text += self._sizes.get(number, "")
                _text(picture, text, (int(tracks.boxes[row, 0]), int(tracks.boxes[row, 1])), unit, color)

    def _lines(self, picture: Image, camera: str, unit: float) -> None:
        rules: list[Line | Gate] = [*self._config.lines, *self._config.gates]
        for rule in rules:
            if rule.camera == camera:
                start, end = ((round(x), round(y)) for x, y in (rule.start, rule.end))
                cv2.line(picture, start, end, LINE, max(1, round(2 * unit)), cv2.LINE_AA)
                _text(picture, rule.name, (start[0] + 4, start[1] + round(22 * unit)), unit, LINE)

    def _zones(self, picture: Image, moment: Moment, unit: float) -> None:
        """Draw the zones: grey where they only steer looks, red while an alert lasts, with how many are inside."""
        alarmed = {alert.zone for alert in moment.alerts}
        for zone in self._config.zones:
            if zone.camera != moment.frame.camera:
                continue
            inside = moment.zones.get(zone.name)
            color = GREY if inside is None else ALARM if zone.name in alarmed else ZONE
            corners = np.rint(np.asarray(zone.points)).astype(np.int32)
            cv2.polylines(picture, [corners], isClosed=True, color=color, thickness=max(1, round(2 * unit)))
            wrong = [alert.rule for alert in moment.alerts if alert.zone == zone.name and alert.rule_kind in OF_ZONES]
            told = "".join(f"  {label} {number}" for label, number in (inside or {}).items())
            told += "".join(f"  ! {rule}" for rule in wrong)
            left, top = corners.min(axis=0).tolist()
            _text(picture, f"{zone.name}{told}", (left + round(4 * unit), top + round(24 * unit)), unit, color)

    def _growth(self, picture: Image, unit: float) -> None:
        """Draw where defects persist or grow."""
        height, width = picture.shape[:2]
        for event in self._defects.values():
            x0, y0, x1, y1 = (round(share * side) for share, side in zip(event.place, (width, height) * 2, strict=True))
            color = VERDICTS["REJECT" if event.stage == "grows" else "REVIEW"]
            cv2.rectangle(picture, (x0 - 3, y0 - 3), (x1 + 3, y1 + 3), color, max(1, round(2 * unit)))
            _text(picture, f"{event.rule} {event.defect} {event.stage}", (x0, y0 - 6), unit, color)

    def _places(self, picture: Image, camera: str, unit: float) -> None:
        """Draw the places of presence checks where they were last found: green where they are filled, else red."""
        for rule in self._config.presence:
            event = self._presence.get(rule.name)
            if rule.camera != camera or event is None:
                continue
            places = [np.asarray(corners_of(points)) for points in rule.places.values()]
            motion = motion_of(places, event.moved)
            for name, corners in zip(rule.places, places, strict=True):
                color = VERDICTS["REJECT" if name in event.missing else "PASS"]
                drawn = np.rint(motion(corners)).astype(np.int32)
                cv2.polylines(picture, [drawn], isClosed=True, color=color, thickness=max(1, round(2 * unit)))
                _text(picture, f"{rule.name} {name}", (int(drawn[0, 0]), int(drawn[0, 1])), unit, color)

    def _header(self, picture: Image, moment: Moment, unit: float) -> None:
        lines = [
            f"frame {moment.frame.index}   looks {len(moment.looks)}   tracks {int((moment.tracks.ids > 0).sum())}"
        ]
        lines += [f"{name}  {count}" for name, count in sorted(self._counts.items())]
        height = round((len(lines) * 26 + 16) * unit)
        corner = picture[:height, : round(430 * unit)]
        cv2.addWeighted(corner, 0.35, np.zeros_like(corner), 0.65, 0, dst=corner)
        for i, line in enumerate(lines):
            at = (round(14 * unit), round((28 + 26 * i) * unit))
            cv2.putText(picture, line, at, FONT, 0.62 * unit, WHITE, max(1, round(unit)), cv2.LINE_AA)


class Recorder:
    """Writes overlays to an MP4 file."""

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: float,
        config: Config,
        classes: list[str],
        canvases: Callable[[], Sequence[Image]],
    ) -> None:
        """Open `path` for pictures of `size` (width, height); raises `FoveateError` where it cannot be written."""
        self._overlay = Overlay(config, classes, canvases)
        self._path = path
        self._unsure = False  # frames are not yet known to be in the file
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
        if not self._writer.isOpened():
            raise FoveateError(
                f"--save {path}: no video of {size[0]} x {size[1]} pixels can be written there; "
                "name an .mp4 file in a folder you may write"
            )

    def add(self, moment: Moment) -> None:
        """Draw `moment` and append it."""
        self._writer.write(self._overlay.draw(moment))
        self._unsure = True

    def close(self) -> None:
        """Finish the file; raises `FoveateError` where it cannot be read again: OpenCV says nothing of a full disk."""
        self._writer.release()
        unsure, self._unsure = self._unsure, False
        if unsure and not _can_be_read(self._path):
            raise FoveateError(f"--save {self._path}: the video could not be written whole; free space on that disk")


def _can_be_read(path: Path) -> bool:
    video = cv2.VideoCapture(str(path))
    try:
        return video.isOpened() and video.grab()
    finally:
        video.release()


def tint_labels(picture: Image, labels: Labels) -> None:
    """Colour `picture` (h, w, 3) in place by the class of each label pixel."""
    size = picture.shape[1], picture.shape[0]
    classes = cv2.resize(labels.classes, size, interpolation=cv2.INTER_NEAREST)
    mixed = cv2.addWeighted(picture, 1 - TINT, PALETTE[classes], TINT, 0)
    np.copyto(picture, mixed, where=(classes > 0)[..., None])


def shade(picture: Image, box: Boxes, mask: npt.NDArray[np.bool_], color: Color, opacity: float) -> None:
    """Draw a mask, stretched over `box` (4,), into `picture` (h, w, 3): filled, with its outline."""
    x0, y0, x1, y1 = np.round(box).astype(int).tolist()
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, picture.shape[1]), min(y1, picture.shape[0])
    if left >= right or top >= bottom:
        return
    fine = cv2.resize(mask.view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
    part, inside = picture[top:bottom, left:right], fine[top - y0 : bottom - y0, left - x0 : right - x0]
    mixed = part * (1 - opacity) + np.asarray(color) * opacity
    np.copyto(part, mixed.astype(np.uint8), where=(inside > 0)[..., None])
    _contour(picture, fine, (x0, y0), color, 2)


def outlined(picture: Image, box: Boxes, mask: npt.NDArray[np.bool_] | None, color: Color) -> None:
    """Draw the outline of a mask, stretched over `box` (4,), into `picture` (h, w, 3); without one, the box."""
    x0, y0, x1, y1 = np.round(box).astype(int).tolist()
    if mask is None or x1 <= x0 or y1 <= y0:
        cv2.rectangle(picture, (x0, y0), (x1, y1), color, 1)
    else:
        fine = cv2.resize(mask.view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
        _contour(picture, fine, (x0, y0), color, 1)


def _contour(picture: Image, fine: Array, at: tuple[int, int], color: Color, thickness: int) -> None:
    """Draw the outline of `fine` (h, w), whose corner is at `at`, into `picture` (h, w, 3)."""
    outlines, _ = cv2.findContours(fine, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, outlines, -1, color, thickness, cv2.LINE_AA, offset=at)


def _alarms(picture: Image, moment: Moment, unit: float) -> None:
    """Frame the objects that alerts are about, with the names of the rules below them."""
    rows = {int(number): row for row, number in enumerate(moment.tracks.ids.tolist()) if number}
    told: dict[int, list[str]] = {}
    for alert in moment.alerts:
        for number in alert.tracks if alert.rule_kind not in OF_ZONES else []:
            if number in rows:
                told.setdefault(rows[number], []).append(alert.rule)
    for row, names in told.items():
        x0, y0, x1, y1 = np.rint(moment.tracks.boxes[row]).astype(int).tolist()
        cv2.rectangle(picture, (x0, y0), (x1, y1), ALARM, max(2, round(3 * unit)))
        _text(picture, " ".join(names), (x0, y1 + round(20 * unit)), unit, ALARM)


def _corners(picture: Image, box: list[int], color: Color, thickness: int) -> None:
    """Mark the four corners of `box`, as a viewfinder does."""
    x0, y0, x1, y1 = box[0], box[1], box[2] - 1, box[3] - 1
    reach = max(4, min(x1 - x0, y1 - y0) // 6)
    for x, dx in ((x0, reach), (x1, -reach)):
        for y, dy in ((y0, reach), (y1, -reach)):
            cv2.line(picture, (x, y), (x + dx, y), color, thickness)
            cv2.line(picture, (x, y), (x, y + dy), color, thickness)


def _text(picture: Image, text: str, at: tuple[int, int], unit: float, color: Color) -> None:
    x, y = at
    scale, weight = 0.5 * unit, max(1, round(unit))
    (width, height), _ = cv2.getTextSize(text, FONT, scale, weight)
    y = max(y, height + 6)
    cv2.rectangle(picture, (x, y - height - 6), (x + width + 6, y + 2), BLACK, -1)
    cv2.putText(picture, text, (x + 3, y - 3), FONT, scale, color, weight, cv2.LINE_AA)


def _inset(picture: Image, canvas: Image, place: int, unit: float) -> None:
    """Draw canvas number `place` that the instance model saw into the lower right corner, the first rightmost."""
    side, gap = round(300 * unit), round(12 * unit)
    size = side, round(side * canvas.shape[0] / canvas.shape[1])
    x, y = picture.shape[1] - (size[0] + gap) * (place + 1), picture.shape[0] - size[1] - gap
    if x < 0 or y < 0:
        return
    picture[y : y + size[1], x : x + size[0]] = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    cv2.rectangle(picture, (x - 1, y - 1), (x + size[0], y + size[1]), WHITE, 1)
