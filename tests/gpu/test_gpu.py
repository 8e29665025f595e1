"""On a GPU: memory, plans, parity with onnxruntime, how long it takes, and the cascade end to end."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge.bundle import Bundle, EngineFile, Role, read_engine
from edge.config import Camera, Config, RegionRules, load_config
from edge.daemon import Options, serve
from edge.engines import Engine, open_engine, trt
from edge.engines.cuda_core import CudaCoreMemory
from edge.engines.device_memory import DeviceMemory, PycudaMemory
from edge.engines.ort import OrtEngine
from edge.threads import available_cores
from examples.belt.belt import Belt
from examples.belt.demo import HERE
from export.cascade import Cascade
from export.half import widened
from export.metrics import DEFECT_PX, Panoptic, confusion, mean_iou

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]  # libraries of others warn at will

SEED, FRAMES = 1, 300  # of the belt, end to end
RUNS, WARM = 200, 20  # of the network alone
VERDICTS = ("gate/PASS", "gate/REJECT")
ROLES: tuple[Role, ...] = ("semantic", "instance")
PRECISIONS = ("int8", "float16")
MEMORIES: Mapping[str, Callable[[], DeviceMemory]] = {"pycuda": PycudaMemory, "cuda": CudaCoreMemory}


def file_of(bundle: Bundle, role: Role, precision: str, runtime: str = "tensorrt") -> EngineFile:
    engines = bundle.manifest.models[role].engines
    return next(one for one in engines if (one.runtime, one.precision) == (runtime, precision))


def engine_of(bundle: Bundle, role: Role, precision: str) -> Engine:
    """Return an engine on the GPU."""
    file = file_of(bundle, role, precision)
    return open_engine(read_engine(bundle, file), bundle.manifest.models[role], file, 1)


@pytest.fixture(params=sorted(MEMORIES))
def memory(request: pytest.FixtureRequest) -> Callable[[], DeviceMemory]:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return MEMORIES[request.param]


def there_and_back(memory: Callable[[], DeviceMemory]) -> int:
    """Copy a large array to the GPU and back; return how many of its values are not what they were."""
    opened = memory()
    with opened.current():
        first, second = opened.twin((1080, 1920, 3), np.uint8), opened.twin((7,), np.float32)
        given = np.random.default_rng(0).integers(0, 256, first.host.shape, dtype=np.uint8)
        first.host[...], second.host[...] = given, 0.5
        opened.to_device(first)
        opened.to_device(second)
        opened.synchronize()
        if first.device is not None:  # where both halves are one, there is nothing to bring back
            first.host[...], second.host[...] = 0, 0
        opened.to_host(first)
        opened.to_host(second)
        opened.synchronize()
    wrong = int((first.host != given).sum()) + int((second.host != 0.5).sum())
    del first, second
    gc.collect()
    opened.close()
    return wrong


def test_copies_in_any_thread(memory: Callable[[], DeviceMemory]) -> None:
    found = [there_and_back(memory)]
    worker = threading.Thread(target=lambda: found.append(there_and_back(memory)))
    worker.start()
    worker.join()
    assert found == [0, 0]


def test_both_memories_give_the_same(
    bundle: Bundle, memory: Callable[[], DeviceMemory], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With cuda-core it is a CUDA graph that runs."""
    picture = next(Belt(SEED).frames(1))[:320, :320].copy()
    expected = {name: np.array(value) for name, value in run_once(bundle, picture).items()}
    monkeypatch.setattr(trt, "open_memory", memory)
    for _ in range(2):
        found = run_once(bundle, picture)
        assert {name: np.array_equal(found[name], value) for name, value in expected.items()} == dict.fromkeys(
            expected, True
        )


def run_once(bundle: Bundle, picture: Any) -> dict[str, Any]:
    with contextlib.closing(engine_of(bundle, "instance", "float16")) as engine:
        for _ in range(3):
            found = engine.infer({"image": picture})
        return {name: np.array(value) for name, value in found.items()}


def test_a_plan_is_built_once(bundle: Bundle, plans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine_of(bundle, "semantic", "float16").close()
    assert len(list(plans.glob("*.plan"))) >= 1
    monkeypatch.setattr(trt, "build_plan", None)  # it must not be called again
    engine_of(bundle, "semantic", "float16").close()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_parity_with_onnxruntime(bundle: Bundle, precision: str, figures: dict[str, Any]) -> None:
    """The same files on both, FP16 rounded on the CPU: the labels and the objects are the same but for a few."""
    models = {role: bundle.manifest.models[role] for role in ROLES}
    recipe = RegionRules(min_area_px=500, pad_px=24)
    with contextlib.ExitStack() as stack:
        sides: dict[str, Cascade] = {}
        for side in ("gpu", "cpu"):
            engines: dict[Role, Any] = {}
            for role in ROLES:
                data = read_engine(bundle, file_of(bundle, role, precision))
                cpu = side == "cpu"
                engine = (
                    OrtEngine(role, widened(data), available_cores()) if cpu else engine_of(bundle, role, precision)
                )
                engines[role] = engine
                stack.callback(engine.close)
            sides[side] = Cascade(engines, models, recipe)
        classes = len(models["semantic"].classes)
        counts, panoptic = np.zeros((classes, classes), np.int64), Panoptic()
        belt = Belt(SEED)
        for _ in range(10):
            belt.skip(29)
            image = belt.step().image
            cpu_result = sides["cpu"](image)
            result = sides["gpu"](image, cpu_result.looks)
            assert result.labels is not None and cpu_result.labels is not None  # noqa: PT018  for mypy
            assert result.instances is not None and cpu_result.instances is not None  # noqa: PT018
            counts += confusion(cpu_result.labels.classes, result.labels.classes, classes)
            panoptic.add(cpu_result.instances, result.instances, DEFECT_PX)
    figures[f"{precision}_miou_against_cpu"] = mean_iou(counts)
    figures[f"{precision}_pq_against_cpu"] = panoptic.quality
    assert panoptic.matched > 20
    assert mean_iou(counts) > 0.98
    assert panoptic.quality > 0.95


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("role", ROLES)
def test_how_long_a_network_takes(bundle: Bundle, role: Role, precision: str, figures: dict[str, Any]) -> None:
    """Nothing is asserted of time; it is recorded."""
    picture = np.random.default_rng(0).integers(0, 256, bundle.manifest.models[role].input.shape, dtype=np.uint8)
    begin = time.perf_counter()
    with contextlib.closing(engine_of(bundle, role, precision)) as engine:
        figures[f"{role}_{precision}_open_s"] = time.perf_counter() - begin
        took = []
        for _ in range(WARM + RUNS):
            begin = time.perf_counter()
            engine.infer({"image": picture})
            took.append((time.perf_counter() - begin) * 1000)
    figures[f"{role}_{precision}_ms"] = statistics.median(took[WARM:])
    figures[f"{role}_{precision}_ms_p99"] = float(np.percentile(took[WARM:], 99))


def site(bundle: Bundle, state: Path, runtime: str) -> Config:
    config = load_config(HERE / "config.toml")
    command = ["{python}", "-m", "examples.belt.stream", "--seed", str(SEED), "--frames", str(FRAMES), "--demand"]
    camera: Camera = msgspec.structs.replace(config.cameras["belt"], command=command)
    models = msgspec.structs.replace(config.models, runtime=runtime, precision="int8")
    return msgspec.structs.replace(
        config, bundle=bundle.path, state=state, cameras={"belt": camera}, models=models, mqtt=None
    )


def test_the_cascade_end_to_end(bundle: Bundle, tmp_path: Path, figures: dict[str, Any]) -> None:
    """The daemon's own loop on both: what crosses the line is the same, and what passes the gate but for one part.

    What is under way at the end, and tracks that were never judged, may differ: they count as seen or EXPIRED.
    """
    told = {}
    for runtime in ("onnxruntime", "tensorrt"):
        summary = serve(site(bundle, tmp_path / runtime, runtime), Options())
        told[runtime] = summary["totals"]
        figures[f"cascade_{runtime}_fps"] = summary["fps"]
        figures |= {f"cascade_{runtime}_{stage}_ms": took for stage, took in summary["ms"].items()}
        figures[f"cascade_{runtime}_totals"] = summary["totals"]
    lines = {runtime: {key: n for key, n in told[runtime].items() if key.startswith("count/")} for runtime in told}
    assert sum(lines["onnxruntime"].values()) > 20
    assert lines["tensorrt"] == lines["onnxruntime"]
    verdicts = [Counter({key: told[runtime].get(key, 0) for key in VERDICTS}) for runtime in told]
    flips = sum((verdicts[0] - verdicts[1]).values())
    figures["cascade_verdicts_that_differ"] = flips
    assert sum(verdicts[0].values()) > 20
    assert flips <= 1
