"""The semantic pass: frame -> labels, on every frame."""

from __future__ import annotations

import cv2
import numpy as np

from edge.bundle import Model
from edge.engines import Engine
from edge.errors import EngineError
from edge.types import Frame, Image, Labels


class SemanticPass:
    """Fits frames into the model's input, in one buffer that lives as long as the process.

    The buffer is `self.input`, shape (h, w, 3) uint8 BGR; it holds the last frame reduced.
    """

    def __init__(self, engine: Engine, model: Model) -> None:
        self._engine = engine
        self._model = model
        self.input: Image = np.full(model.input.shape, model.fill, np.uint8)
        self._halves: dict[tuple[int, int], Image] = {}  # (height, width) -> buffer; few, for cameras are few

    def __call__(self, frame: Frame) -> Labels:
        """Return the labels of `frame`, copied: another camera's are made before these are used up.

        Raises `EngineError` where one is of a class that the manifest does not name.
        """
        fitted = self._fit(frame.image)
        outputs = self._engine.infer({self._model.input.name: self.input})
        highest, named = int(outputs["labels"].max()), len(self._model.classes)
        if highest >= named:
            raise EngineError(
                f"semantic model: gives class {highest}, the manifest names {named} with the background; "
                "name them all in the recipe and export the bundle again"
            )
        return _cut(outputs["labels"], outputs.get("confidence"), fitted, frame.image, self.input)

    def _fit(self, image: Image) -> tuple[int, int]:
        """Resize `image` into the buffer; return the (width, height) it takes there."""
        width, height = fitted_size(image, self.input, self._model.fit)
        self.input[height:] = self._model.fill  # another camera's frame may have been there
        self.input[:, width:] = self._model.fill
        target = self.input[:height, :width]
        reduces = image.shape[1] > width  # area averaging keeps thin things that nearest or linear would skip
        way = cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
        cv2.resize(self._halved(image, width, height), (width, height), dst=target, interpolation=way)
        return width, height

    def _halved(self, image: Image, width: int, height: int) -> Image:
        """Return `image` halved as often as it helps on the way to `width` and `height`, in kept buffers.

        OpenCV averages two by two pixels several times faster than any other number of them.
        """
        while _half_helps(image, width, height):
            shape = image.shape[0] // 2, image.shape[1] // 2
            if shape not in self._halves:
                self._halves[shape] = np.empty((*shape, 3), np.uint8)
            half = self._halves[shape]
            image = np.asarray(cv2.resize(image, shape[::-1], dst=half, interpolation=cv2.INTER_AREA), np.uint8)
        return image


def _half_helps(image: Image, width: int, height: int) -> bool:
    """Tell whether half of `image` is a step on its way to `width` and `height`; the last step may be a half itself.

    Whole factors stay whole, so that what is averaged does not change. Others end with less than two: then a thin line
    may be spread over two pixels wherever it lies, not only between them.
    """
    rows, columns = image.shape[:2]
    more_rows, more_columns = 2 * height, 2 * width
    if rows % 2 or columns % 2 or (rows, columns) == (more_rows, more_columns):
        return False
    if rows % height == columns % width == 0:
        return bool(rows % more_rows == columns % more_columns == 0)
    return bool(rows >= more_rows and columns >= more_columns)


def fitted_size(image: Image, target: Image, fit: str) -> tuple[int, int]:
    """Return the (width, height) that `image` takes inside `target` under `fit`."""
    height, width = target.shape[:2]
    if fit == "stretch":
        return width, height
    scale = min(width / image.shape[1], height / image.shape[0])
    return max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))


def _cut(classes: Image, confidence: Image | None, fitted: tuple[int, int], image: Image, target: Image) -> Labels:
    """Cut the label maps to the part of the input that holds the frame."""
    stride_x, stride_y = target.shape[1] / classes.shape[1], target.shape[0] / classes.shape[0]
    columns, rows = max(1, round(fitted[0] / stride_x)), max(1, round(fitted[1] / stride_y))
    scale = image.shape[1] / fitted[0] * stride_x, image.shape[0] / fitted[1] * stride_y
    cut = None if confidence is None else confidence[:rows, :columns].copy()
    return Labels(classes[:rows, :columns].copy(), cut, scale)
