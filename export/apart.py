"""Take a foreign model in in a process of its own: what a hostile file does to a parser, it does there.

The child reads the file, checks it, brings it into canonical form and runs it once. It has so much memory and so much
time, and a folder for what it writes, which is removed. What comes back are bytes that a checker has accepted and an
engine has run; a child that crashes, hangs or wants too much is a refusal like any other.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from edge import bundle
from edge.errors import ConfigError, EngineError, FoveateError
from export.errors import ModelError
from export.recipe import Appearance, Instance, Semantic

ROOT: Final = Path(__file__).resolve().parents[1]
SECONDS = 30  # by the clock and of the processor; a benchmark on a busy machine lets the clock run on
MEMORY_BYTES: Final = 2 << 30
ERRORS: Final = {error.exit_code: error for error in (ModelError, ConfigError, EngineError)}


class Wanted(msgspec.Struct, frozen=True):
    """What the child is asked for."""

    role: bundle.Role
    semantic: Semantic | None = None
    instance: Instance | None = None
    appearance: Appearance | None = None


class TakenIn(msgspec.Struct, frozen=True):
    """A model in canonical form, on its way between two processes."""

    role: bundle.Role
    graph: bytes  # a serialized ONNX model
    model: bundle.Model
    sensitive: tuple[str, ...]
    found: Wanted  # the source with what the file says of itself and what its outputs show

    @property
    def source(self) -> Semantic | Instance | Appearance:
        """Return how the model was read, nothing left out."""
        source = _source(self.found)
        assert source is not None  # noqa: S101  the child never sends another
        return source


def take_in(role: bundle.Role, source: Semantic | Instance | Appearance) -> list[TakenIn]:
    """Return the model of `source`, and of a semantic one with a `coarse_size` the coarse one too.

    Raises `ModelError` where the file cannot be taken, `ConfigError` where its recipe does not fit it; never later than
    after `SECONDS`, and never with more than `MEMORY_BYTES`.
    """
    wanted = _wanted(role, source)
    with tempfile.TemporaryDirectory(prefix="foveate-model-") as folder:
        done = _asked(wanted, source.model, {"TMPDIR": folder})
    if done.returncode:
        raise _refusal(source.model, done.returncode, done.stderr.decode(errors="backslashreplace").strip())
    return msgspec.msgpack.decode(done.stdout, type=list[TakenIn], dec_hook=_path)


def _wanted(role: bundle.Role, source: Semantic | Instance | Appearance) -> Wanted:
    return Wanted(
        role,
        source if isinstance(source, Semantic) else None,
        source if isinstance(source, Instance) else None,
        source if isinstance(source, Appearance) else None,
    )


def _source(wanted: Wanted) -> Semantic | Instance | Appearance | None:
    return wanted.semantic or wanted.instance or wanted.appearance


def _asked(wanted: Wanted, path: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    """Run the child with `environment` beside this process's own; raises `ModelError` where it takes too long."""
    where = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    try:
        return subprocess.run(
            [sys.executable, "-m", "export.apart"],
            input=msgspec.msgpack.encode(wanted, enc_hook=str),
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": where, **environment},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"model {path}: {_TOO_LONG}") from error


_TOO_LONG = f"is not understood within {SECONDS} s; an edge device needs a smaller model"


def _refusal(path: Path, code: int, said: str) -> FoveateError:
    """Return the child's error, or what became of it."""
    if code in ERRORS and said:
        return ERRORS[code](said)
    if code in {-signal.SIGXCPU, -signal.SIGKILL}:
        return ModelError(f"model {path}: {_TOO_LONG}")
    if "MemoryError" in said or "bad_alloc" in said or "bad allocation" in said:
        limit = f"{MEMORY_BYTES >> 30} GiB"
        return ModelError(f"model {path}: needs more than {limit} to be read; an edge device needs a smaller model")
    how = signal.Signals(-code).name if code < 0 else " ".join(said.splitlines()[-1:]) or f"code {code}"
    return ModelError(f"model {path}: the process that read it ended with {how}; the file is damaged, export it again")


def main() -> int:
    """Do what `take_in` asks for on standard input; return the exit code."""
    wanted = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Wanted, dec_hook=_path)
    _limit()
    try:
        found = _taken_in(wanted)
    except FoveateError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    sys.stdout.buffer.write(msgspec.msgpack.encode(found, enc_hook=str))
    return 0


def _limit() -> None:
    """Let this process have no more than it may."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _taken_in(wanted: Wanted) -> list[TakenIn]:
    # imported here: the parent needs none of it, and the child's limits hold for the libraries too
    from export.candidate import candidate, run_once  # noqa: PLC0415
    from export.coarse import coarse_candidate  # noqa: PLC0415

    source = _source(wanted)
    if source is None:
        return []
    found = [candidate(wanted.role, source)]
    run_once(found[0])
    if isinstance(source, Semantic) and source.coarse_size is not None:
        found.append(coarse_candidate(found[0], source))
    return [
        TakenIn(one.role, one.files[one.native], one.model, one.sensitive, _wanted(one.role, one.source))
        for one in found
    ]


def _path(kind: type[Any], value: Any) -> Any:
    return kind(value)


if __name__ == "__main__":
    sys.exit(main())
