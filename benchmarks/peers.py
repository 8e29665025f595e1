"""The cascade against peers on a real street: the same weights and frames, each in a process of its own, in turn.

Ultralytics' `ObjectCounter`, SAHI's sliced prediction, and supervision's `InferenceSlicer` with a tracker and line
zones, each set up as its documentation says, with YOLOv8n-seg 320 as ONNX and the threads that it takes by itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from benchmarks.cascade_street import WARM_FRAMES, crossed
from benchmarks.common import ROOT, Options, data_folder
from benchmarks.full_frame import spread
from benchmarks.people import boxes_of, compare
from benchmarks.street import TRAIN_FRAMES, street_bundle
from edge.errors import FoveateError
from edge.types import Boxes

HERE: Final = Path(__file__).parent
NEEDED: Final = ("ultralytics", "sahi", "supervision", "trackers", "onnxruntime")
PEERS: Final = ("ultralytics", "sahi", "supervision")
OWN: Final = ("int8", "float32")
FRAMES, QUICK_FRAMES, CHUNK = 795, 440, 40  # where it ends; frames of one turn
STARTS, QUICK_STARTS = 3, 1
POOLS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")  # which we pin for ourselves
HOW: Final = (
    "make an environment for them: python -m venv .venv-peers && .venv-peers/bin/pip install -r benchmarks/peers.txt, "
    "then --peers-python .venv-peers/bin/python"
)


@dataclass
class Heard:
    """What one contender said."""

    ms: list[float] = field(default_factory=list)
    rounds: list[float] = field(default_factory=list)  # frames/s of each turn
    boxes: list[Boxes] = field(default_factory=list)
    before: dict[str, int] | None = None  # counts before the first judged frame
    counts: dict[str, int] | None = None
    rss_mb: float = 0.0
    starts_s: list[float] = field(default_factory=list)


def run(options: Options) -> dict[str, Any]:
    """Return speed, detections, counts, memory and time to the first result of all."""
    data = data_folder()
    peers = interpreter(options.peers_python)
    judged = range(TRAIN_FRAMES, QUICK_FRAMES if options.quick else FRAMES)
    commands = _commands(peers, data, quick=options.quick)
    heard = {name: Heard() for name in commands}
    for number in range(QUICK_STARTS if options.quick else STARTS):
        for name in turned(list(commands), number):
            heard[name].starts_s.append(_start_s(commands[name]))
    with contextlib.ExitStack() as stack:
        asked = {name: stack.enter_context(_started(command)) for name, command in commands.items()}
        for name, process in asked.items():
            heard[name].before = process.ask(judged.start - WARM_FRAMES, judged.start)["counts"]
        for number, first in enumerate(range(judged.start, judged.stop, CHUNK)):
            for name in turned(list(asked), number):
                _note(heard[name], asked[name].ask(first, min(first + CHUNK, judged.stop)))
    _count_second_line(heard["ultralytics"], commands["ultralytics"], judged)
    truth = boxes_of(data / "vtest" / "gt.txt")
    real = {i: truth.get(index, np.zeros((0, 4), np.float32)) for i, index in enumerate(judged)}
    lines = Counter({key.replace("/person/", "/"): total for key, total in crossed(data, judged).items()})
    figures: dict[str, Any] = {"frames": len(judged), "crossings": lines.total()}
    for name, said in heard.items():
        figures |= {f"{name}_{key}": value for key, value in _figures(said, real, lines).items()}
    return figures


def turned(names: list[str], by: int) -> list[str]:
    """Return `names` in an order that begins elsewhere each time."""
    start = by % max(1, len(names))
    return names[start:] + names[:start]


def counted(before: dict[str, int] | None, after: dict[str, int] | None) -> Counter[str] | None:
    """Return what was counted in between, None where nothing counts."""
    if after is None:
        return None
    return Counter({key: total - (before or {}).get(key, 0) for key, total in after.items()})


def interpreter(path: Path | None, needed: tuple[str, ...] = NEEDED, how: str = HOW) -> Path:
    """Return the interpreter of the peers; raises `FoveateError` where it is missing, or lacks one that is needed."""
    if path is None:
        raise FoveateError(f"peers: no interpreter is named; {how}")
    if not path.exists():
        raise FoveateError(f"--peers-python {path}: is not there; {how}")
    code = f"import importlib.util\nprint(*[n for n in {needed} if importlib.util.find_spec(n) is None])"
    done = subprocess.run([str(path), "-c", code], capture_output=True, text=True, check=False)
    if done.returncode or done.stdout.strip():
        raise FoveateError(f"--peers-python {path}: lacks {done.stdout.strip() or 'a working Python'}; {how}")
    return path.absolute()


def _commands(peers: Path, data: Path, *, quick: bool) -> dict[str, list[str]]:
    model, video = str(data / "weights" / "yolov8n-seg_320.onnx"), str(data / "vtest" / "vtest.avi")
    bundle = str(street_bundle(quick=quick).path)
    own = [sys.executable, "-m", "benchmarks.peers_own", bundle, str(data)]
    commands = {f"foveate_{precision}": [*own, precision, video] for precision in OWN}
    worker = [str(peers), str(HERE / "peers_worker.py")]
    return commands | {name: [*worker, name, model, video] for name in PEERS}


@contextlib.contextmanager
def _started(command: list[str], **more: str) -> Iterator[Contender]:
    """Run a contender; it ends with its standard input."""
    ours = command[0] == sys.executable
    environment = {key: value for key, value in os.environ.items() if ours or key not in (*POOLS, "PYTHONPATH")}
    environment |= {"YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false", **more}
    with tempfile.TemporaryFile("w+") as words:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=words, text=True, cwd=ROOT if ours else None, env=environment
        )
        try:
            yield Contender(Path(command[1]).stem if not ours else command[2], process, words)
        finally:
            process.terminate()
            process.communicate()


@dataclass
class Contender:
    """A process that is asked."""

    name: str
    process: subprocess.Popen[str]
    words: IO[str]  # what it says beside its answers

    def ask(self, first: int, last: int) -> dict[str, Any]:
        """Return what it says of frames `first` to `last`; raises `FoveateError` with its last words."""
        line = ""
        with contextlib.suppress(OSError):
            print(first, last, file=self.process.stdin, flush=True)
            line = self.process.stdout.readline() if self.process.stdout is not None else ""
        if not line:
            self.words.seek(0)
            said = self.words.read().strip().splitlines()
            raise FoveateError(f"peers: {self.name} ended: {said[-1] if said else 'no word why'}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _start_s(command: list[str]) -> float:
    """Return the seconds from the start of a process to what it finds in its first frame."""
    start = time.perf_counter()
    with _started(command) as process:
        process.ask(0, 1)
        return time.perf_counter() - start


def _note(heard: Heard, said: dict[str, Any]) -> None:
    heard.ms += said["ms"]
    heard.rounds.append(1e3 * len(said["ms"]) / sum(said["ms"]))
    heard.boxes += [np.asarray(boxes, np.float32).reshape(-1, 4) for boxes in said["boxes"]]
    heard.counts, heard.rss_mb = said["counts"], said["rss_mb"]


def _count_second_line(heard: Heard, command: list[str], judged: range) -> None:
    """Add the counts of a second counter, which has a region of its own; its time does not count."""
    with _started(command, ULTRALYTICS_LINE="y=200") as process:
        before = process.ask(judged.start - WARM_FRAMES, judged.start)["counts"]
        after = process.ask(judged.start, judged.stop)["counts"]
    heard.before, heard.counts = {**(heard.before or {}), **before}, {**(heard.counts or {}), **after}


def _figures(heard: Heard, truth: dict[int, Boxes], lines: Counter[str]) -> dict[str, Any]:
    found, extra, missed = compare(heard.boxes, truth)
    fps, low, high, _ = spread(heard.rounds)
    figures: dict[str, Any] = {
        "fps": fps,
        "fps_p10_p90": f"{low:.1f} {high:.1f}",
        "ms": spread(heard.ms)[0],
        "recall": found / max(1, found + missed),
        "precision": found / max(1, found + extra),
        "rss_mb": heard.rss_mb,
        "first_result_s": spread(heard.starts_s)[0],
    }
    told = counted(heard.before, heard.counts)
    if told is not None:
        wrong = sum(abs(told[key] - lines[key]) for key in told.keys() | lines.keys())
        figures |= {"counted": told.total(), "count_wrong": wrong, "count_error": wrong / max(1, lines.total())}
        figures["counts"] = " ".join(f"{key} {told[key]}/{lines[key]}" for key in sorted(told.keys() | lines.keys()))
    return figures
