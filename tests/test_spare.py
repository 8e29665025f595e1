"""What a run writes is nothing that it reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.config import Camera, Config
from edge.errors import FoveateError
from edge.spare import check_spared


def settings(**camera: object) -> Config:
    return Config(bundle=Path("bundle"), state=Path("state"), cameras={"c": Camera(**camera)})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["cost.png", "seen.mp4"])
def test_a_program_that_writes_frames_has_no_folder_of_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Its empty source is not the folder where the command is typed."""
    monkeypatch.chdir(tmp_path)
    check_spared(settings(command=["frames"], size=(8, 8)), None, {"--plot": Path(name)})


def test_a_folder_of_pictures_is_spared(tmp_path: Path) -> None:
    with pytest.raises(FoveateError, match=r"--plot .*cost\.png: would replace a picture of camera c"):
        check_spared(settings(source=str(tmp_path)), None, {"--plot": tmp_path / "cost.png"})
