"""Pictures for the report: the frame, and where the two sides differ most in it, large enough to see."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image, Instances
from export.cascade import Result
from export.metrics import matches, pasted, whole_box

WIDTH = 800  # pixels of one panel; a frame that is wider is cut to as many of its own, around what matters
GAP = 8  # pixels between panels
TITLE = 32  # pixels above a panel that carry its title
QUALITY = 80  # JPEG
TINT = 0.3  # share of a class's colour in what is drawn of it
WHITE, DIFFERENT, ONLY_FLOAT, ONLY_BUNDLE = (255, 255, 255), (60, 60, 255), (255, 160, 0), (0, 140, 255)  # BGR
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Window:
    """The part of a frame that is shown, in frame pixels."""

    x: int
    y: int
    width: int
    height: int
    panel: int = WIDTH  # pixels that it is wide when it is shown

    @property
    def scale(self) -> float:
        """Return panel pixels per frame pixel."""
        return self.panel / self.width

    def cut(self, picture: Image, interpolation: int) -> Image:
        """Return this part of a picture as large as the frame, enlarged to a panel."""
        part = picture[self.y : self.y + self.height, self.x : self.x + self.width]
        size = self.panel, max(1, round(self.height * self.scale))
        return np.asarray(cv2.resize(part, size, interpolation=interpolation))


def panels(image: Image, reference: Result, product: Result, truth: Result | None = None) -> bytes:
    """Return the panels of one frame as a JPEG: frame and difference above, float models and bundle below.

    With `truth` there is a third column before the difference: the part itself, and the truth of it.
    """
    window = _where(image, reference, product)
    part = window.cut(image, cv2.INTER_LINEAR)
    above = [("frame", _whole(image, window)), ("difference", _difference(part, reference, product, window, image))]
    below = [
        ("float models", _overlay(part, reference, window, image)),
        ("bundle", _overlay(part, product, window, image)),
    ]
    if truth is not None:
        above.insert(1, ("part of it", part))
        below.insert(0, ("truth", _overlay(part, truth, window, image)))
    drawn = [_beside([_titled(shown, title) for title, shown in row], axis=1) for row in (above, below)]
    return bytes(cv2.imencode(".jpg", _beside(drawn, axis=0), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def color_of(number: int) -> tuple[int, int, int]:
    """Return a BGR colour for a class number; neighbours differ much."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1.0, 0.85, 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _where(image: Image, reference: Result, product: Result) -> Window:
    """Return the window that holds most of the difference; where there is none, most of what was found."""
    height, width = image.shape[:2]
    wide, high = min(width, WIDTH), min(height, max(1, round(WIDTH * height / width)))
    matter = _differing(image, reference, product)
    matter = matter if matter.any() else _found(image, reference)
    sums = cv2.boxFilter(matter.astype(np.float32), -1, (wide, high), normalize=False, borderType=cv2.BORDER_CONSTANT)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    first = _around(int(column), int(row), wide, high, image)
    rows, columns = np.nonzero(matter[first.y : first.y + high, first.x : first.x + wide])
    if not rows.size:
        return _around(width // 2, height // 2, wide, high, image)
    return _around(first.x + int(columns.mean()), first.y + int(rows.mean()), wide, high, image)


def _around(x: int, y: int, wide: int, high: int, image: Image) -> Window:
    """Return the window of this size whose middle is as near to (x, y) as the frame allows."""
    height, width = image.shape[:2]
    return Window(min(max(x - wide // 2, 0), width - wide), min(max(y - high // 2, 0), height - high), wide, high)


def _differing(image: Image, reference: Result, product: Result) -> Mask:
    found = np.zeros(image.shape[:2], np.bool_)
    if reference.labels is not None and product.labels is not None:
        found |= _sized(reference.labels.classes, image) != _sized(product.labels.classes, image)
    for instances, numbers, _ in _lone(reference, product):
        for i in numbers:
            found |= pasted(instances, i, (0, 0), (image.shape[1], image.shape[0]))
    return found


def _found(image: Image, result: Result) -> Mask:
    """Return where anything is."""
    found = np.zeros(image.shape[:2], np.bool_)
    if result.labels is not None:
        found |= _sized(result.labels.classes, image) > 0
    if result.instances is not None:
        for i in range(len(result.instances)):
            found |= pasted(result.instances, i, (0, 0), (image.shape[1], image.shape[0]))
    return found


def _lone(reference: Result, product: Result) -> list[tuple[Instances, set[int], tuple[int, int, int]]]:
    """Return the objects that only one side has, and their colour."""
    if reference.instances is None or product.instances is None:
        return []
    pairs = matches(reference.instances, product.instances)
    only_float = set(range(len(reference.instances))) - {i for i, _, _ in pairs}
    only_bundle = set(range(len(product.instances))) - {j for _, j, _ in pairs}
    return [(reference.instances, only_float, ONLY_FLOAT), (product.instances, only_bundle, ONLY_BUNDLE)]


def _whole(image: Image, window: Window) -> Image:
    """Return the whole frame with the window drawn into it."""
    height, width = image.shape[:2]
    everything = Window(0, 0, width, height)
    shown = everything.cut(image, cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR)
    if window != everything:
        corners = np.asarray([window.x, window.y, window.x + window.width, window.y + window.height])
        x0, y0, x1, y1 = (corners * everything.scale).round().astype(int).tolist()
        cv2.rectangle(shown, (x0, y0), (x1 - 1, y1 - 1), WHITE, 2)
    return shown


def _overlay(part: Image, result: Result, window: Window, image: Image) -> Image:
    shown: Image = part.copy()
    if result.labels is not None:
        labels = window.cut(_sized(result.labels.classes, image), cv2.INTER_NEAREST)
        table = np.asarray([(0, 0, 0), *(color_of(i) for i in range(1, 256))], np.uint8)
        found = labels > 0
        shown[found] = (shown[found] * (1 - TINT) + table[labels[found]] * TINT).astype(np.uint8)
    if result.instances is not None:
        for i in range(len(result.instances)):
            outline(shown, result.instances, i, window, WHITE)
    return shown


def outline(shown: Image, instances: Instances, i: int, window: Window, color: tuple[int, int, int]) -> None:
    """Draw the outline of one object on `shown`, which is the window of its frame."""
    x0, y0, x1, y1 = whole_box(instances, i)
    size = max(1, round((x1 - x0) * window.scale)), max(1, round((y1 - y0) * window.scale))
    mask = cv2.resize(instances.masks[i].view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    corner = round((x0 - window.x) * window.scale), round((y0 - window.y) * window.scale)
    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
    cv2.drawContours(shown, lines, -1, color, 2, cv2.LINE_AA)


def _difference(part: Image, reference: Result, product: Result, window: Window, image: Image) -> Image:
    """Show what differs on a dimmed frame: red pixels of another class, objects that only one side has."""
    shown: Image = (cv2.cvtColor(cv2.cvtColor(part, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) * 0.4).astype(np.uint8)
    if reference.labels is not None and product.labels is not None:
        maps = (_sized(result.classes, image) for result in (reference.labels, product.labels))
        first, second = (window.cut(labels, cv2.INTER_NEAREST) for labels in maps)
        shown[first != second] = DIFFERENT
    for instances, numbers, color in _lone(reference, product):
        for i in numbers:
            outline(shown, instances, i, window, color)
    return shown


def _titled(shown: Image, title: str) -> Image:
    """Put the title above a panel."""
    strip = np.full((TITLE, shown.shape[1], 3), 255, np.uint8)
    cv2.putText(strip, title, (4, TITLE - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (34, 34, 34), 1, cv2.LINE_AA)
    return np.concatenate([strip, shown])


def _beside(pictures: list[Image], axis: int) -> Image:
    """Join pictures with a white gap between them."""
    first, *others = pictures
    gap = np.full((GAP, first.shape[1], 3) if axis == 0 else (first.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate([first, *(part for other in others for part in (gap, other))], axis=axis)


def _sized(labels: Image, image: Image) -> Image:
    """Return a label map at the size of its frame."""
    size = image.shape[1], image.shape[0]
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
