"""What an attacker of the commands found: bad input ends in one line, hangs nothing and destroys nothing."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from deploy import doctor
from edge import config
from edge.bundle import Model, open_bundle
from edge.engines import Engine
from edge.errors import BundleError, CameraError, ConfigError, EngineError, FoveateError, LedgerError
from edge.see.cameras import open_camera
from edge.see.cameras.capture import without_password
from edge.see.instances import InstancePass
from edge.summary import check_target
from edge.tell.ledger import Ledger
from edge.types import Array
from examples.belt.belt import crossings
from export.cli import main as export
from export.recipe import load_recipe
from foveate import main
from tests.see.coded import picture, write_belt, write_bundle
from tests.see.made import looks_of

ROOT = Path(__file__).parents[1]
CONFIG = """
bundle = "bundle"
state = "state"
[cameras.belt]
source = "pictures"
"""
RECIPE = 'name = "x"\nversion = "1"\n[semantic]\nmodel = "{}"\nhead = "logits"\nclasses = ["b", "p"]\n'
LINE = '[[lines]]\nname = "door"\ncamera = "belt"\nstart = [80, 0]\nend = [80, 120]\n'


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a configuration that works."""
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 3, 1)
    (tmp_path / "site.toml").write_text(CONFIG)
    return tmp_path / "site.toml"


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("foveate: error: ")]
    return line.removeprefix("foveate: error: ")


def camera(source: str) -> str:
    """Return why `source` cannot be opened."""
    with pytest.raises(CameraError) as caught:
        seen_to_its_end(source)
    return str(caught.value)


def seen_to_its_end(source: str) -> None:
    with open_camera("c", config.Camera(source=source)) as opened:
        while opened.read(1.0) is not None:
            pass


def test_no_telemetry_of_onnxruntime_is_on() -> None:
    code = "import os, edge.engines.ort; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"


@pytest.mark.parametrize("number", ["99999999999", "x", "", "-1", "²"])
def test_a_usb_number_that_is_none(number: str) -> None:
    assert f"usb:{number}: usb: needs the number" in camera(f"usb:{number}")


def test_a_pipe_among_pictures_is_not_waited_for(tmp_path: Path) -> None:
    write_belt(tmp_path / "pictures", 2, 1)
    os.mkfifo(tmp_path / "pictures" / "9.png")
    assert "9.png is no file; remove it" in camera(str(tmp_path / "pictures"))


def test_a_picture_that_says_it_is_larger_than_any(tmp_path: Path) -> None:
    header = struct.pack(">II5B", 60000, 60000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")]
    packed = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    assert re.search(r"1\.png cannot be decoded: .*; make it smaller or remove it", camera(str(tmp_path)))


def test_a_name_that_no_file_can_have() -> None:
    assert "File name too long; name what this user may read" in camera("/" + "x" * 300)


@pytest.mark.parametrize("of", ["iterdir", "is_dir"])
def test_a_folder_that_may_not_be_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, of, refuse)  # root may look into every folder
    assert re.search("cannot be (listed|opened): Permission denied; ", camera(str(tmp_path)))


def test_a_device_by_its_path_is_told_its_number() -> None:
    assert camera("/dev/video3") == 'camera c: /dev/video3 is a device; write source = "usb:3"'


@pytest.mark.parametrize("source", ["file:///tmp/rec.mp4", "FILE:///tmp/rec.mp4"])
def test_a_file_by_its_url_is_no_stream(source: str) -> None:
    assert "write its path, without file://" in camera(source)


def test_a_video_whose_name_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "x\udc80.mp4").write_bytes(b"no video")
    assert "is not UTF-8; rename it" in camera(str(tmp_path / "x\udc80.mp4"))


def test_what_a_program_says_is_one_short_line_without_control_characters() -> None:
    script = r"printf 'first\n\033[31m%5000d\n' 7 | tr ' ' x >&2; exit 2"
    settings = config.Camera(command=["sh", "-c", script], size=(8, 8))
    with pytest.raises(CameraError, match=r"it said: .*xxx") as caught, open_camera("c", settings) as opened:
        opened.read(1.0)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


def test_passwords_in_urls_are_not_logged() -> None:
    assert without_password("rtsp://user:se@cret@host:1/x") == "rtsp://host:1/x"
    assert without_password("rtsp://host/x") == "rtsp://host/x"
    assert "secret" not in camera("rtsp://user:secret@127.0.0.1:1/x")


@pytest.mark.parametrize(
    ("role", "change", "said"),
    [
        ("instance", {"classes": []}, "has 0 classes"),
        ("instance", {"classes": ["background"]}, "has 1 classes"),
        ("semantic", {"fill": 300}, "<= 255"),
        ("instance", {"fill": -1}, ">= 0"),
        ("instance", {"head": {"family": "labels"}}, "head of family 'labels'"),
        ("semantic", {"head": {"family": "centers"}}, "head of family 'centers'"),
        ("instance", {"head": {"family": "prototypes"}}, "no output 'boxes' of float32"),
        ("instance", {"head": {"family": "centers", "label_stride": 0}}, ">= 1"),
        ("instance", {"head": {"family": "centers", "label_stride": 7}}, "does not divide"),
        ("instance", {"head": {"family": "centers", "label_stride": 2}}, "'labels' of [96, 96], which does not fit"),
        ("instance", {"head": {"family": "centers", "offset_px": -1.0}}, "> 0"),
        ("instance", {"outputs": []}, "no output 'peaks' of int16"),
        ("semantic", {"input": {"name": "image", "shape": [], "dtype": "uint8"}}, "not of uint8 [h, w, 3]"),
    ],
)
def test_a_manifest_that_promises_what_cannot_be_read(
    tmp_path: Path, role: str, change: dict[str, Any], said: str
) -> None:
    path = write_bundle(tmp_path / "bundle") / "manifest.json"
    manifest = msgspec.json.decode(path.read_bytes())
    manifest["models"][role].update(change)
    path.write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BundleError, match=re.escape(said)):
        open_bundle(tmp_path / "bundle")


def test_a_folder_in_the_place_of_a_bundles_file(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(BundleError, match="is not a plain file"):
        open_bundle(tmp_path)


class Wild:
    """An instance model that finds a class of which its manifest knows nothing."""

    def __init__(self, model: Model) -> None:
        self.inputs = {model.input.name: model.input}
        self.outputs = {spec.name: spec for spec in model.outputs}

    def infer(self, feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        assert set(feeds) == set(self.inputs)
        peaks = np.zeros((8, 3), np.int16)
        peaks[0] = 48, 48, 255
        labels = np.full((96, 96), 9, np.uint8)
        return {
            "peaks": peaks,
            "labels": labels,
            "offsets": np.zeros((2, 96, 96), np.int8),
            "defects": np.zeros((96, 96), np.uint8),
        }

    def close(self) -> None:
        """Nothing is held."""


def test_a_model_that_gives_a_class_without_a_name(tmp_path: Path) -> None:
    model = open_bundle(write_bundle(tmp_path / "bundle")).manifest.models["instance"]
    engine: Engine = Wild(model)
    with pytest.raises(EngineError, match="gives class 9, the manifest names 2"):
        InstancePass(engine, model)([picture([(48, 48)])], looks_of([(0, 0, 96, 96)], [(0, 0, 96, 96)]))


@pytest.mark.parametrize("torn", [b"\0" * 21, b"\xff" * 21, b"nan".ljust(21), b"-inf".ljust(21), b"12", b"x" * 500])
def test_a_torn_beat_is_none(tmp_path: Path, torn: bytes) -> None:
    (tmp_path / "beat").write_bytes(torn)
    ledger = Ledger(tmp_path, config.Ledger(), [])
    assert ledger.last_beat is None
    ledger.beat(1.5)
    ledger.close()
    ledger = Ledger(tmp_path, config.Ledger(), [])
    assert ledger.last_beat == 1.5
    ledger.close()


@pytest.mark.parametrize("make", [lambda path: path.mkdir(), os.mkfifo], ids=["folder", "pipe"])
def test_what_is_no_file_in_the_place_of_the_ledger(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "ledger.db")
    with pytest.raises(LedgerError, match=r"ledger\.db: is no file; remove it"):
        Ledger(tmp_path, config.Ledger(), [])


@pytest.mark.parametrize("folder", ["file", "file/below", "x" * 300])
def test_a_state_folder_that_cannot_be_is_told_so(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="name a state folder that this user may write"):
        Ledger(tmp_path / folder, config.Ledger(), [])


@pytest.mark.parametrize("name", ["x" * 300, "x\udc80.mp4", "loop/x"])
def test_a_target_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FoveateError, match="cannot be written"):
        check_target("--save", tmp_path / name)


@pytest.mark.parametrize("name", ["bundle", "state"])
def test_an_empty_path_is_no_path(site: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    site.write_text(CONFIG.replace(f'{name} = "{name}"', f'{name} = ""'))
    assert main(["run", str(site)]) == 78
    assert f"got '' - at `$.{name}`" in error_of(capsys)


def test_a_byte_order_mark_is_no_error(site: Path) -> None:
    site.write_text(CONFIG, encoding="utf-8-sig")
    assert config.load_config(site).bundle == site.parent / "bundle"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ('[tracks]\nclasses = ["background"]\n', "tracks.classes: no class 'background' in the bundle; it has part"),
        ('[regions]\nclasses = ["nope"]\n', "regions.classes: no class 'nope' in the bundle; it has part"),
        (
            LINE + "hysteresis_px = 80\n",
            "'door': hysteresis_px 80: no point of the frame is so far from it; set less than 80",
        ),
        ("[regions]\nconfidence = 0.1\n", "regions.confidence 0.1: the bundle's semantic model gives no confidence"),
        (
            "[regions]\nmin_area_px = 19201\n",
            "regions.min_area_px 19201: is 19201 pixels for camera belt, and its frame of 160 x 120 has 19200",
        ),
        (
            "mm_per_px = 1e-200\n[regions]\nmin_area_mm2 = 5\n",
            "regions.min_area_mm2 5: is inf pixels for camera belt",
        ),
        (LINE.replace("120]", "121]"), "point (80, 121) is outside the frame of 160 x 120 pixels"),
    ],
)
def test_run_and_doctor_find_the_same(site: Path, capsys: pytest.CaptureFixture[str], rules: str, said: str) -> None:
    site.write_text(CONFIG + rules)
    assert main(["run", str(site)]) == 78
    assert said in error_of(capsys)
    assert doctor.main([str(site)]) == 1
    assert said.split(";", maxsplit=1)[0] in capsys.readouterr().out


def test_the_doctor_survives_a_broker_that_can_have_no_address(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.write_text(CONFIG + '[mqtt]\nhost = "a..b"\nplaintext = true\n')
    assert doctor.main([str(site)]) == 1
    assert "FIX broker a..b:1883 cannot be reached" in capsys.readouterr().out


def test_a_name_that_the_terminal_cannot_show_is_shown_otherwise(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "foveate", "doctor", str(tmp_path / "ö.toml")],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert "\\xf6.toml: cannot be read" in done.stdout


@pytest.mark.parametrize(
    "text",
    ["x = " + "9" * 5000, "x = " + "[" * 100_000, RECIPE.format(r"a\u0000b"), RECIPE.format("")],
    ids=["huge integer", "nested", "nul", "empty path"],
)
def test_a_recipe_that_cannot_be_understood(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(f"recipe {tmp_path / 'r.toml'}: ")):
        load_recipe(tmp_path / "r.toml")


@pytest.mark.parametrize("line", ["mean = nan", "mean = [0.0, inf, 0.0]", "std = nan", "std = 1e-320", "std = 0"])
def test_a_normalisation_that_gives_no_numbers(tmp_path: Path, line: str) -> None:
    (tmp_path / "r.toml").write_text(RECIPE.format("m.onnx") + 'precision = ["float32"]\n' + line)
    with pytest.raises(ConfigError, match=r"semantic\.(mean|std): is "):
        load_recipe(tmp_path / "r.toml")


def test_export_does_not_replace_what_it_did_not_make(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text(RECIPE.format("m.onnx") + 'precision = ["float32"]\n')
    for folder, name in (("a", "manifest.json"), ("b.report", "report.html")):  # a browser extension has a manifest too
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
        (tmp_path / folder / "precious.txt").touch()
    for out in ("a", "b", "x" * 300):
        assert export([str(tmp_path / "r.toml"), "--out", str(tmp_path / out)]) == 78
        assert f"--out {tmp_path / out}" in capsys.readouterr().err
    assert (tmp_path / "a" / "precious.txt").exists()
    assert (tmp_path / "b.report" / "precious.txt").exists()


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(site: Path, closed: str) -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m foveate run {site} {closed}"], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_full_output_is_one_line() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m foveate --help >/dev/full"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.fullmatch("foveate: error: .*No space left on device; free space.*\n", done.stderr)


def test_no_frames_have_no_crossings() -> None:
    assert crossings(1, 0, 1200.0) == []


def test_a_terminated_demo_leaves_nothing_behind(belt_bundle: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-m", "foveate", "demo", "--headless", "--frames", "100000"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 20
    while time.monotonic() < until and not daemons_in(tmp_path):
        time.sleep(0.05)
    assert daemons_in(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    assert process.returncode in {0, 130}
    assert not daemons_in(tmp_path)
    assert not list(tmp_path.glob("foveate-demo-*"))


def daemons_in(folder: Path) -> list[int]:
    """Return the processes that run a configuration in `folder`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except OSError:
            continue
        if b"edge\0" in words and str(folder).encode() in words:
            found.append(int(path.parent.name))
    return found
