"""What an object looks like, as one vector of length 1: the product of two says how much alike they look.

From the pixels of the mask, in parts that are each a histogram: their square roots are kept, so that the product of two
is the Bhattacharyya coefficient of the histograms (Bhattacharyya, 1943). `Stripes` are for what stands upright, as in
the re-identification of people (Gray and Tao, 2008; Farenzena et al., 2010): colours by height. `Rings` are for what
lies any way round: nothing in them changes when it is turned. Or from a network that was trained for it.
"""

from __future__ import annotations

from typing import Final, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge.bundle import Model
from edge.engines import Engine
from edge.errors import ConfigError
from edge.types import Image, Instances

Vectors = npt.NDArray[np.float32]  # (k, d)
Histogram = npt.NDArray[np.float32]
Place = tuple[int, int, int, int]  # a crop: x0, y0, x1, y1, frame pixels inside the frame

MOST_CROPS: Final = 32  # of one frame whose colours are taken
MOST_EMBEDDED: Final = 4  # the same for a network
GRID: Final = (32, 64)  # width and height that an upright object is brought to
SIDE: Final = 64  # the longer side that any other is brought to
SHADES: Final = 32  # of each of blue, green and red in the table of colours
TINTS: Final = 5  # bins of CIELAB a, and of b
FINE: Final = 8, 12.0, 6.0  # bins of lightness, and the width of one and of one of a and b, for stripes
COARSE: Final = 5, 20.0, 12.0  # the same for rings
STRIPES: Final = 6  # from head to foot
RINGS: Final = (0.6, 1.0)  # between rings of colour, in radii of a disc of the same area
POWERS: Final = {"near": 1, "middle": 2, "far": 4}  # means of the distance from the centre, in the same unit
AWAY_LOW, AWAY_HIGH, AWAY_STEP = 0.5, 1.7, 0.02
RATIO_LIMIT, RATIO_STEP = 0.5, 0.01  # of the logarithms of blue and red over green
AREA_LOW, AREA_HIGH, AREA_STEP = 4.0, 13.0, 0.1  # of the logarithm of the area, frame pixels
LONG_HIGH, LONG_STEP = 1.6, 0.05  # of that of length over width, by second moments
SHARES: Final = {
    "colours": 0.2,
    "near": 0.2 / 3,
    "middle": 0.2 / 3,
    "far": 0.2 / 3,
    "blue": 0.2,
    "red": 0.2,
    "area": 0.1,
    "long": 0.1,
}


class Appearance(Protocol):
    """Says what objects look like."""

    size: int  # of a vector
    most: int  # objects of one frame that it is asked for

    def __call__(self, image: Image, instances: Instances, at: npt.NDArray[np.int64]) -> Vectors:
        """Return (k, d) float32, vectors of length 1, of the instances `at` (k,) in the frame `image` (h, w, 3)."""
        ...


def appearance_of(kind: str, embedder: Appearance | None) -> Appearance:
    """Return what gives appearances of a `kind`, stripes, rings or model; `embedder` is the bundle's.

    Raises `ConfigError` where the bundle has none and it is asked for.
    """
    if kind == "stripes":
        return Stripes()
    if kind == "rings":
        return Rings()
    if embedder is None:
        raise ConfigError(
            "tracks.reidentify.appearance: is model, and the bundle has no appearance model; export one with it "
            "(docs/export.md), or set stripes or rings"
        )
    return embedder


class Stripes:
    """Colours in `STRIPES` stripes of equal height: one histogram over both."""

    size = STRIPES * FINE[0] * TINTS**2
    most = MOST_CROPS

    def __init__(self) -> None:
        self._table = _table(*FINE)
        self._rows = np.repeat(np.arange(GRID[1]) * STRIPES // GRID[1], GRID[0])

    def __call__(self, image: Image, instances: Instances, at: npt.NDArray[np.int64]) -> Vectors:
        """Return (k, d) float32, vectors of length 1, of the instances `at` (k,) in the frame `image` (h, w, 3)."""
        return _stacked([self._one(image, instances, i) for i in at.tolist()], self.size)

    def _one(self, image: Image, instances: Instances, i: int) -> Histogram:
        pixels, inside = _crop(image, instances, i, GRID)
        colours = np.take(self._table, _shade(pixels)).ravel()
        where = inside.ravel() > 0
        counts = np.bincount((self._rows * (FINE[0] * TINTS**2) + colours)[where], minlength=self.size).astype(
            np.float32
        )
        return _rooted(counts)


class Rings:
    """Colours by distance from the centre, how far the mask reaches, its mean colour, its area and how long it is.

    The weights `SHARES` and the widths of the bumps were chosen on parts of the belt (`benchmarks reid`, seed 2100).
    """

    colours = (len(RINGS) + 1) * COARSE[0] * TINTS**2
    size = colours + sum(
        bins
        for bins in (
            len(POWERS) * (round((AWAY_HIGH - AWAY_LOW) / AWAY_STEP) + 1),
            2 * (round(2 * RATIO_LIMIT / RATIO_STEP) + 1),
            round((AREA_HIGH - AREA_LOW) / AREA_STEP) + 1,
            round(LONG_HIGH / LONG_STEP) + 1,
        )
    )
    most = MOST_CROPS

    def __init__(self) -> None:
        self._table = _table(*COARSE)

    def __call__(self, image: Image, instances: Instances, at: npt.NDArray[np.int64]) -> Vectors:
        """Return (k, d) float32, vectors of length 1, of the instances `at` (k,) in the frame `image` (h, w, 3)."""
        return _stacked([self._one(image, instances, i) for i in at.tolist()], self.size)

    def _one(self, image: Image, instances: Instances, i: int) -> Histogram:
        x0, y0, x1, y1 = instances.boxes[i].tolist()
        scale = SIDE / max(x1 - x0, y1 - y0, 1.0)
        grid = max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale))
        pixels, inside = _crop(image, instances, i, grid)
        rows, columns = inside.nonzero()
        away, long = _moments(rows, columns)
        colours = np.take(self._table, _shade(pixels[rows, columns]))
        ring = np.searchsorted(RINGS, away)
        counts = np.bincount(ring * (COARSE[0] * TINTS**2) + colours, minlength=self.colours).astype(np.float32)
        means = {name: float((away**power).mean()) ** (1 / power) for name, power in POWERS.items()}
        blue, green, red = np.log(pixels[rows, columns].sum(axis=0, dtype=np.float64) + 1)
        parts = {
            "colours": _rooted(_spread(counts)),
            **{name: _bump(mean, AWAY_LOW, AWAY_HIGH, AWAY_STEP) for name, mean in means.items()},
            "blue": _bump(blue - green, -RATIO_LIMIT, RATIO_LIMIT, RATIO_STEP),
            "red": _bump(red - green, -RATIO_LIMIT, RATIO_LIMIT, RATIO_STEP),
            "area": _bump(float(np.log(max(instances.areas_px[i], 1.0))), AREA_LOW, AREA_HIGH, AREA_STEP),
            "long": _bump(long, 0.0, LONG_HIGH, LONG_STEP),
        }
        return np.concatenate([np.float32(SHARES[name] ** 0.5) * part for name, part in parts.items()])


class Embedder:
    """A network that gives a vector for a crop; `docs/bundle.md` has its input and output."""

    most = MOST_EMBEDDED

    def __init__(self, engine: Engine, model: Model) -> None:
        """`engine` runs the bundle's `appearance` model, `model`, in the thread that opened it."""
        self._engine = engine
        self._input = model.input
        self._output = model.outputs[0].name
        self.size = model.outputs[0].shape[0]

    def __call__(self, image: Image, instances: Instances, at: npt.NDArray[np.int64]) -> Vectors:
        """Return (k, d) float32, vectors of length 1, of the instances `at` (k,) in the frame `image` (h, w, 3)."""
        height, width, _ = self._input.shape
        found = []
        for i in at.tolist():
            x0, y0, x1, y1 = _place(instances, i, image)
            crop = cv2.resize(image[y0:y1, x0:x1], (width, height), interpolation=cv2.INTER_LINEAR)
            found.append(self._engine.infer({self._input.name: crop})[self._output].copy())
        return _stacked(found, self.size)


def _place(instances: Instances, i: int, image: Image) -> Place:
    """Return the box of an instance in whole pixels inside the frame, one pixel at least."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = instances.boxes[i].round().astype(int).tolist()
    x0, y0 = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
    return x0, y0, max(min(x1, width), x0 + 1), max(min(y1, height), y0 + 1)


def _crop(image: Image, instances: Instances, i: int, grid: tuple[int, int]) -> tuple[Image, npt.NDArray[np.uint8]]:
    """Return the pixels of an instance at the size `grid` (width, height), and where its mask is, 1 and 0.

    The rim is left out, where the background shines through, unless nothing else would be left.
    """
    x0, y0, x1, y1 = _place(instances, i, image)
    shrinks = (x1 - x0) * (y1 - y0) > grid[0] * grid[1]
    way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pixels = cv2.resize(image[y0:y1, x0:x1], grid, interpolation=way)
    inside = cv2.resize(instances.masks[i].view(np.uint8), grid, interpolation=cv2.INTER_NEAREST)
    inner = cv2.erode(inside, np.ones((3, 3), np.uint8))
    for mask in (inner, inside):
        if mask.any():
            return np.asarray(pixels, np.uint8), np.asarray(mask, np.uint8)
    return np.asarray(pixels, np.uint8), np.ones(grid[::-1], np.uint8)  # a mask without a cell


def _moments(rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], float]:
    """Return how far each of the cells (n,) is from the middle of them all, and how long these are.

    The first in radii of a disc of as many cells, the second the logarithm of length over width, by second moments.
    """
    y, x = rows - rows.mean(), columns - columns.mean()
    xx, yy, xy = float((x * x).mean()), float((y * y).mean()), float((x * y).mean())
    spread = float(np.hypot(xx - yy, 2 * xy))
    least = max(xx + yy - spread, 1e-3)
    return np.hypot(x, y) * (np.pi / len(rows)) ** 0.5, 0.5 * float(np.log(max(xx + yy + spread, least) / least))


def _table(lights: int, light_step: float, tint_step: float) -> npt.NDArray[np.int64]:
    """Return (SHADES ** 3,) the colour bin of every blue, green and red of `SHADES` levels each."""
    levels = (np.arange(SHADES, dtype=np.float32) + 0.5) / SHADES
    every = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)
    lab = cv2.cvtColor(every, cv2.COLOR_BGR2Lab)[0]
    light = np.clip(lab[:, 0] // light_step, 0, lights - 1)
    tints = np.clip(np.round(lab[:, 1:] / tint_step) + TINTS // 2, 0, TINTS - 1)
    return np.asarray((light * TINTS + tints[:, 0]) * TINTS + tints[:, 1], np.int64)


def _shade(pixels: Image) -> npt.NDArray[np.int64]:
    """Return the place of each of `pixels` (…, 3) in the table of colours."""
    levels = pixels // np.uint8(256 // SHADES)
    return np.asarray(levels @ np.asarray([SHADES**2, SHADES, 1], np.int64))


def _spread(counts: Histogram) -> Histogram:
    """Let every coarse colour (n * bins,) count for its neighbours too: noise moves it over the border of a bin."""
    bins = counts.reshape(-1, COARSE[0], TINTS, TINTS)
    for axis in (1, 2, 3):
        bins = _blurred(bins, axis)
    return bins.reshape(-1)


def _blurred(values: Histogram, axis: int) -> Histogram:
    """Return `values` with a quarter of each given to either neighbour along `axis`; what has none there keeps it."""
    moved = np.moveaxis(values, axis, 0)
    padded = np.concatenate([moved[:1], moved, moved[-1:]])
    blurred = 0.25 * (padded[:-2] + padded[2:]) + 0.5 * moved
    return np.asarray(np.moveaxis(blurred, 0, axis), np.float32)


def _rooted(counts: Histogram) -> Histogram:
    """Return the square roots of the shares in a histogram."""
    return np.asarray(np.sqrt(counts / max(float(counts.sum()), 1e-9)), np.float32)


def _bump(value: float, low: float, high: float, step: float) -> Histogram:
    """Return a number as the square root of a histogram: a Gaussian of deviation `step` round it.

    The product of two is exp(-(difference / step) ** 2 / 8): 0.88 where they are one step apart, 0.61 for two.
    """
    bins = np.linspace(low, high, round((high - low) / step) + 1)
    weights = np.exp(-0.5 * ((bins - np.clip(value, low, high)) / step) ** 2)
    return _rooted(weights.astype(np.float32))


def _stacked(vectors: list[Histogram], size: int) -> Vectors:
    return np.asarray(vectors, np.float32).reshape(-1, size)
