"""Reference pictures of the belt: what they say is what is on it, and the belt's own networks judge them so."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import msgspec
import numpy as np

from edge.bundle import open_bundle
from edge.config import JobCheck, load_config
from edge.daemon import open_models
from edge.golden import read_golden
from edge.job_check import judged_again
from examples.belt import demo, golden
from examples.belt.belt import Belt
from tests.belt_bundle import belt_bundle

__all__ = ["belt_bundle"]  # a fixture


def test_the_pictures_are_frames_of_the_belt_and_are_judged_as_they_should_be(
    tmp_path: Path, belt_bundle: Path
) -> None:
    golden.write(tmp_path, 2)
    config = load_config(demo.HERE / "config.toml")
    expected = read_golden(tmp_path, config)
    assert list(expected) == ["seed-2700.png", "seed-2701.png"]
    belt = Belt(2700)
    belt.skip(golden.STEP - 1)
    view = belt.step(truth=True)
    assert view.truth is not None
    assert (np.asarray(cv2.imread(str(tmp_path / "seed-2700.png"))) == view.image).all()
    for told in expected.values():
        assert told.counts is not None
        assert told.verdicts is not None
        assert sum(told.counts.values()) == sum(told.verdicts.values()) >= 1
        assert bool(told.defects) == ("REJECT" in told.verdicts)
    rules = msgspec.structs.replace(config, job_check=JobCheck(folder=tmp_path))
    with contextlib.ExitStack() as stack:
        results = [*judged_again(rules, open_models(rules, open_bundle(belt_bundle), stack), {"belt": (1920, 1080)})]
    assert [(result.name, result.differences) for result in results] == [(name, []) for name in expected]
