"""How the cascade looks at the street of `vtest`; light to import, for a process whose memory is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from benchmarks.common import PEOPLE
from edge.config import Camera, Config, load_config
from edge.config import Models as ModelRules
from edge.types import Boxes, Tracks

SIZE: Final = (768, 576)  # of a frame, width and height
REFRESH: Final = 3  # frames between two looks at a person; this and the next two were chosen on the first 400 frames
RETRY_FRAMES: Final = 6  # before a spot that showed nobody is looked at again
LEAST_SPOT_PX: Final = 300.0  # frame pixels: what is left round a track whose mask is some frames old is no spot
CARRIED_FRAMES: Final = 4  # beyond that, without sight and with support, for which a person counts as there


def street_config(bundle: Path, data: Path, *, precision: str = "auto", refresh: int = REFRESH) -> Config:
    """Return the street's configuration: that of the people, but who is known is not looked at in every frame."""
    config = load_config(PEOPLE / "config.toml")
    attention = msgspec.structs.replace(
        config.attention, refresh_frames=refresh, inspect_looks=2, retry_frames=RETRY_FRAMES
    )
    regions = msgspec.structs.replace(config.regions, min_area_px=LEAST_SPOT_PX)
    rules = msgspec.convert({"precision": precision}, ModelRules)
    cameras = {"street": Camera(source=str(data / "vtest" / "vtest.avi"))}
    return msgspec.structs.replace(
        config, bundle=bundle, cameras=cameras, regions=regions, attention=attention, models=rules
    )


def present(tracks: Tracks, refresh: int) -> Boxes:
    """Return the boxes (n, 4) of who is there: confirmed, and seen now or not long ago, with support since."""
    carried = tracks.supported & (tracks.since_look < refresh + CARRIED_FRAMES)
    boxes: Boxes = tracks.boxes[(tracks.ids > 0) & ((tracks.since_look == 0) | carried)]
    return boxes
