"""Several inferences at once: small networks gain little from a second thread, two of them side by side all of it.

Each thread has an engine of its own, opened in it and used by it alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from edge.bundle import Role
from edge.config import Config
from edge.threads import available_cores

Tool = TypeVar("Tool")
Result = TypeVar("Result")


class Workers(Generic[Tool]):
    """Threads that each have made a tool and use it alone. Work goes to whichever is free; the tools are alike."""

    def __init__(self, name: str, make: Callable[[ExitStack], Tool], count: int) -> None:
        """Start `count` threads, each of which makes its tool; what `make` puts on its stack is closed there.

        Returns when all are ready; raises what `make` has raised, after all threads have ended.
        """
        self.count = count
        self._work: SimpleQueue[tuple[Future[Any], Callable[[Tool], Any]] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        ready: list[Future[None]] = [Future() for _ in range(count)]
        try:
            for i, made in enumerate(ready):
                thread = threading.Thread(target=self._run, args=(make, made), name=f"{name}-{i}")
                thread.start()
                self._threads.append(thread)
            for made in ready:
                made.result()
        except BaseException:
            self.close()
            raise

    def submit(self, job: Callable[[Tool], Result]) -> Future[Result]:
        """Have `job` done with the tool of the thread that is free first; jobs begin in the order they come in."""
        future: Future[Result] = Future()
        self._work.put((future, job))
        return future

    def close(self) -> None:
        """End the threads once everything submitted is done; each closes what it has opened."""
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()

    def _run(self, make: Callable[[ExitStack], Tool], made: Future[None]) -> None:
        with ExitStack() as stack:
            try:
                tool = make(stack)
            except BaseException as error:  # noqa: BLE001  as an executor does: the caller gets it
                made.set_exception(error)
                return
            made.set_result(None)
            while (work := self._work.get()) is not None:
                _do(*work, tool)
                del work  # or the frame that it was about would be kept until the next one comes


def _do(future: Future[Result], job: Callable[[Tool], Result], tool: Tool) -> None:
    try:
        future.set_result(job(tool))
    except BaseException as error:  # noqa: BLE001  as an executor does: the caller gets it
        future.set_exception(error)


def cores_of(config: Config) -> int:
    """Return how many cores the models have."""
    return config.models.threads or available_cores()


def worker_counts(config: Config) -> dict[Role, int]:
    """Return for each model how many threads can be busy at a time, at most the cores; 0 with one core or camera.

    A round has a frame of each camera, and for each its canvases. One camera keeps an engine with all cores: it must
    not wait for the slower of two.
    """
    cameras = len(config.cameras)
    most: dict[Role, int] = {"semantic": cameras, "instance": cameras * config.attention.canvases}
    alone = cameras < 2 or cores_of(config) < 2
    return {role: 0 if alone else min(cores_of(config), inferences) for role, inferences in most.items()}


def results(
    jobs: Sequence[Callable[[Tool], Result]], mine: Tool, workers: Workers[Tool] | None
) -> list[Callable[[], Result]]:
    """Return what gives the result of each job, in their order; each is called once.

    `mine` does them one by one, when asked, with all cores to itself; where there are more jobs than half of the
    `workers`, these do them side by side, beginning now.
    """
    if workers is None or len(jobs) <= workers.count // 2:
        return [partial(job, mine) for job in jobs]
    return [workers.submit(job).result for job in jobs]
