"""What the looks at each part say of its size: told where it crosses a line, and judged at a gate."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from edge.boxes import touches_border
from edge.config import MOST_LOOKS, Camera, SizeLimits
from edge.decide.contact import contact_px
from edge.decide.measure import LENGTH, SCALE, TOUCH, combined, flaws_in, measured_look, plane_of
from edge.events import Count, Event, Measured, Measurement
from edge.types import Gap, Seen, Tracks

if TYPE_CHECKING:  # it makes us
    from edge.decide.rules import Rule

SHARPEST = 0.9  # canvas pixels per frame pixel below which a look is too coarse to measure by
SEVERITY = ("PASS", "REVIEW", "REJECT")


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look says of a part and of its defects, as `measured_look` and `flaws_in` give it."""

    whole: npt.NDArray[np.float64]  # (7,)
    flaws: npt.NDArray[np.float64]  # (d, 7)


@dataclass(frozen=True, slots=True)
class Size:
    """What is known of the size of a part."""

    measures: dict[str, Measured]  # of the part, and of each defect class that half of the looks show; by quantity
    looks: int  # behind them
    touched: bool  # by another object


class Sizes:
    """The sizes of the parts of one camera, look by look; they die with their track.

    Looks count that are complete, at native resolution, and not cut by the frame's border; the newest are kept.
    """

    def __init__(self, camera: Camera, setting: str, defects: list[str]) -> None:
        """`defects` are the defect classes; raises `ConfigError` that begins with `setting` where there is no scale."""
        self._defects = defects
        self._plane = plane_of(camera, setting)
        self._rules = camera.measure
        self._edge_px = camera.measure.edge_px if camera.measure is not None else 0.0
        self._looks: dict[int, deque[_Look]] = {}

    def decide(self, seen: Seen) -> list[Event]:
        """Measure what was looked at in this frame, and return nothing: lines and gates tell."""
        tracks, instances = seen.tracks, seen.instances
        for key in seen.ended:
            self._looks.pop(key, None)
        rows = np.flatnonzero(tracks.instances >= 0)
        found = tracks.instances[rows]
        size = seen.frame.image.shape[1], seen.frame.image.shape[0]
        usable = (instances.scales[found] >= SHARPEST) & ~touches_border(instances.boxes[found], size)
        for row, i in zip(rows[usable].tolist(), found[usable].tolist(), strict=True):
            touched = contact_px(row, tracks.boxes, tracks.masks)
            box, mask, area = instances.boxes[i], instances.masks[i], float(instances.areas_px[i])
            whole = measured_look(box, mask, area, touched, self._plane, self._edge_px)
            look = _Look(whole, flaws_in(instances, i, whole[SCALE]))
            self._looks.setdefault(int(tracks.keys[row]), deque(maxlen=MOST_LOOKS)).append(look)
        return []

    def blind(self, gap: Gap, tracks: Tracks) -> list[Event]:  # noqa: ARG002  as all rules have it
        """Forget all parts."""
        self._looks.clear()
        return []

    def looks(self, key: int) -> int:
        """Return how many looks say how large a part is."""
        return len(self._looks.get(key, ()))

    def of(self, key: int) -> Size:
        """Return how large a part is; nothing where there was no look."""
        looks, rules = self._looks.get(key), self._rules
        if not looks or rules is None:
            return Size({}, 0, touched=False)
        whole = np.asarray([look.whole for look in looks])
        measures = combined(whole, rules)
        fading = msgspec.structs.replace(rules, edge_u_px=rules.defect_u_px / 2)  # at either end
        flaws = np.asarray([look.flaws for look in looks])
        for name, rows in zip(self._defects, flaws.swapaxes(0, 1), strict=True):
            shown = rows[rows[:, LENGTH] > 0]
            if 2 * len(shown) >= len(looks):
                measures |= {f"{name}/{quantity}": size for quantity, size in combined(shown, fading).items()}
        return Size(measures, len(looks), touched=bool(np.median(whole[:, TOUCH]) > 0))


class SizedLine:
    """A line's counter that also says how large what it counts is."""

    def __init__(self, counter: Rule, name: str, classes: list[str], sizes: Sizes) -> None:
        """`name` is the line's; `classes` are the instance classes, the background first."""
        self._counter, self._name, self._classes, self._sizes = counter, name, classes, sizes

    def decide(self, seen: Seen) -> list[Event]:
        """Return the counts of this frame, and after them a measurement of each object that is counted."""
        events = list(self._counter.decide(seen))
        counts = [event for event in events if isinstance(event, Count)]
        return [*events, *(self._measurement(seen, count) for count in counts)]

    def blind(self, gap: Gap, tracks: Tracks) -> Sequence[Event]:
        """Return what a time without sight means for the counter."""
        return self._counter.blind(gap, tracks)

    def _measurement(self, seen: Seen, count: Count) -> Measurement:
        row = int(np.flatnonzero(seen.tracks.ids == count.track)[0])
        size = self._sizes.of(int(seen.tracks.keys[row]))
        return Measurement(
            time=count.time,
            camera=count.camera,
            frame=count.frame,
            line=self._name,
            track=count.track,
            label=self._classes[seen.tracks.classes[row]],
            position=count.position,
            measures=size.measures,
            looks=size.looks,
            touched=size.touched,
        )


def conformity(measures: dict[str, Measured], limits: SizeLimits, fail_safe: str) -> tuple[str, list[str]]:
    """Return the verdict on sizes against their limits, and why it is not PASS; `fail_safe` where nothing is known.

    The decision rule is that of ISO 14253-1: a part whose whole interval (value and expanded uncertainty) lies within
    the limits conforms, one whose whole interval lies outside does not and is rejected; of one whose interval holds a
    limit neither is proven: it is for review.
    """
    verdict, reasons = "PASS", []
    wanted = {name: limit for name in limits.__struct_fields__ if (limit := getattr(limits, name)) is not None}
    for name, (low, high) in wanted.items():
        what, unit = name.rsplit("_", 1)
        size = measures.get(name)
        if size is None:
            worse, why = fail_safe, f"{what} not measured"
        elif size.value + size.uncertainty < low or size.value - size.uncertainty > high:
            worse, why = "REJECT", f"{what} {size.value:.2f} ± {size.uncertainty:.2f} {unit}"
        elif size.value - size.uncertainty < low or size.value + size.uncertainty > high:
            worse, why = "REVIEW", f"{what} {size.value:.2f} ± {size.uncertainty:.2f} {unit} at a limit"
        else:
            continue
        verdict = max(verdict, worse, key=SEVERITY.index)
        reasons.append(why)
    return verdict, reasons
