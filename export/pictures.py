"""Pictures for the report: frame, float result, bundle result, difference, side by side."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np

from edge.types import Image, Instances
from export.cascade import Result
from export.metrics import matches, whole_box

WIDTH = 400  # pixels of one panel
QUALITY = 80  # JPEG
DIFFERENT, ONLY_FLOAT, ONLY_BUNDLE = (60, 60, 255), (255, 160, 0), (0, 140, 255)  # BGR


def panels(image: Image, reference: Result, product: Result) -> bytes:
    """Return the four panels of one frame as a JPEG."""
    scale = min(1.0, WIDTH / image.shape[1])
    small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    drawn = [small, _overlay(small, reference, scale), _overlay(small, product, scale)]
    row = np.hstack([*drawn, _difference(small, reference, product, scale)])
    return bytes(cv2.imencode(".jpg", row, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1])


def color_of(number: int) -> tuple[int, int, int]:
    """Return a BGR colour for a class number; neighbours differ much."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.618 % 1.0, 0.85, 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _overlay(small: Image, result: Result, scale: float) -> Image:
    shown: Image = small.copy()
    if result.labels is not None:
        labels = _sized(result.labels.classes, small)
        table = np.asarray([(0, 0, 0), *(color_of(i) for i in range(1, 256))], np.uint8)
        found = labels > 0
        shown[found] = (shown[found] * 0.55 + table[labels[found]] * 0.45).astype(np.uint8)
    if result.instances is not None:
        for i in range(len(result.instances)):
            _outline(shown, result.instances, i, scale, (255, 255, 255))
    return shown


def _outline(shown: Image, instances: Instances, i: int, scale: float, color: tuple[int, int, int]) -> None:
    x0, y0, x1, y1 = whole_box(instances, i)
    size = max(1, round((x1 - x0) * scale)), max(1, round((y1 - y0) * scale))
    mask = cv2.resize(instances.masks[i].view(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    corner = round(x0 * scale), round(y0 * scale)
    lines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE, offset=corner)
    cv2.drawContours(shown, lines, -1, color, 1, cv2.LINE_AA)


def _difference(small: Image, reference: Result, product: Result, scale: float) -> Image:
    """Show what differs on a dimmed frame: red pixels of another class, objects that only one side has."""
    shown: Image = (cv2.cvtColor(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) * 0.4).astype(np.uint8)
    if reference.labels is not None and product.labels is not None:
        shown[_sized(reference.labels.classes, small) != _sized(product.labels.classes, small)] = DIFFERENT
    if reference.instances is not None and product.instances is not None:
        pairs = matches(reference.instances, product.instances)
        for i in set(range(len(reference.instances))) - {i for i, _, _ in pairs}:
            _outline(shown, reference.instances, i, scale, ONLY_FLOAT)
        for j in set(range(len(product.instances))) - {j for _, j, _ in pairs}:
            _outline(shown, product.instances, j, scale, ONLY_BUNDLE)
    return shown


def _sized(labels: Image, small: Image) -> Image:
    size = small.shape[1], small.shape[0]
    return np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8)
