"""Reference pictures: judged again at the start, on a signal, by command; and what follows where one is wrong."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from edge import config
from edge.bundle import open_bundle
from edge.config import Config, load_config
from edge.daemon import Options, open_models, serve
from edge.errors import CheckError, ConfigError, FoveateError
from edge.events import Event, JobCheckEvent, PresenceEvent, Verdict
from edge.golden import Expected, Told, differences, read_golden
from edge.health import Health
from edge.job_check import JobChecker, Wish
from edge.station import Stations
from edge.types import Moment
from foveate import main
from tests.see.coded import FRAME, picture, write_belt, write_bundle

GATE = config.Gate(
    name="exit", camera="c", start=(110, 0), end=(110, 120), direction="right",
    defects={"scratch": config.DefectLimit(min_area_px=20)},
)  # fmt: skip
PLACES = {"left": [(20.0, 30.0), (60.0, 70.0)], "right": [(100.0, 30.0), (140.0, 70.0)]}
PRESENCE = config.Presence(name="both", camera="c", places=PLACES, classes=["part"], trigger="frame", window=12)
GOOD = 'verdicts = { PASS = 1 }\ndefects = []\ncounts = { part = 1 }\nmissing = { both = ["right"] }\n'
BAD = 'verdicts = { PASS = 1, REJECT = 1 }\ndefects = ["scratch"]\ncounts = { part = 2 }\nmissing = { both = [] }\n'
SITE = """bundle = "bundle"
state = "state"

[cameras.c]
source = "pictures"
fps = 10

[regions]
min_area_px = 50
pad_px = 6

[tracks]
at_border = "wait"

[models]
threads = 1

[job_check]
folder = "golden"

[[gates]]
name = "exit"
camera = "c"
start = [110, 0]
end = [110, 120]
direction = "right"
defects = { scratch = { min_area_px = 20 } }

[[presence]]
name = "both"
camera = "c"
places = { left = [[20, 30], [60, 70]], right = [[100, 30], [140, 70]] }
classes = ["part"]
"""


def golden(folder: Path, good: str = GOOD, bad: str = BAD) -> Path:
    """Write a picture of a good part, and one of a good and a scratched one, with what is expected of them."""
    folder.mkdir()
    cv2.imwrite(str(folder / "good.png"), picture([(40, 50)]))
    cv2.imwrite(str(folder / "bad.png"), picture([(40, 50), (120, 50)], flawed=(1,)))
    (folder / "golden.toml").write_text(f'[pictures."good.png"]\n{good}\n[pictures."bad.png"]\n{bad}\n')
    return folder


def site(folder: Path, **changes: Any) -> Config:
    """Return a belt that is judged, and reference pictures."""
    write_bundle(folder / "bundle")
    write_belt(folder / "pictures", 50, 2)
    fields: dict[str, Any] = {
        "bundle": folder / "bundle",
        "state": folder / "state",
        "cameras": {"c": config.Camera(source=str(folder / "pictures"), fps=10)},
        "regions": config.RegionRules(min_area_px=50, pad_px=6),
        "attention": config.Attention(canvases=2),
        "tracks": config.TrackRules(motion="belt", at_border="wait"),
        "gates": [GATE],
        "presence": [PRESENCE],
        "models": config.Models(threads=1),
        "job_check": config.JobCheck(folder=folder / "golden"),
        **changes,
    }
    return Config(**fields)


def events(state: Path) -> list[Any]:
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as db:
        rows = db.execute("SELECT payload FROM events ORDER BY seq").fetchall()
    return [msgspec.json.decode(payload, type=Event) for (payload,) in rows]


def of(kind: type, told: list[Any]) -> list[Any]:
    return [event for event in told if isinstance(event, kind)]


def test_pictures_that_are_judged_as_expected_change_nothing(tmp_path: Path) -> None:
    rules = site(tmp_path)
    golden(tmp_path / "golden")
    serve(rules, Options())
    told = events(rules.state)
    (check,) = of(JobCheckEvent, told)
    assert check is told[0]
    assert (check.verdict, check.trigger, check.pictures, check.failed, check.differences) == ("OK", "start", 2, 0, [])
    serve(msgspec.structs.replace(rules, job_check=None, state=tmp_path / "other"), Options())
    without = [msgspec.structs.replace(event, stream="", seq=0, utc="") for event in events(tmp_path / "other")]
    assert [msgspec.structs.replace(event, stream="", seq=0, utc="") for event in told[1:]] == without
    assert {event.verdict for event in of(Verdict, told)} == {"PASS"}


def test_where_one_is_judged_otherwise_nothing_passes(tmp_path: Path) -> None:
    rules = site(tmp_path)
    golden(tmp_path / "golden", bad=BAD.replace("REJECT = 1", "REJECT = 2"))
    states: list[dict[str, Any]] = []
    serve(rules, Options(), watchers=[lambda moment: states.append({"events": moment.events})])
    told = events(rules.state)
    (check,) = of(JobCheckEvent, told)
    assert check.verdict == "NOK"
    assert check.differences == ["bad.png: verdicts 1 PASS and 1 REJECT, expected 1 PASS and 2 REJECT"]
    verdicts = of(Verdict, told)
    assert len(verdicts) == 2
    assert {(event.verdict, event.reasons[-1]) for event in verdicts} == {("REJECT", "job check failed")}
    assert "OK" not in {event.verdict for event in of(PresenceEvent, told)}
    shown = [event for state in states for event in state["events"]]
    assert {event.verdict for event in of(Verdict, shown)} == {"REJECT"}


def test_a_part_for_review_stays_so_where_that_is_the_fail_safe(tmp_path: Path) -> None:
    rules = site(tmp_path, gates=[msgspec.structs.replace(GATE, fail_safe="REVIEW")])
    golden(tmp_path / "golden", good=GOOD.replace("part = 1", "part = 2"))
    serve(rules, Options())
    assert {event.verdict for event in of(Verdict, events(rules.state))} == {"REVIEW"}


def test_a_daemon_that_may_not_run_so_ends_and_says_why(tmp_path: Path) -> None:
    strict = config.JobCheck(folder=tmp_path / "golden", on_failure="refuse")
    rules = site(tmp_path, job_check=strict)
    golden(tmp_path / "golden", good=GOOD.replace("PASS = 1", "REJECT = 1"))
    with pytest.raises(CheckError, match=r"1 of 2 pictures .* good.png: verdicts 1 PASS, expected 1 REJECT;.*check"):
        serve(rules, Options())
    assert [event.verdict for event in events(rules.state)] == ["NOK"]
    (tmp_path / "golden" / "golden.toml").write_text(f'[pictures."good.png"]\n{GOOD}')
    assert serve(rules, Options())["verdicts"] == {"exit/PASS": 2}


def test_a_signal_asks_for_a_check_and_what_fails_may_pass_again(tmp_path: Path) -> None:
    rules = site(tmp_path)
    folder = golden(tmp_path / "golden")
    right = (folder / "golden.toml").read_text()

    def meddle(moment: Moment) -> None:
        if moment.frame.index == 5:
            (folder / "good.png").unlink()
        elif moment.frame.index == 44:  # the first part is through, the second one comes
            cv2.imwrite(str(folder / "good.png"), picture([(40, 50)]))
            (folder / "golden.toml").write_text(right)
        if moment.frame.index in {5, 44}:
            os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.getsignal(signal.SIGUSR1)
    write_belt(tmp_path / "longer", 90, 3)
    longer = {"c": config.Camera(source=str(tmp_path / "longer"), fps=10)}
    serve(msgspec.structs.replace(rules, cameras=longer), Options(), watchers=[meddle])
    told = events(rules.state)
    checks = of(JobCheckEvent, told)
    assert [(check.trigger, check.verdict) for check in checks] == [
        ("start", "OK"),
        ("signal", "NOK"),
        ("signal", "OK"),
    ]
    assert "good.png: is not there" in checks[1].differences[0]
    assert checks[1].time == pytest.approx(0.6)
    for event in of(Verdict, told):
        assert event.verdict == ("REJECT" if checks[1].seq < event.seq < checks[2].seq else "PASS")
    assert {event.verdict for event in of(Verdict, told)} == {"REJECT", "PASS"}
    assert signal.getsignal(signal.SIGUSR1) is before


def test_the_daemon_is_alive_while_it_judges_and_ends_when_it_is_told_to(tmp_path: Path) -> None:
    rules = site(tmp_path)
    golden(tmp_path / "golden")
    with contextlib.ExitStack() as stack:
        models = open_models(rules, open_bundle(rules.bundle), stack)
        beats: list[int] = []
        health = Health(lambda: beats.append(1))
        stations = Stations(rules, models, {"c": FRAME}, lambda: 1)
        wish = Wish()
        checker = JobChecker(rules, models, {"c": FRAME}, stations, health, wish)
        wish.asked = True
        (check,) = checker.due(0.0)
        assert check.pictures == 2
        assert len(beats) >= 2 * PRESENCE.window  # at each of the frames that a picture is shown as
        health.on_beat(health.stop)
        wish.asked = True
        assert checker.due(0.0) == []  # what was not judged is not held against anybody
        assert health.job_check["passed"]


def test_a_picture_is_shown_as_often_as_a_presence_check_wants(tmp_path: Path) -> None:
    rules = site(tmp_path, presence=[msgspec.structs.replace(PRESENCE, window=200)])
    golden(tmp_path / "golden")
    serve(rules, Options(frames=1))
    (check,) = of(JobCheckEvent, events(rules.state))
    assert (check.verdict, check.differences) == ("OK", [])


def test_a_signal_without_pictures_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rules = site(tmp_path, job_check=None)
    ask = [lambda _: os.kill(os.getpid(), signal.SIGUSR1)]
    assert serve(rules, Options(frames=4), watchers=ask)["frames"] == 4
    assert "add a table [job_check]" in caplog.text
    assert not of(JobCheckEvent, events(rules.state))


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site(tmp_path)
    golden(tmp_path / "golden")
    (tmp_path / "site.toml").write_text(SITE)
    assert main(["check", str(tmp_path / "site.toml")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["picture", "expected"]
    assert said[1] == "OK   good.png  1 PASS, 1 part, both without right"
    assert said[-1] == "0 of 2 pictures are judged otherwise than expected"
    golden(tmp_path / "others", good=GOOD.replace('"right"', '"left"'))
    assert main(["check", str(tmp_path / "site.toml"), "--golden", str(tmp_path / "others")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[2].strip() == "both: missing right, expected left"
    assert said[-1] == "1 of 2 pictures are judged otherwise than expected"


def test_the_doctor_reads_what_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site(tmp_path)
    folder = golden(tmp_path / "golden")
    (tmp_path / "site.toml").write_text(SITE)
    main(["doctor", str(tmp_path / "site.toml")])
    assert f"2 reference pictures in {folder}" in capsys.readouterr().out
    (folder / "good.png").unlink()
    assert main(["doctor", str(tmp_path / "site.toml")]) == 1
    assert f"FIX reference picture {folder / 'good.png'}: is not there" in capsys.readouterr().out


def test_a_reference_picture_is_not_written_over(tmp_path: Path) -> None:
    rules = site(tmp_path)
    folder = golden(tmp_path / "golden")
    with pytest.raises(FoveateError, match="would replace a reference picture; name another file"):
        serve(rules, Options(json=folder / "good.png"))


def test_the_command_without_a_table_says_what_to_add(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text(SITE.replace('[job_check]\nfolder = "golden"\n', ""))
    assert main(["check", str(tmp_path / "site.toml")]) == ConfigError.exit_code
    assert "there is no table [job_check]; add it, or name a folder with --golden" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "golden.toml: cannot be read"),
        ("[pictures]\n", "Expected `object` of length >= 1"),
        ('[pictures."good.png"]\nverdict = "PASS"\n', "unknown field `verdict`"),
        ('[pictures."good.png"]\nverdicts = { OK = 1 }\n', "Invalid enum value"),
        ('[pictures."good.png"]\n', "good.png: nothing is expected of it; give verdicts"),
        (f'[pictures."gone.png"]\n{GOOD}', "gone.png: is not there"),
        (f'[pictures."good.png"]\ncamera = "d"\n{GOOD}', "no camera 'd'; there is c"),
        ('[pictures."good.png"]\nmissing = { nuts = [] }\n', "missing.nuts: camera c has no such presence check"),
        ('[pictures."good.png"]\nmissing = { both = ["top"] }\n', "there is {'both': ['left', 'right']}"),
        ('[pictures."text.png"]\ncounts = {}\n', "text.png: is no picture"),
        ('[pictures."large.png"]\ncounts = {}\n', "is 200 x 100 pixels, frames of camera c are 160 x 120 pixels"),
    ],
)
def test_pictures_that_cannot_be_judged_are_named(tmp_path: Path, text: str | None, said: str) -> None:
    rules = site(tmp_path)
    folder = golden(tmp_path / "golden")
    (folder / "text.png").write_text("no picture")
    cv2.imwrite(str(folder / "large.png"), np.zeros((100, 200, 3), np.uint8))
    (folder / "golden.toml").unlink()
    if text is not None:
        (folder / "golden.toml").write_text(text)
    with pytest.raises(ConfigError) as error:
        serve(rules, Options())
    assert said in str(error.value)


def test_the_camera_must_be_named_where_there_are_several(tmp_path: Path) -> None:
    folder = golden(tmp_path / "golden")
    two = {name: config.Camera(source="x") for name in ("c", "d")}
    rules = Config(bundle=tmp_path, state=tmp_path, cameras=two, presence=[PRESENCE])
    with pytest.raises(ConfigError, match=r"good.png: camera is not set; it is one of c, d"):
        read_golden(folder, rules)


def test_only_what_is_expected_is_held_against_a_picture() -> None:
    told = Told({"PASS": 1, "REJECT": 1}, ["chip"], {"nut": 2}, {"screws": ["b", "a"]})
    assert differences(Expected(counts={"nut": 2, "gear": 0}), told) == []
    assert differences(Expected(missing={"screws": ["a", "b"]}), told) == []
    wrong = Expected(verdicts={"PASS": 2}, defects=[], counts={"nut": 1}, missing={"screws": []})
    assert differences(wrong, told) == [
        "verdicts 1 PASS and 1 REJECT, expected 2 PASS",
        "counts 2 nut, expected 1 nut",
        "defects chip, expected none",
        "screws: missing a and b, expected none",
    ]


def test_the_folder_is_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    rules = load_config(tmp_path / "site.toml")
    assert rules.job_check is not None
    assert rules.job_check.folder == tmp_path / "golden"
    assert FRAME == (160, 120)
