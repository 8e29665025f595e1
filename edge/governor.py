"""The governor: where rounds take too long or the machine gets too hot, less is looked at, step by step, and said so.

A round is what the frames that are looked at together take, all stages of it. Its limit is kept where no more than 1 %
of the rounds take longer. A step down is taken when the rounds since the last change surely do not keep it; a step back
when they stay well below it for a while and would keep it at what that step has been measured to cost. A step back that
did not last is tried again after ever longer times, so that nothing flaps.

No time is read here: a replay has no governor (`pipeline.run`), and a test has any clock it likes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from edge import config
from edge.events import GovernorEvent
from edge.heat import Thermometer, hottest
from edge.rounds import AFTER, BEFORE, ENOUGH, SURE, SURE_STILL, WINDOW, Calm, Costs, Rounds, p99
from edge.types import FULL, Effort, Frame

STEPS = {  # in the order in which they are taken; each leaves less than the one before
    "full": FULL,
    "half": Effort(part=0.5),
    "quarter": Effort(part=0.25),
    "unaudited": Effort(part=0.25, audit=False),
    "coarse": Effort(part=0.25, audit=False, coarse=True),
    "deadlines": Effort(part=0.25, audit=False, coarse=True, deadlines=True),
    "skipping": Effort(part=0.25, audit=False, coarse=True, deadlines=True, every=2),
}
AIM = 0.9  # of the limit, that is kept: who steers for the limit itself is beyond it half of the time
FAR = 1.5  # times the limit, beyond which two steps are taken at once, or as many as were measured to be needed
SOON_S = 5.0  # after a step down, within which less has to be seen for another one
WARM_UP = 8  # first rounds of all, which do not count: engines are slow at first
CALM = 0.7  # of the limit, below which a step may be given back
FIRST_HOLD_S, MOST_HOLD_S = 5.0, 300.0  # for how long it must be calm before that
RELAPSE_S = 300.0  # a step back that has to be taken again within it came too early
HEAT_S = 10.0  # between two steps down because of it: heat takes its time
COOLER = 5.0  # degrees below the limit at which a step may be given back
log = logging.getLogger(__name__)


class Governor:
    """Says what may be spent on the next round, by how long the last ones took."""

    def __init__(
        self,
        rules: config.Governor,
        steps: Sequence[int],
        celsius: Callable[[], float | None],
        *,
        simulated: bool = False,
    ) -> None:
        """`steps` are the numbers of those of `STEPS` that make a difference here, 0 first; `celsius` may be slow."""
        self._rules = rules
        self._steps = list(steps)
        self._simulated = simulated
        self._at = 0  # index of the present one
        self._rounds, self._calm, self._heat, self._costs = Rounds(), Calm(), Thermometer(celsius), Costs()
        self._warm_up = WARM_UP
        self._holds_s: dict[int, float] = {}  # by index of the step: longer where giving it back did not last
        self._returned: tuple[int, float] | None = None  # the step that was given back last, and when
        self._went_down = False  # with the last change

    @property
    def effort(self) -> Effort:
        """Return what may be spent on the next round."""
        return STEPS[self._name(self._at)]

    def govern(self, frame: Frame, now_s: float, ms: float) -> list[GovernorEvent]:
        """Take in that a round took `ms` and ended at `now_s`, s monotonic; return the change of step, if it makes one.

        `frame` is one of the round's: the event is of its time.
        """
        self._heat.look(now_s)
        if self._warm_up:
            self._warm_up -= 1
            self._rounds.begin(now_s)
            return []
        self._rounds.add(ms)
        if self._rounds.count == AFTER:
            self._costs.close(self._rounds.newest(AFTER))
        self._calm.add(now_s, self._is_loud(ms))
        if self._is_warm():
            self._calm.begin(now_s)
        late_ms = self._late(now_s)
        steps = self._wanted_down(now_s, late_ms) or -int(self._may_return(now_s))
        to = min(self._at + steps, len(self._steps) - 1)
        return [self._move(to, frame, now_s, late_ms or p99(self._rounds.ms))] if to != self._at else []

    def report(self) -> dict[str, Any]:
        """Return what the state message says."""
        return {
            "step": self._steps[self._at],
            "name": self._name(self._at),
            "p99_ms": round(p99(self._rounds.ms), 2),
            "limit_ms": self._rules.limit_ms,
            "celsius": self._heat.celsius,
            "costs": dict(self._costs.given_ms),
            "overloaded": self._at == len(self._steps) - 1 and (self._is_hot() or self._is_late()),
        }

    def _late(self, now_s: float) -> float:
        """Return the p99 where it is surely over what is aimed at, or 0."""
        if self._rules.limit_ms is None:
            return 0.0
        still = self._went_down and now_s - self._rounds.since_s < SOON_S
        return self._rounds.late(now_s, AIM * self._rules.limit_ms, SURE_STILL if still else SURE)

    def _wanted_down(self, now_s: float, late_ms: float) -> int:
        """Return how many steps down are to be taken now; `late_ms` is the p99 where that is too long, or 0."""
        hot = self._is_hot() and now_s - self._rounds.since_s >= HEAT_S
        limit_ms = self._rules.limit_ms
        if limit_ms is not None and late_ms > FAR * limit_ms:
            return max(2, self._needed(late_ms / (AIM * limit_ms)))
        return int(hot or late_ms > 0)

    def _needed(self, over: float) -> int:
        """Return how many steps were measured to make rounds shorter by a factor `over`, or all that were measured."""
        shorter, count = 1.0, 0
        for i in range(self._at + 1, len(self._steps)):
            factor = self._costs.factors.get(self._name(i))
            if factor is not None and shorter < over:
                shorter, count = shorter * factor, i - self._at
        return count

    def _may_return(self, now_s: float) -> bool:
        """Tell whether the present step is to be given back."""
        calm = self._calm
        if not self._at or calm.rounds < ENOUGH or now_s - calm.since_s < self._hold_s(self._at):
            return False
        name = self._name(self._at)
        factor = self._costs.factors.get(name, 1.0)
        limit_ms = self._rules.limit_ms
        if limit_ms is None or p99(self._rounds.newest(min(calm.rounds, WINDOW))) * factor <= AIM * limit_ms:
            return True
        self._costs.factors[name] = 1 + (factor - 1) / 2  # measured under another load, maybe: it is believed ever less
        calm.begin(now_s)
        return False

    def _move(self, to: int, frame: Frame, now_s: float, p99_ms: float) -> GovernorEvent:
        """Take the step of index `to`; `p99_ms` is why."""
        down, rounds = to > self._at, self._rounds
        if down:
            self._note_relapse(now_s)
        else:
            self._returned = self._at, now_s
        self._costs.close(list(rounds.ms)[:AFTER])
        event = GovernorEvent(
            time=frame.time,
            camera="",
            frame=frame.index,
            simulated=self._simulated,
            degraded=to > 0,
            step=self._steps[to],
            name=self._name(to),
            direction="down" if down else "up",
            p99_ms=round(p99_ms, 2),
            limit_ms=self._rules.limit_ms,
            celsius=self._heat.celsius,
            gave_ms=self._costs.last_ms,
        )
        low, high = sorted((to, self._at))
        changed = [self._name(i) for i in range(low + 1, high + 1)]
        self._costs.open(changed, rounds.newest(BEFORE), down=down)
        self._at, self._went_down = to, down
        rounds.begin(now_s)
        self._calm.begin(now_s)
        say = log.warning if down else log.info
        say("governor step=%d name=%s p99_ms=%.1f celsius=%s", event.step, event.name, event.p99_ms, event.celsius)
        return event

    def _note_relapse(self, now_s: float) -> None:
        """Learn from a step down whether the last step back came too early."""
        if self._returned is None:
            return
        (step, when_s), self._returned = self._returned, None
        longer = 2.0 if now_s - when_s < RELAPSE_S else 0.5
        self._holds_s[step] = min(max(self._hold_s(step) * longer, FIRST_HOLD_S), MOST_HOLD_S)

    def _hold_s(self, step: int) -> float:
        return self._holds_s.get(step, FIRST_HOLD_S)

    def _name(self, index: int) -> str:
        return list(STEPS)[self._steps[index]]

    def _is_loud(self, ms: float) -> bool:
        return self._rules.limit_ms is not None and ms > CALM * self._rules.limit_ms

    def _is_late(self) -> bool:
        return self._rules.limit_ms is not None and p99(self._rounds.ms) > self._rules.limit_ms

    def _is_hot(self) -> bool:
        return self._is_above(0.0)

    def _is_warm(self) -> bool:
        return self._is_above(COOLER)

    def _is_above(self, below: float) -> bool:
        """Tell whether it is hotter than so many degrees below the limit."""
        limit, now = self._rules.celsius, self._heat.celsius
        return limit is not None and now is not None and now > limit - below


def open_governor(rules: config.Config, *, coarse: bool) -> Governor | None:
    """Return the governor of a configuration, None where it has no limit; `coarse`: there is that semantic model."""
    if not rules.governor.limits:
        return None
    canvases = rules.attention.canvases * len(rules.cameras)
    steps = possible_steps(canvases, audited=rules.audit.every_frames > 0, coarse=coarse)
    return Governor(rules.governor, steps, hottest, simulated=rules.simulated)


def possible_steps(canvases: int, *, audited: bool, coarse: bool) -> list[int]:
    """Return the numbers of the steps that leave less than the one before, with at most so many canvases in a round."""
    spent = [
        (effort.canvases(canvases), audited and effort.audit, coarse and effort.coarse, effort.deadlines, effort.every)
        for effort in STEPS.values()
    ]
    return [0, *(i for i in range(1, len(spent)) if spent[i] != spent[i - 1])]
