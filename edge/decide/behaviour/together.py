"""Objects and who is near them: left alone, or together with another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from edge import config
from edge.boxes import gaps_between
from edge.config import class_numbers
from edge.decide.behaviour.alerts import Alerts
from edge.decide.behaviour.contact import mask_gap
from edge.decide.behaviour.holds import Holds
from edge.decide.behaviour.scene import Scene
from edge.decide.zones import Stay
from edge.events import Alert
from edge.types import Gap, Tracks

MOST_PAIRS = 1000  # bounded state: of more pairs that are near, the nearest
MOST_MASKS = 32  # pairs whose masks are compared in one frame, the nearest by their boxes; of others nobody knows
SHIFT = 32  # bits of the second key in that of a pair

Pairs = npt.NDArray[np.int64]  # (p, 2) rows of tracks


class Unattended:
    """An object that stays still while nobody is near it, for `seconds` (after PETS 2006, with boxes for points).

    Still is slower than `speed_px_s`; nobody near: no box of `others` within `distance_px` of its box, edge to edge.
    """

    def __init__(self, rule: config.Unattended, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = class_numbers(rule.classes, classes, f"unattended {rule.name!r}: classes")
        self._others = class_numbers(rule.others, classes, f"unattended {rule.name!r}: others")
        self._holds = Holds(rule.seconds, rule.clear_s)
        self._alerts = Alerts(rule, rule.seconds, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return the alerts that begin and end."""
        tracks, place = scene.seen.tracks, scene.places[self._rule.zone]
        left = place.inside & np.isin(place.labels, self._classes)
        others = (tracks.ids > 0) & np.isin(tracks.classes, self._others)
        rows = np.flatnonzero(left)
        gaps = gaps_between(tracks.boxes[rows], tracks.boxes[others])
        gaps[rows[:, None] == np.flatnonzero(others)] = np.inf  # nobody attends to itself
        alone = gaps.min(axis=1, initial=np.inf) > self._rule.distance_px
        true = np.zeros(len(tracks), np.bool_)
        true[rows] = alone & (scene.speeds[rows] < self._rule.speed_px_s)
        on, lasted = self._holds.update(scene.seen.frame.time, tracks.keys, true, tracks.located | ~left)
        return self._alerts.update(scene, tracks.keys, on & left, lasted, lambda row: [row])

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the ends of all alerts."""
        self._holds.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alerts that last."""
        return self._alerts.open()


class Interaction:
    """Two objects, one of them in the zone, that are at most `distance_px` from each other for `seconds`.

    The distance is that of their boxes, edge to edge, or that of their masks, 0 where they touch or overlap.
    """

    def __init__(self, rule: config.Interaction, classes: list[str]) -> None:
        """`classes` are the names of the instance classes, the background first."""
        self._rule = rule
        self._classes = class_numbers(rule.classes, classes, f"interaction {rule.name!r}: classes")
        self._others = class_numbers(rule.others, classes, f"interaction {rule.name!r}: others")
        self._holds = Holds(rule.seconds, rule.clear_s)
        self._alerts = Alerts(rule, rule.seconds, classes)

    def decide(self, scene: Scene) -> Sequence[Alert]:
        """Return the alerts that begin and end."""
        tracks = scene.seen.tracks
        before = _rows_of(self._holds.holding(), tracks)
        pairs = _joined(before, self._near(scene), tracks)
        near, known = self._judged(tracks, pairs, scene)
        keys = _keys_of(pairs, tracks)
        on, lasted = self._holds.update(scene.seen.frame.time, keys, near, known)
        return self._alerts.update(scene, keys, on, lasted, lambda pair: pairs[pair].tolist())

    def blind(self, gap: Gap, left: Mapping[str, list[Stay]]) -> Sequence[Alert]:  # noqa: ARG002  as all rules have it
        """Return the ends of all alerts."""
        self._holds.clear()
        return self._alerts.blind(gap)

    def open(self) -> list[Alert]:
        """Return the alerts that last."""
        return self._alerts.open()

    def _near(self, scene: Scene) -> Pairs:
        """Return the pairs whose boxes are near enough, the nearest first, each once with the smaller key first."""
        tracks = scene.seen.tracks
        mine, others = (np.flatnonzero(some) for some in self._parties(scene))
        gaps = gaps_between(tracks.boxes[mine], tracks.boxes[others])
        near = (gaps <= self._rule.distance_px) & (mine[:, None] != others)
        if not near.any():
            return np.zeros((0, 2), np.int64)
        a, b = np.nonzero(near)
        order = np.argsort(gaps[a, b], kind="stable")
        pairs = _ordered(np.stack([mine[a[order]], others[b[order]]], axis=1), tracks)
        _, first = np.unique(_keys_of(pairs, tracks), return_index=True)
        return pairs[np.sort(first)]

    def _parties(self, scene: Scene) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return (n,) who is in the zone and of its classes, and (n,) who is of the others."""
        tracks, place = scene.seen.tracks, scene.places[self._rule.zone]
        mine = place.inside & np.isin(place.labels, self._classes)
        return mine, (tracks.ids > 0) & np.isin(tracks.classes, self._others)

    def _judged(
        self, tracks: Tracks, pairs: Pairs, scene: Scene
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Return (p,) which of `pairs` are near each other, and (p,) of which that is known."""
        mine, others = self._parties(scene)
        one, two = pairs.T
        fits = (mine[one] & others[two]) | (mine[two] & others[one])
        a, b = tracks.boxes[one], tracks.boxes[two]
        gaps = np.hypot(*np.maximum(np.maximum(a[:, :2] - b[:, 2:], b[:, :2] - a[:, 2:]), 0).T)
        near = fits & (gaps <= self._rule.distance_px)
        known = tracks.located[pairs].all(axis=1) | ~fits
        if self._rule.by == "masks":
            asked = np.flatnonzero(near & known)
            asked = asked[np.argsort(gaps[asked], kind="stable")]
            known[asked[MOST_MASKS:]] = False
            for pair in asked[:MOST_MASKS].tolist():
                near[pair] = _mask_gap(tracks, *pairs[pair].tolist()) <= self._rule.distance_px
        return near, known


def _mask_gap(tracks: Tracks, one: int, two: int) -> float:
    return mask_gap(tracks.boxes[one], tracks.masks[one], tracks.boxes[two], tracks.masks[two])


def _ordered(pairs: Pairs, tracks: Tracks) -> Pairs:
    """Return `pairs` with the smaller key of each first."""
    swapped = tracks.keys[pairs[:, 0]] > tracks.keys[pairs[:, 1]]
    return np.where(swapped[:, None], pairs[:, ::-1], pairs)


def _keys_of(pairs: Pairs, tracks: Tracks) -> npt.NDArray[np.int64]:
    """Return (p,) one key for each pair."""
    return np.asarray((tracks.keys[pairs[:, 0]] << SHIFT) | tracks.keys[pairs[:, 1]])


def _rows_of(keys: npt.NDArray[np.int64], tracks: Tracks) -> Pairs:
    """Return the pairs with these `keys` (p,) of which both tracks are still there."""
    order = np.argsort(tracks.keys)
    known = tracks.keys[order]
    both = np.stack([keys >> SHIFT, keys & ((1 << SHIFT) - 1)], axis=1)
    both = both[np.isin(both, known).all(axis=1)]
    return np.asarray(order[np.searchsorted(known, both)], np.int64)


def _joined(before: Pairs, now: Pairs, tracks: Tracks) -> Pairs:
    """Return the pairs of `before`, and those of `now` that are not among them, as many as there is room for."""
    new = now[~np.isin(_keys_of(now, tracks), _keys_of(before, tracks))]
    return np.concatenate([before, new[: max(0, MOST_PAIRS - len(before))]])
