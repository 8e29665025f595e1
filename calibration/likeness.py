"""How alike two sets of frames are, by light, colour and edges: whether calibration saw what the camera will see."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from edge.types import Image

SIZE = (256, 144)  # width, height at which frames are looked at
SHARES = (5, 25, 50, 75, 95)  # percentiles of lightness and of both colour axes
EDGE_SHARES = (50, 90, 99)  # percentiles of the steps between neighbours
EDGE_WEIGHT = 20.0  # levels for each factor of e between the steps
FLAT_LEVELS = 4.0  # standard deviation of a frame's grey levels below which there is nothing in it
FAR_LEVELS, FAR_SPREADS = 12.0, 2.0  # from what distance on a frame is foreign: both

Looks = npt.NDArray[np.float32]


def look(image: Image) -> Looks:
    """Return what a picture (h, w, 3) BGR is like, (18,): percentiles of CIE Lab in levels of 8 bits, and of edges.

    Where things are in the picture does not matter, so that two frames of one scene are alike.
    """
    lab = cv2.cvtColor(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2LAB).astype(np.float32)
    levels = np.percentile(lab.reshape(-1, 3), SHARES, axis=0).reshape(-1)
    steps = np.percentile(np.abs(np.diff(lab[..., 0], axis=1)), EDGE_SHARES)
    return np.append(levels, EDGE_WEIGHT * np.log1p(steps)).astype(np.float32)


def is_flat(image: Image) -> bool:
    """Return whether a picture is black or otherwise constant."""
    small = cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)
    return float(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).std()) < FLAT_LEVELS


def foreign_share(known: Iterable[Looks], seen: Iterable[Looks]) -> tuple[float, float]:
    """Return the share of the frames `seen` that are unlike all frames `known`, and the median distance in levels.

    A frame is foreign where its nearest known one is farther than `FAR_LEVELS` (root mean square of its percentiles)
    and farther than `FAR_SPREADS` times what is usual between a frame of `seen` and the nearest other one of it.
    """
    a, b = np.stack(list(known)), np.stack(list(seen))
    nearest = _distances(b, a).min(axis=1)
    among = _distances(b, b)
    np.fill_diagonal(among, np.inf)
    usual = float(np.median(among.min(axis=1))) if len(b) > 1 else 0.0
    foreign = (nearest > FAR_LEVELS) & (nearest > FAR_SPREADS * usual)
    return float(foreign.mean()), float(np.median(nearest))


def _distances(a: Looks, b: Looks) -> Looks:
    """Return the root mean square difference of every row of `a` (n, d) and of `b` (m, d), as (n, m)."""
    return np.asarray(np.sqrt(((a[:, None] - b[None]) ** 2).mean(axis=2)), np.float32)
