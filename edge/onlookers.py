"""Who watches a run beside the loop: the one that draws a video, and the one that says how far a recording is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from edge.config import Config
from edge.health import Health
from edge.pipeline import Watcher
from edge.see.cameras import Camera
from edge.station import Models
from edge.types import Moment

PROGRESS_S = 10.0  # how often it is said how far a recording is
log = logging.getLogger(__name__)


def recorder(
    path: Path | None, config: Config, models: Models, cameras: dict[str, Camera]
) -> tuple[list[Watcher], Callable[[], None]]:
    """Return what draws every frame of the first camera into the video at `path`, and what to call at the end."""
    if path is None or not cameras:
        return [], lambda: None
    from edge.tell.overlay import Recorder  # noqa: PLC0415  drawing is loaded only where it is asked for

    name, camera = next(iter(cameras.items()))  # one video holds one camera
    drawn = Recorder(
        path,
        camera.size,
        camera.fps or 25.0,
        config,
        models.instance_classes,
        lambda: models.instances.shown,
    )
    return [lambda seen: drawn.add(seen) if seen.frame.camera == name else None], drawn.close


def progress(health: Health) -> Watcher:
    """Return what says now and then how far a recording is: one of an hour would be silent for as long."""
    last_s = time.monotonic()

    def watch(moment: Moment) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= PROGRESS_S:
            last_s = time.monotonic()
            fps = (health.fps(), health.fps_wall())
            log.info("seen camera=%s frame=%d fps=%.1f fps_wall=%.1f", moment.frame.camera, moment.frame.index, *fps)

    return watch
