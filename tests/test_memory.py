"""The ceiling: what may still come, against what a machine and its control groups have."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge import allowances as bounds
from edge import config, memory
from edge.allowances import MIB, allowances
from edge.bundle import EngineFile, Model, Role
from edge.errors import ConfigError
from edge.see.found import MOST_MASK_CELLS
from tests.see.coded import COARSE, FRAME, instance_model, semantic_model

FILE = EngineFile("onnxruntime", "float32", "m.onnx", 0, "")
MODELS: dict[Role, Model] = {"semantic": semantic_model(FILE), "instance": instance_model(FILE)}
PICTURE = FRAME[0] * FRAME[1] * 3


class Machine:
    """A fake root folder: /proc and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/self/status", "Name:\tpython\nVmHWM:\t 204800 kB\nVmRSS:\t 102400 kB\n")

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def has(self, mib: int) -> None:
        self.write("proc/meminfo", f"MemTotal: 99999999 kB\nMemFree: 1 kB\nMemAvailable: {mib * 1024} kB\n")

    def group(self, lines: str) -> None:
        self.write("proc/self/cgroup", lines)

    def second(self, folder: str, limit: str, used_mib: int, cache_mib: int = 0, high: str = "max") -> None:
        here = f"sys/fs/cgroup/{folder}"
        self.write(f"{here}/memory.max", f"{limit}\n")
        self.write(f"{here}/memory.high", f"{high}\n")
        self.write(f"{here}/memory.current", f"{used_mib * MIB}\n")
        self.write(f"{here}/memory.stat", f"anon 1\ninactive_file {cache_mib * MIB}\n")

    @property
    def free_mib(self) -> float:
        return memory.available(self.root).free / MIB


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def settings(count: int = 1, **changes: Any) -> config.Config:
    cameras = {f"c{i}": config.Camera(command=["x"], size=FRAME) for i in range(count)}
    fields: dict[str, Any] = {"bundle": Path("b"), "state": Path("s"), "cameras": cameras, **changes}
    return config.Config(**fields)


def grows(rules: config.Config, **options: Any) -> dict[str, int]:
    sizes = dict.fromkeys(rules.cameras, FRAME)
    return allowances(rules, MODELS["semantic"], MODELS["instance"], sizes, **options)


def claim(machine: Machine, rules: config.Config) -> int:
    return memory.claim(rules, MODELS, dict.fromkeys(rules.cameras, FRAME), root=machine.root)


def test_this_machine_is_read() -> None:
    assert 10 * MIB < memory.resident() < 100_000 * MIB
    assert 0 < memory.available().free < math.inf


def test_without_proc_nothing_is_known(tmp_path: Path) -> None:
    assert memory.resident(tmp_path) == 0
    assert memory.available(tmp_path).free == math.inf


def test_resident_is_now_and_not_the_peak(machine: Machine) -> None:
    assert memory.resident(machine.root) == 100 * MIB


def test_the_machine_has_what_is_available_not_what_is_free(machine: Machine) -> None:
    machine.has(300)
    assert machine.free_mib == 300
    assert "MemAvailable" in memory.available(machine.root).limit


def test_a_control_group_leaves_its_limit_less_its_use(machine: Machine) -> None:
    machine.has(3000)
    machine.group("0::/system.slice/foveate\n")
    machine.second("system.slice/foveate", str(500 * MIB), 200)
    assert machine.free_mib == 300
    assert memory.available(machine.root).limit.endswith("sys/fs/cgroup/system.slice/foveate")


def test_cached_files_that_nobody_uses_do_not_count(machine: Machine) -> None:
    machine.has(3000)
    machine.group("0::/a\n")
    machine.second("a", str(500 * MIB), 480, cache_mib=180)
    assert machine.free_mib == 200


@pytest.mark.parametrize("tight", ["a", "a/b", "a/b/c"])
def test_the_tightest_of_all_groups_above_counts(machine: Machine, tight: str) -> None:
    machine.has(3000)
    machine.group("0::/a/b/c\n")
    for folder in ("a", "a/b", "a/b/c"):
        machine.second(folder, str(150 * MIB) if folder == tight else "max", 50)
    assert machine.free_mib == 100


def test_a_group_is_slowed_down_from_its_high_mark_on(machine: Machine) -> None:
    machine.group("0::/a\n")
    machine.second("a", str(500 * MIB), 50, high=str(200 * MIB))
    assert machine.free_mib == 150


def test_a_container_has_its_limit_at_the_root(machine: Machine) -> None:
    machine.has(3000)
    machine.group("0::/\n")
    machine.second("", str(128 * MIB), 28)
    assert machine.free_mib == 100


@pytest.mark.parametrize("group", ["/docker/0123", "/"])
def test_version_1_is_read_too_also_inside_a_container(machine: Machine, group: str) -> None:
    machine.has(3000)
    machine.group(f"9:name=systemd:/x\n4:cpu,memory:{group}\n0::/\n")
    here = "sys/fs/cgroup/memory" + group.rstrip("/")
    machine.write(f"{here}/memory.limit_in_bytes", f"{400 * MIB}\n")
    machine.write(f"{here}/memory.usage_in_bytes", f"{150 * MIB}\n")
    machine.write(f"{here}/memory.stat", f"inactive_file 7\ntotal_inactive_file {50 * MIB}\n")
    assert machine.free_mib == 300


def test_more_in_use_than_allowed_leaves_nothing(machine: Machine) -> None:
    machine.group("0::/a\n")
    machine.second("a", str(100 * MIB), 150)
    assert machine.free_mib == 0


def test_a_group_without_a_limit_and_nonsense_leave_what_the_machine_has(machine: Machine) -> None:
    machine.has(70)
    machine.group("nonsense\n0::/a/\n")
    machine.second("a", "max", 50)
    machine.write("sys/fs/cgroup/memory.max", "lots\n")
    assert machine.free_mib == 70


def test_the_ceiling_is_what_is_in_use_and_what_may_come(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.has(10_000)
    more = sum(grows(settings()).values())
    with caplog.at_level(logging.INFO):
        assert claim(machine, settings()) == math.ceil(100 + more / MIB)
    (line,) = caplog.messages
    assert f"ceiling_mib={math.ceil(100 + more / MIB)} resident_mib=100 free_mib=10000" in line
    assert all(f" {name}_mib=" in line for name in grows(settings()))


def test_where_nothing_is_known_of_the_machine_the_daemon_starts(machine: Machine) -> None:
    assert claim(machine, settings()) > 100


def test_what_does_not_fit_is_refused_with_the_need_and_the_fix(machine: Machine) -> None:
    need = math.ceil(sum(grows(settings()).values()) / MIB)
    machine.has(need)
    claim(machine, settings())
    machine.has(need - 1)
    with pytest.raises(ConfigError) as refused:
        claim(machine, settings())
    text = str(refused.value)
    assert f"need {need + 100} MiB" in text
    assert f"there are {need - 1 + 100} by MemAvailable" in text
    assert "fewer cameras or [attention] canvases" in text


def test_the_group_that_is_too_small_is_named(machine: Machine) -> None:
    machine.has(10_000)
    machine.group("0::/edge\n")
    machine.second("edge", str(110 * MIB), 105)
    with pytest.raises(ConfigError, match=r"by the memory limit of .*sys/fs/cgroup/edge;"):
        claim(machine, settings())


def test_every_camera_needs_its_own() -> None:
    one, eight = grows(settings()), grows(settings(8))
    for part in ("frames", "labels", "tracks", "audit", "attention"):
        assert eight[part] == 8 * one[part] > 0, part
    assert sum(one.values()) < sum(eight.values()) < 8 * sum(one.values())


def test_canvases_lines_gates_receivers_and_the_overlay_need_more() -> None:
    line = config.Line(name="l", camera="c0", start=(1, 1), end=(1, 9))
    gate = config.Gate(name="g", camera="c0", start=(1, 1), end=(1, 9), direction="right")
    plain = sum(grows(settings()).values())
    for changed in (
        settings(attention=config.Attention(canvases=9)),
        settings(lines=[line]),
        settings(gates=[gate]),
        settings(mqtt=config.Mqtt()),
    ):
        assert sum(grows(changed).values()) > plain
    tls = settings(mqtt=config.Mqtt(ca_file=Path("ca")))
    assert grows(tls)["delivery"] == grows(settings(mqtt=config.Mqtt()))["delivery"] + bounds.TLS_BYTES
    assert grows(settings(), save=True)["overlay"] == 8 * PICTURE


def test_a_coarse_model_needs_more_where_it_is_open_and_no_smaller_maps_than_it_makes() -> None:
    plain, coarse = grows(settings()), grows(settings(), coarse=semantic_model(FILE, COARSE))
    assert coarse["halves"] == 2 * plain["halves"] == 2 * PICTURE // 3
    assert coarse["labels"] == plain["labels"]
    assert grows(settings(), coarse=semantic_model(FILE, (800, 600)))["labels"] == 100 * plain["labels"]


def test_threads_that_run_the_models_side_by_side_need_more() -> None:
    one, four = (grows(settings(8, models=config.Models(threads=threads))) for threads in (1, 4))
    assert four["halves"] == 5 * one["halves"] >= 5 * PICTURE / 4
    assert four["threads"] == one["threads"] + 8 * bounds.THREAD_BYTES
    both = grows(settings(8, models=config.Models(threads=4)), coarse=semantic_model(FILE, COARSE))
    assert both["halves"] == 2 * four["halves"]
    assert both["threads"] == four["threads"] + 4 * bounds.THREAD_BYTES
    assert grows(settings(1, models=config.Models(threads=4))) == grows(settings(1, models=config.Models(threads=1)))


@pytest.mark.parametrize(
    ("camera", "pictures"),
    [
        ({"command": ["x"], "size": FRAME}, 2),
        ({"command": ["x"], "size": FRAME, "live": True}, 4),
        ({"source": "."}, 4),
    ],
)
def test_the_frames_in_flight_are_those_of_the_source(camera: dict[str, Any], pictures: int) -> None:
    rules = settings(cameras={"c": msgspec.convert(camera, config.Camera)})
    assert grows(rules)["frames"] == pictures * PICTURE


@pytest.mark.parametrize("source", ["rtsp://h/s", "usb:0", "film.mp4"])
def test_a_decoder_keeps_pictures_of_its_own(source: str) -> None:
    found = grows(settings(cameras={"c": config.Camera(source=source)}))["frames"]
    assert found > 4 * PICTURE + bounds.STREAM_BYTES


def test_a_model_of_many_objects_and_large_masks_stays_bounded() -> None:
    instance = MODELS["instance"]
    wide = msgspec.structs.replace(instance, input=msgspec.structs.replace(instance.input, shape=(4096, 4096, 3)))
    rules = settings(attention=config.Attention(canvases=64))
    found = allowances(rules, MODELS["semantic"], wide, {"c0": FRAME})
    assert found["tracks"] < 1.2 * 1000 * MOST_MASK_CELLS
    many = [msgspec.structs.replace(spec, shape=(5000, 3)) if spec.name == "peaks" else spec for spec in wide.outputs]
    pairs = allowances(rules, MODELS["semantic"], msgspec.structs.replace(instance, outputs=many), {"c0": FRAME})
    assert pairs["work"] > 2000**2 * 8
