"""`foveate ledger`: what it prints, what it writes, and what it says where there is nothing to read."""

from __future__ import annotations

import csv
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import msgspec
import pytest

import foveate
from deploy.ledger import _picture
from edge import config
from edge.events import Event, SummaryEvent
from edge.tell.ledger import Ledger
from tests.faults.line import count
from tests.tell.test_reader import contents, filled

ROOT = Path(__file__).parents[2]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder with seven events, of which four are delivered."""
    filled(tmp_path / "state").close()
    return tmp_path / "state"


Said = Callable[..., str]


@pytest.fixture
def says(capsys: pytest.CaptureFixture[str]) -> Said:
    """Return what `foveate ledger` prints, its exit code being the first argument."""

    def run(code: int, *arguments: object) -> str:
        assert foveate.main(["ledger", *map(str, arguments)]) == code
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert err.count("\n") <= 1
        return out + err

    return run


def test_show_tells_who_has_what_the_totals_and_the_newest_events(state: Path, says: Said) -> None:
    before = contents(state)
    shown = says(0, "show", state)
    assert "events 1 to 7, of which 7 are kept, from 1 on; archive has 4" in shown
    assert [line.split() for line in shown.splitlines() if line.startswith("verdict")] == [
        ["verdict", "2", "=", "1", "+", "1", "+", "0"]
    ]
    assert "door/part " in shown
    assert shown.splitlines()[-7].split()[0] == "1"
    assert "counter=door/other track=2 position=[1.0,2.0] total=1" in shown
    assert "picture=" not in shown  # what is empty is left out
    assert contents(state) == before


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--kind", "count"], [1, 3, 4, 7]),
        (["--kind", "count", "--last", "2"], [4, 7]),
        (["--counter", "door/part"], [1, 4, 7]),
        (["--counter", "exit/REJECT"], [6]),
        (["--since", "2026-01-01"], [1, 2, 3, 4, 5, 6, 7]),
        (["--since", "2999-01-01T00:00Z"], []),
        (["--kind", "zone"], []),
    ],
    ids=lambda arguments: " ".join(map(str, arguments)),
)
def test_show_filters(state: Path, says: Said, arguments: list[str], numbers: list[int]) -> None:
    rows = says(0, "show", state, *arguments).partition("  utc  ")[2].splitlines()[1:]
    assert [int(row.split()[0]) for row in rows] == numbers


def test_since_is_a_time_of_day(tmp_path: Path, says: Said) -> None:
    ledger = Ledger(
        tmp_path, config.Ledger(max_mib=8), [], clock=lambda s: datetime.fromtimestamp(s * 86400, timezone.utc)
    )
    ledger.commit([msgspec.structs.replace(count(1), time=float(day)) for day in range(5)])
    ledger.close()
    for since in ("1970-01-04", "1970-01-04T00:00:00Z", "1970-01-04T02:00+02:00"):
        rows = says(0, "show", tmp_path, "--since", since).partition("  utc  ")[2].splitlines()[1:]
        assert [int(row.split()[0]) for row in rows] == [4, 5]


def test_trace_leads_to_the_frame(state: Path, says: Said) -> None:
    shown = says(0, "trace", state, 5)
    assert "queued: not every receiver has it yet" in shown
    assert "decided in frame 4 of camera c, at 2.000 s of its clock" in shown
    assert "  reason       stall" in shown
    assert "delivered: every receiver has it" in says(0, "trace", state, 4)


def test_trace_leads_to_the_picture_or_says_that_it_is_gone(tmp_path: Path, says: Said) -> None:
    state, name = tmp_path / "state", "0000000/0000000001-c-2-2.jpg"
    ledger = Ledger(state, config.Ledger(max_mib=8), [])
    ledger.commit([msgspec.structs.replace(count(2), picture=name), count(3)])
    ledger.close()
    assert f"picture {state}/evidence/{name}: No such file or directory; it was the oldest" in says(
        0, "trace", state, 1
    )
    assert "picture /" not in says(0, "trace", state, 2)
    for folder in (state / "evidence", tmp_path / "elsewhere"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(bytes(17))
    assert f"picture {state}/evidence/{name}, 17 bytes" in says(0, "trace", state, 1)
    found = says(0, "trace", state, 1, "--evidence", tmp_path / "elsewhere")
    assert f"picture {tmp_path}/elsewhere/{name}, 17 bytes" in found


def test_trace_names_the_recording_of_then(tmp_path: Path, says: Said) -> None:
    for number, source in enumerate(("a.mp4", "a.mp4", "rtsp://camera/x", "a.mp4")):
        ledger = Ledger(tmp_path, config.Ledger(max_mib=8), [])
        ledger.sources.follow({"c": source})
        ledger.commit([count(number), count(number)])
        ledger.close()
    told = ["rtsp://camera/x" if "was rtsp" in says(0, "trace", tmp_path, seq) else "a.mp4" for seq in range(1, 9)]
    assert told == ["a.mp4"] * 4 + ["rtsp://camera/x"] * 2 + ["a.mp4"] * 2
    assert "which was a.mp4\n" in says(0, "trace", tmp_path, 8)
    db = sqlite3.connect(tmp_path / "ledger.db")
    assert len(msgspec.json.decode(db.execute("SELECT value FROM meta WHERE key = 'sources'").fetchone()[0])) == 3
    db.execute("UPDATE meta SET value = '{' WHERE key = 'sources'")
    db.commit()
    db.close()
    assert "which was" not in says(0, "trace", tmp_path, 8)


def test_show_has_the_summaries_of_a_shift_and_what_was_before_a_time(tmp_path: Path, says: Said) -> None:
    ledger = Ledger(
        tmp_path, config.Ledger(max_mib=8), [], clock=lambda s: datetime.fromtimestamp(s * 86400, timezone.utc)
    )
    summary = SummaryEvent(
        time=0, camera="", frame=0, shift="early", since="", until="", reason="ended", counted={"door/part": 3},
        bars={}, blind_s={}, degraded_s=0, lost_events=0, first_seq=1,
    )  # fmt: skip
    late = msgspec.structs.replace(summary, shift="late")
    told: list[Event] = [count(1), summary, late, summary, count(2)]
    ledger.commit([msgspec.structs.replace(event, time=float(day)) for day, event in enumerate(told)])
    ledger.close()

    def numbers(*arguments: str) -> list[int]:
        rows = says(0, "show", tmp_path, *arguments).partition("  utc  ")[2].splitlines()[1:]
        return [int(row.split()[0]) for row in rows]

    assert numbers("--shift", "early") == [2, 4]
    assert numbers("--shift", "night") == []
    assert numbers("--until", "1970-01-03") == [1, 2]
    assert numbers("--since", "1970-01-02", "--until", "1970-01-04T00:00:00Z") == [2, 3]


def test_trace_of_what_is_not_there(tmp_path: Path, state: Path, says: Said) -> None:
    assert "event 8 was not given yet; there are events 1 to 7, of which 7 are kept" in says(74, "trace", state, 8)
    ledger = Ledger(state, config.Ledger(max_mib=8, keep_days=0), ["archive"])
    ledger.outbox.drop_history()
    ledger.close()
    assert "event 3 is no longer kept; there are events 1 to 7, of which 3 are kept, from 5 on" in says(
        74, "trace", state, 3
    )


def test_verify_says_one_line_for_each_law(state: Path, says: Said) -> None:
    shown = says(0, "verify", state).splitlines()[1:]
    assert all(line.startswith("OK  ") for line in shown)
    assert "OK  counted = delivered + queued + lost: 7 = 4 + 3 + 0" in shown
    assert "OK  totals are what all rows add up to: 4 of 4 counters, 0 of them lost" in shown
    db = sqlite3.connect(state / "ledger.db")
    db.execute("UPDATE events SET crc = crc + 1 WHERE seq = 1")
    db.commit()
    db.close()
    shown = says(74, "verify", state).splitlines()
    assert "BAD every row has its checksum: not row 1" in shown
    assert shown[-1].startswith(f"foveate: error: ledger {state}/ledger.db: 1 of what must hold does not; keep a copy")


def test_a_configuration_or_the_file_itself_names_the_ledger(tmp_path: Path, state: Path, says: Said) -> None:
    (tmp_path / "site.toml").write_text('bundle = "b"\nstate = "state"\n[cameras.c]\nsource = "x"\n')
    assert says(0, "verify", tmp_path / "site.toml") == says(0, "verify", state)
    (state / "ledger.db").rename(tmp_path / "ledger.db.corrupt-1")
    assert "events 1 to 7" in says(0, "show", tmp_path / "ledger.db.corrupt-1")
    assert "ledger.db: there is none; name a state folder" in says(74, "show", state)
    (tmp_path / "site.toml").write_text("state = 3")
    assert "configuration" in says(78, "show", tmp_path / "site.toml")


def test_an_empty_ledger_is_shown(tmp_path: Path, says: Said) -> None:
    Ledger(tmp_path, config.Ledger(max_mib=8), []).close()
    shown = says(0, "show", tmp_path)
    assert "no event yet; the broker has 0" in shown
    assert "no such event is kept" in shown
    says(0, "verify", tmp_path)


def test_export_gives_the_bytes_that_are_told(tmp_path: Path, state: Path, says: Said) -> None:
    said = says(0, "export", state, "--jsonl", tmp_path / "out.jsonl")
    assert f"7 events into {tmp_path}/out.jsonl; events 1 to 7" in said
    ledger = Ledger(state, config.Ledger(max_mib=8), ["archive"])
    rows = ledger._db.execute("SELECT payload FROM events ORDER BY seq").fetchall()
    ledger.close()
    assert (tmp_path / "out.jsonl").read_bytes() == b"".join(payload + b"\n" for (payload,) in rows)
    says(0, "export", state, "--jsonl", tmp_path / "out.jsonl", "--kind", "verdict")
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "state"]


def test_export_gives_a_table_with_every_field(tmp_path: Path, state: Path, says: Said) -> None:
    says(0, "export", state, "--csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["seq"] for row in rows] == list("1234567")
    assert (rows[0]["counter"], rows[0]["position"], rows[0]["verdict"]) == ("door/part", "[1.0,2.0]", "")
    assert (rows[1]["verdict"], rows[1]["defects_px"], rows[1]["total"]) == ("PASS", '{"scratch":99.0}', "1")
    assert (rows[4]["since"], rows[4]["lost_events"], rows[4]["simulated"]) == ("1.0", "0", "false")


@pytest.mark.parametrize("flag", ["--csv", "--jsonl"])
def test_a_full_disk_leaves_no_half_of_an_export(tmp_path: Path, state: Path, says: Said, flag: str) -> None:
    target = tmp_path / "out"
    target.write_text("what was there before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        said = says(1, "export", state, flag, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"{target}: cannot be written: File too large; name a file in a folder with room" in said
    assert target.read_text() == "what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "state"]
    if Path("/dev/full").exists():
        assert "/dev/full: cannot be written: No space left on device" in says(1, "export", state, flag, "/dev/full")


def test_an_export_replaces_nothing_of_a_state_folder(tmp_path: Path, state: Path, says: Said) -> None:
    before = contents(state)
    (tmp_path / "link").symlink_to(state / "ledger.db")
    for name in (state / "ledger.db", state / "ledger.lock", state / "beat", tmp_path / "link"):
        assert "would replace a part of the state folder; name another file" in says(1, "export", state, "--csv", name)
    assert "cannot be written: No such file or directory" in says(1, "export", state, "--csv", tmp_path / "no" / "x")
    assert contents(state) == before


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("show",),
        ("list", "x"),
        ("trace", "x", "0"),
        ("trace", "x", "1" * 30),
        ("show", "x", "--last", "many"),
        ("show", "x", "--since", "yesterday"),
        ("export", "x"),
        ("export", "x", "--csv", "a", "--jsonl", "b"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_2(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        foveate.main(["ledger", *arguments])
    assert caught.value.code == 2
    assert "usage: foveate ledger" in capsys.readouterr().err


def test_it_loads_nothing_that_only_the_daemon_needs(state: Path) -> None:
    code = (
        f"import sys, foveate; foveate.main(['ledger', 'verify', {str(state)!r}]); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=True
    )
    assert {"numpy", "cv2", "onnxruntime", "paho"}.isdisjoint(done.stderr.split())


def test_a_reader_that_goes_away_is_no_error(state: Path) -> None:
    command = f"{sys.executable} -m foveate ledger show {state}"
    done = subprocess.run(
        ["bash", "-c", f"{command} | true"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.stderr == ""


def test_an_altered_event_is_named_and_not_written(tmp_path: Path, state: Path, says: Said) -> None:
    with sqlite3.connect(state / "ledger.db") as db:
        db.execute("UPDATE events SET payload = replace(payload, 'total', 'totul') WHERE seq = 2")  # a text now
    assert "event 2 is altered" in says(74, "export", state, "--jsonl", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    name = _picture(tmp_path / "\0")
    assert "is no name of a file" in name
