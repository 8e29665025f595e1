"""Threads that share the inferences: each with its own engine, results as one engine alone would give them."""

from __future__ import annotations

import threading
import weakref
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from edge.bundle import open_bundle, read_engine
from edge.config import Attention, Camera, Config, Line, Models, RegionRules, TrackRules
from edge.daemon import Options, open_models, serve
from edge.engines import choose_engine, open_engine
from edge.errors import EngineError
from edge.workers import Workers, results, worker_counts
from examples.belt.belt import Belt
from tests.see.coded import write_belt, write_bundle

PATIENCE_S = 20.0


class Tool:
    """Notes the threads that it is made, used and closed in."""

    def __init__(self, stack: ExitStack | None = None) -> None:
        self.threads = [threading.current_thread()]
        if stack is not None:
            stack.callback(self.use)

    def use(self) -> None:
        self.threads.append(threading.current_thread())


def test_a_tool_is_made_used_and_closed_in_one_thread() -> None:
    made: list[Tool] = []

    def make(stack: ExitStack) -> Tool:
        made.append(Tool(stack))
        return made[-1]

    workers = Workers("w", make, 3)
    for future in [workers.submit(Tool.use) for _ in range(30)]:
        future.result()
    workers.close()
    assert len({tool.threads[0] for tool in made}) == 3
    for tool in made:
        assert set(tool.threads) == {tool.threads[0]} != {threading.current_thread()}
    assert sum(len(tool.threads) for tool in made) == 3 * 2 + 30


def test_results_come_in_order_and_jobs_run_side_by_side() -> None:
    meeting = threading.Barrier(2)

    def job(number: int, _: Tool) -> int:
        meeting.wait(PATIENCE_S)  # nobody passes alone
        return number

    workers = Workers("w", Tool, 2)
    gets = results([partial(job, i) for i in range(6)], Tool(), workers)
    assert [get() for get in gets] == list(range(6))
    workers.close()


@pytest.mark.parametrize(("jobs", "shared"), [(1, False), (2, False), (3, True), (9, True)])
def test_few_jobs_are_done_with_all_cores_one_by_one(jobs: int, shared: bool) -> None:
    mine = Tool()
    workers = Workers("w", Tool, 4)
    used = [get() for get in results([lambda tool: tool] * jobs, mine, workers)]
    workers.close()
    assert [tool is not mine for tool in used] == [shared] * jobs
    assert [get() for get in results([lambda tool: tool] * jobs, mine, None)] == [mine] * jobs


def test_a_tool_that_cannot_be_made_is_raised_and_no_thread_stays() -> None:
    turns = iter([True, False])

    def make(_: ExitStack) -> Tool:
        if next(turns):
            return Tool()
        raise EngineError("model m: refused")

    before = threading.active_count()
    with pytest.raises(EngineError, match="refused"):
        Workers("w", make, 2)
    assert threading.active_count() == before


def test_where_a_thread_cannot_be_started_those_before_it_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start, turns = threading.Thread.start, iter([True, False])

    def limited(thread: threading.Thread) -> None:
        if not next(turns):
            raise RuntimeError("can't start new thread")
        start(thread)

    before = threading.active_count()
    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="start new thread"):
        Workers("w", Tool, 2)
    assert threading.active_count() == before


def test_nothing_is_kept_of_what_is_done() -> None:
    workers, done = Workers("w", Tool, 1), threading.Event()
    picture = np.zeros((4, 4, 3), np.uint8)
    weakref.finalize(picture, done.set)
    workers.submit(partial(lambda _, image: image.sum(), image=picture)).result()
    del picture
    freed = done.wait(PATIENCE_S)  # before the thread ends, which would free it too
    workers.close()
    assert freed


def test_an_error_in_a_job_is_its_result_and_the_thread_goes_on() -> None:
    workers = Workers("w", Tool, 1)
    failed, after = workers.submit(lambda _: 1 // 0), workers.submit(lambda _: 1)
    with pytest.raises(ZeroDivisionError):
        failed.result(PATIENCE_S)
    assert after.result(PATIENCE_S) == 1
    workers.close()


@pytest.mark.parametrize(
    ("cores", "cameras", "canvases", "semantic", "instance"),
    [(1, 8, 1, 0, 0), (2, 1, 1, 0, 0), (2, 1, 2, 0, 0), (2, 8, 1, 2, 2), (16, 3, 2, 3, 6)],
)
def test_no_more_threads_than_cores_or_inferences(
    cores: int, cameras: int, canvases: int, semantic: int, instance: int
) -> None:
    given = Config(
        bundle=Path("b"),
        state=Path("s"),
        cameras={f"c{i}": Camera(source="x") for i in range(cameras)},
        models=Models(threads=cores),
        attention=Attention(canvases=canvases),
    )
    assert worker_counts(given) == {"semantic": semantic, "instance": instance}


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_what_a_network_gives_does_not_depend_on_its_threads(
    belt_bundle: Path, precision: Literal["int8", "float32"]
) -> None:
    """Which engine looks at a frame depends on what else is there; what is decided must not."""
    bundle = open_bundle(belt_bundle)
    image = next(iter(Belt(7).frames(1)))
    for model in bundle.manifest.models.values():
        file = choose_engine(model, Models(precision=precision))
        feeds = {model.input.name: np.ascontiguousarray(image[: model.input.shape[0], : model.input.shape[1]])}
        found = []
        for threads in (1, 2, 3):
            engine = open_engine(read_engine(bundle, file), model, file, threads)
            found.append({name: array.copy() for name, array in engine.infer(feeds).items()})
            engine.close()
        for name, array in found[0].items():
            assert (found[1][name] == array).all()
            assert (found[2][name] == array).all()


def test_the_daemon_decides_the_same_with_one_thread_and_with_several(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle")
    write_belt(tmp_path / "pictures", 60, 3)
    told = []
    for threads in (1, 2):
        rules = Config(
            bundle=tmp_path / "bundle",
            state=tmp_path / f"state{threads}",
            cameras={name: Camera(source=str(tmp_path / "pictures"), fps=10) for name in "ab"},
            models=Models(threads=threads),
            regions=RegionRules(min_area_px=50, pad_px=6),
            tracks=TrackRules(motion="belt", at_border="wait"),
            lines=[Line(name=f"door-{name}", camera=name, start=(80, 0), end=(80, 120)) for name in "ab"],
        )
        with ExitStack() as stack:
            models = open_models(rules, open_bundle(rules.bundle), stack)
            assert (models.semantics is not None) == (threads > 1)
        told.append(serve(rules, Options()))
    assert told[0]["counted"] == told[1]["counted"]
    assert len(told[0]["counted"]) == 2
