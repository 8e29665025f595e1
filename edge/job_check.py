"""The job check: reference pictures are judged again by the models that are loaded, as the loop would judge them.

Each picture is shown to a station of its own again and again, until every part in it has had its looks; what counts is
what its rules then say of it, wherever in the frame it lies.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType

from edge.config import Config
from edge.errors import CheckError, ConfigError
from edge.events import JobCheckEvent
from edge.golden import Expected, Told, differences, read_golden, read_picture, told_by
from edge.health import Health, Stopwatch
from edge.station import Models, Station, Stations
from edge.types import Frame, Image, Moment

MOST_COPIES = 64  # of a picture that a station is shown, unless a presence check needs more
FEWEST_COPIES = 3
MOST_DIFFERENCES = 16  # that are told
FAILED = "job check failed"
log = logging.getLogger(__name__)

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, slots=True)
class Result:
    """One picture, held against what is expected of it."""

    name: str
    expected: Expected
    differences: list[str]  # none: it is judged as expected


def judged_again(
    config: Config, models: Models, sizes: Mapping[str, Size] | None = None, shown: Callable[[], None] = lambda: None
) -> Iterator[Result]:
    """Yield how the pictures of `[job_check]` are judged now.

    `sizes` are those of the cameras' frames, where they are known; `shown` is called at each frame that a picture is
    shown as. Raises `ConfigError` for a folder, file or picture that is not as it should be.
    """
    if config.job_check is None:
        raise ConfigError("job check: there is no table [job_check]; add it, with the folder of the pictures")
    folder = config.job_check.folder
    for name, expected in read_golden(folder, config).items():
        camera, image = expected.camera or "", read_picture(folder / name)
        size = (sizes or {}).get(camera) or config.cameras[camera].size
        if size is not None and size != _size(image):
            raise ConfigError(
                f"reference picture {folder / name}: is {_by(_size(image))}, frames of camera {camera} are "
                f"{_by(size)}; take whole frames of that camera"
            )
        yield Result(name, expected, differences(expected, _told(config, models, camera, image, shown)))


def _told(config: Config, models: Models, camera: str, image: Image, shown: Callable[[], None]) -> Told:
    """Return what the models and rules that are loaded say of one picture."""
    ids = itertools.count(1)
    station = Station(camera, _size(image), config, models, lambda: next(ids), inspecting=True)
    pace_s = 1 / (config.cameras[camera].fps or 10.0)
    least = _least(config, camera)
    for index in range(max(MOST_COPIES, least)):
        moment = station.see(Frame(camera, index, index * pace_s, image), Stopwatch())
        shown()
        if index + 1 >= least and _settled(config, station, moment):
            break
    confirmed = moment.tracks.classes[moment.tracks.ids > 0].tolist()
    return told_by(moment.events, Counter(models.instance_classes[label] for label in confirmed))


def _least(config: Config, camera: str) -> int:
    """Return how often a picture is shown at the least: presence checks need their windows full."""
    windows = [rule.window for rule in config.presence if rule.camera == camera]
    return max([FEWEST_COPIES, *windows])


def _settled(config: Config, station: Station, moment: Moment) -> bool:
    """Tell whether all that is in the picture has had the looks without which nothing passes."""
    tracks = moment.tracks
    gates = [gate.min_looks for gate in config.gates if gate.camera == moment.frame.camera]
    looked = bool((tracks.looks >= max([config.tracks.confirm_looks, *gates])).all() and (tracks.ids > 0).all())
    return looked and not station.report(moment).waiting


@dataclass(slots=True)
class Wish:
    """Whether somebody has asked for a check, at any time since the start began."""

    asked: bool = False


class JobChecker:
    """Runs the job check for a daemon: at the start, and when somebody asks."""

    def __init__(
        self, config: Config, models: Models, sizes: Mapping[str, Size], stations: Stations, health: Health, wish: Wish
    ) -> None:
        """`sizes` are those of the cameras' frames; `stations` are told whether their verdicts can be trusted.

        `wish` says when a check is to be run between two rounds.
        """
        self._config, self._models, self._sizes = config, models, sizes
        self._stations, self._health = stations, health
        self._wish = wish

    def at_start(self, time: float) -> list[JobCheckEvent]:
        """Return what is to be told of the check at the start, `time` s monotonic; nothing where none is configured."""
        return [] if self._config.job_check is None else self._checked(time, "start")

    def refusal(self) -> CheckError | None:
        """Return the error that ends the daemon where the check at its start has failed, and is to end it."""
        rules, told = self._config.job_check, self._health.job_check
        if rules is None or rules.on_failure != "refuse" or told.get("passed", True):
            return None
        return CheckError(
            f"job check {rules.folder}: {told['failed']} of {told['pictures']} pictures are judged otherwise than "
            f"expected: {'; '.join(told['differences'])}; see `foveate check`, and mend bundle, limits or golden.toml"
        )

    def due(self, time: float) -> list[JobCheckEvent]:
        """Return what is to be told of a check that was asked for since the last call; it is run now."""
        if not self._wish.asked:
            return []
        self._wish.asked = False
        if self._config.job_check is None:
            log.warning("job_check=none asked=signal fix=add a table [job_check] to the configuration")
            return []
        return self._checked(time, "signal")

    def _checked(self, time: float, trigger: str) -> list[JobCheckEvent]:
        """Judge all pictures, let the stations and the state know, and return the event; none where all is to end."""
        results = []
        try:
            for result in judged_again(self._config, self._models, self._sizes, self._health.moves):
                if self._health.stopping:
                    return []
                results.append(result)
        except ConfigError as error:
            if trigger == "start":
                raise
            results = [Result("golden.toml", Expected(), [str(error)])]  # it was there: no reason to end a line
        wrong = [f"{result.name}: {what}" for result in results for what in result.differences]
        failed = sum(bool(result.differences) for result in results)
        self._stations.doubt(FAILED if failed else "")
        event = JobCheckEvent(
            time=time,
            camera="",
            frame=0,
            simulated=self._config.simulated,
            verdict="NOK" if failed else "OK",
            trigger=trigger,
            pictures=len(results),
            failed=failed,
            differences=wrong[:MOST_DIFFERENCES],
        )
        self._health.job_check = {
            "passed": not failed,
            "pictures": event.pictures,
            "failed": failed,
            "differences": event.differences,
        }
        if failed:
            log.error("job_check=NOK failed=%d of=%d why=%s", failed, event.pictures, "; ".join(event.differences))
        else:
            log.info("job_check=OK failed=0 of=%d", event.pictures)
        return [event]


@contextlib.contextmanager
def asked_by_signal() -> Iterator[Wish]:
    """Let SIGUSR1 ask for a check; while it is not heard it ends the process."""
    wish = Wish()

    def ask(_number: int, _frame: FrameType | None) -> None:
        wish.asked = True

    before = signal.signal(signal.SIGUSR1, ask)
    try:
        yield wish
    finally:
        signal.signal(signal.SIGUSR1, before)


def _size(image: Image) -> Size:
    return image.shape[1], image.shape[0]


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]} pixels"
