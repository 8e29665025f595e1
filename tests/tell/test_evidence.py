"""Pictures on disk: whole or not there, within their budget, and never in the way of an event."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import config
from edge.tell import evidence
from edge.tell.evidence import GROUP, Pictures
from edge.tell.ledger import Ledger
from edge.types import Image
from tests.faults.line import count

LIMITS = config.Evidence(quality=90)
BLOCK = 4096


def noise(side: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8)


def opened(folder: Path, limits: config.Evidence = LIMITS, newest: tuple[bytes, ...] = ()) -> Pictures:
    pictures = Pictures(folder, limits)
    pictures.open(lambda: newest)
    return pictures


def kept(pictures: Pictures, side: int = 16, about: str = "c-1-1") -> str:
    name = pictures.write(about, noise(side))
    pictures.settle()
    return name


def there(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))


def on_disk(folder: Path) -> int:
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.rglob("*.*"))


def test_a_picture_is_in_its_place_once_its_event_is_committed(tmp_path: Path) -> None:
    pictures = opened(tmp_path / "evidence")
    picture = np.asarray(cv2.GaussianBlur(noise(64), (0, 0), 4), np.uint8)
    name = pictures.write("cam.a-372-18", picture)
    assert name == "0000000/0000000001-cam.a-372-18.jpg"
    assert there(tmp_path / "evidence") == [f"{name}.part"]
    pictures.settle()
    assert there(tmp_path / "evidence") == [name]
    found = np.asarray(cv2.imread(str(tmp_path / "evidence" / name)))
    assert np.abs(found.astype(int) - picture).mean() < 3
    assert pictures.report() == {"pictures": 1, "mib": 0.0, "written": 1, "left_out": 0, "failed": 0, "failing": ""}


def test_names_rise_over_restarts_and_folders(tmp_path: Path) -> None:
    kept(opened(tmp_path))
    pictures = opened(tmp_path)
    assert kept(pictures) == "0000000/0000000002-c-1-1.jpg"
    pictures._next = GROUP - 1
    names = [kept(pictures) for _ in range(3)]
    assert names == [f"{number // GROUP:07d}/{number:010d}-c-1-1.jpg" for number in range(GROUP - 1, GROUP + 2)]
    assert kept(opened(tmp_path)) == "0000001/0000001002-c-1-1.jpg"


def test_without_a_folder_names_are_the_same_and_nothing_is_written(tmp_path: Path) -> None:
    nowhere = Pictures(None, LIMITS)
    nowhere.open(list)
    real = opened(tmp_path)
    assert [kept(nowhere, about=about) for about in ("a-1-2", "b-3-4")] == [
        kept(real, about=about) for about in ("a-1-2", "b-3-4")
    ]
    assert nowhere.report()["pictures"] == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([8, 40, 90, 160]), st.booleans()), max_size=30), st.integers(6, 30))
def test_the_budget_holds_and_the_newest_are_kept(steps: list[tuple[int, bool]], blocks: int) -> None:
    """Whatever is written, and however often the daemon starts again; folders are of three pictures here."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(pytest.MonkeyPatch.context()).setattr(evidence, "GROUP", 3)
        pictures, names = opened(folder), list[str]()
        for side, again in steps:
            if again:
                pictures = opened(folder)
            pictures._budget = blocks * BLOCK
            name = pictures.write("c-1-1", noise(side))
            assert on_disk(folder) <= blocks * BLOCK
            pictures.settle()
            names += [name] if name else []
            assert on_disk(folder) == pictures._all.bytes <= blocks * BLOCK
            left = there(folder)
            assert left == names[len(names) - len(left) :], "the newest, and no hole"
            assert left or not name


def test_a_budget_that_is_less_than_it_was_holds_from_the_start(tmp_path: Path) -> None:
    pictures = opened(tmp_path, msgspec.structs.replace(LIMITS, budget_mib=8))
    names = [kept(pictures, side=200) for _ in range(40)]
    assert on_disk(tmp_path) > 1 << 20
    opened(tmp_path, msgspec.structs.replace(LIMITS, budget_mib=1))
    left = there(tmp_path)
    assert (1 << 20) * 0.8 < on_disk(tmp_path) <= 1 << 20
    assert left == names[-len(left) :]


def test_one_that_is_larger_than_the_budget_is_not_written(tmp_path: Path) -> None:
    pictures = opened(tmp_path)
    kept(pictures)
    pictures._budget = 4 * BLOCK
    assert kept(pictures, side=300) == ""
    assert there(tmp_path) == []
    assert pictures.report()["failed"] == 1
    assert kept(pictures) != ""


def test_what_a_kill_left_is_kept_where_an_event_names_it_and_swept_where_none_does(tmp_path: Path) -> None:
    """The three moments of a kill: while the picture is written, before the commit, before it has its name."""
    state = tmp_path / "state"
    ledger = Ledger(state, config.Ledger(max_mib=8), [])
    pictures = opened(state / "evidence")
    committed = pictures.write("c-2-2", noise(16))
    ledger.commit([msgspec.structs.replace(count(2), picture=committed)])
    orphan = pictures.write("c-3-3", noise(16))
    (state / "evidence" / "0000000" / "0000000003-c-4-4.jpg.part").write_bytes(b"\xff\xd8 half of one")
    assert len(there(state / "evidence")) == 3
    again = opened(state / "evidence", newest=tuple(ledger.outbox.newest(16)))
    assert there(state / "evidence") == [committed]
    assert orphan != committed
    assert again.report()["pictures"] == 1
    ledger.close()


@pytest.mark.parametrize("tail", [b"", b"\0" * 400], ids=["cut", "zeros"])
def test_one_that_a_power_cut_has_torn_is_removed(tmp_path: Path, tail: bytes) -> None:
    pictures = opened(tmp_path)
    whole, torn = kept(pictures), kept(pictures)
    data = (tmp_path / torn).read_bytes()
    (tmp_path / torn).write_bytes(data[: len(data) // 2] + tail)
    assert opened(tmp_path).report()["pictures"] == 1
    assert there(tmp_path) == [whole]
    (tmp_path / whole).write_bytes(b"")
    opened(tmp_path)
    assert there(tmp_path) == []


def test_a_full_disk_costs_pictures_and_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pictures = opened(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        assert [kept(pictures) for _ in range(3)] == ["", "", ""]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert there(tmp_path) == [], "nothing half written stays"
    assert "File too large: free space on this disk" in pictures.report()["failing"]
    assert pictures.report()["failed"] == 3
    assert len(caplog.records) == 1
    assert kept(pictures) == "0000000/0000000004-c-1-1.jpg"
    assert pictures.report()["failing"] == ""


def test_the_ledger_has_its_room_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = Pictures(tmp_path / "evidence", LIMITS, ledger_mib=64)
    pictures.open(list)
    free = SimpleNamespace(f_bavail=(97 << 20) // 512, f_frsize=512)
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    assert kept(pictures), "64 MiB for the ledger and 32 to spare"
    free.f_bavail -= (1 << 20) // 512
    assert kept(pictures) == ""
    assert there(tmp_path / "evidence") == [], "what there was went for it"
    assert "No space left on device" in pictures.report()["failing"]
    with (tmp_path / "ledger.db").open("wb") as file:
        file.truncate(2 << 20)  # it has taken some of what it may
    assert kept(pictures)


def test_a_folder_that_is_removed_or_none_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    pictures = opened(folder)
    kept(pictures)
    waiting = pictures.write("c-1-1", noise(16))
    shutil.rmtree(folder)
    pictures.settle()
    assert "No such file or directory" in pictures.report()["failing"]
    assert waiting
    assert kept(pictures), "it is made again"
    assert pictures.report()["failing"] == ""
    shutil.rmtree(folder)
    folder.write_text("somebody's")
    assert kept(pictures) == ""
    assert pictures.report()["failing"]
    blocked = opened(folder)
    assert kept(blocked) == ""
    assert folder.read_text() == "somebody's"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_stops_nothing(tmp_path: Path) -> None:
    pictures = opened(tmp_path / "evidence")
    (tmp_path / "evidence").chmod(0o500)
    assert kept(pictures) == ""
    assert "Permission denied: let this user write there" in pictures.report()["failing"]
    (tmp_path / "evidence").chmod(0o700)
    assert kept(pictures)


def test_files_that_somebody_removed_are_no_harm_and_those_of_others_stay(tmp_path: Path) -> None:
    pictures = opened(tmp_path)
    names = [kept(pictures, side=40) for _ in range(6)]
    for name in names[1:4]:
        (tmp_path / name).unlink()
    (tmp_path / "0000000" / "notes.txt").write_text("mine")
    (tmp_path / "other").mkdir()
    pictures._budget = pictures._all.bytes
    more = [kept(pictures, side=40) for _ in range(8)]
    assert all(more)
    assert on_disk(tmp_path) <= pictures._budget + BLOCK
    assert (tmp_path / "0000000" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize("kind", ["link", "loose link", "pipe", "folder"])
def test_what_is_no_file_in_the_folder_is_left_alone(tmp_path: Path, kind: str) -> None:
    first = kept(opened(tmp_path / "evidence"))
    strange = tmp_path / "evidence" / "0000000" / "0000000000-x-1-1.jpg"
    large = tmp_path / "large"
    large.write_bytes(bytes(10 * BLOCK))
    if kind == "pipe":
        os.mkfifo(strange)
    elif kind == "folder":
        strange.mkdir()
    else:
        strange.symlink_to(large if kind == "link" else tmp_path / "none")
    pictures = opened(tmp_path / "evidence")
    assert pictures.report()["pictures"] == 1
    assert pictures.report()["failing"] == ""
    assert kept(pictures) == "0000000/0000000002-c-1-1.jpg"
    assert pictures._drop_oldest(tmp_path / "evidence")
    assert not (tmp_path / "evidence" / first).exists()
    assert strange.is_symlink() or strange.exists()
    assert pictures._all.bytes == BLOCK


def test_numbers_go_on_where_the_folder_cannot_be_settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(opened(tmp_path))

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Pictures, "_drop_torn", refuse)
    pictures = opened(tmp_path)
    assert "Input/output error" in pictures.report()["failing"]
    assert kept(pictures) == "0000000/0000000002-c-1-1.jpg"


def test_names_that_are_no_numbers_of_ours_change_nothing(tmp_path: Path) -> None:
    kept(opened(tmp_path))
    (tmp_path / "0000000" / "9999999999-x-1-1.jpg").write_bytes(b"\xff\xd9")
    (tmp_path / "\u0660\u0660\u0660\u0660\u0660\u0660\u0661").mkdir()
    pictures = opened(tmp_path)
    assert pictures.report()["failing"] == ""
    assert kept(pictures) == "0000000/0000000002-c-1-1.jpg"
