"""Let a builder try a TensorRT file, in a process of its own; TensorRT-RTX does that without a GPU.

A builder ends a process when it fails badly, and it may take long; neither is to end an export. Run as a module it is
the child: the file on standard input, a line of JSON on standard output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from edge.engines import installed
from edge.engines.builder import UnbuildableError, build_plan, import_tensorrt, version_of
from edge.errors import EngineError
from export.errors import ModelError

ROOT: Final = Path(__file__).resolve().parents[1]
SECONDS: Final = 1800  # TensorRT measures on the GPU; TensorRT-RTX needs seconds


class Tried(msgspec.Struct, frozen=True):
    """What a builder made of a file."""

    builder: str  # name and version; empty: there is none here
    error: str = ""  # why it cannot be built
    unbuildable: str = ""  # what the builder said where it has no way to run a node
    plan_bytes: int = 0


def try_build(name: str, data: bytes) -> Tried:
    """Return what the builder that is installed here makes of an ONNX file; raises `ModelError` where it never ends."""
    if not (installed("tensorrt") or installed("tensorrt_rtx")):
        return Tried("")
    where = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    try:
        done = subprocess.run(
            [sys.executable, "-m", "export.buildable", name],
            input=data,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            env={**os.environ, "PYTHONPATH": where},
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(f"model {name}: TensorRT has not built it within {SECONDS} s; use a smaller model") from error
    try:
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=Tried)
    except (IndexError, msgspec.MsgspecError):
        said = " ".join(done.stderr.decode(errors="backslashreplace").split())[-300:]
        return Tried(
            "TensorRT", f"model {name}: the builder ended with code {done.returncode}: {said or 'no word why'}"
        )


def main() -> int:
    """Build what is on standard input."""
    name, trt = sys.argv[1], import_tensorrt()
    builder = version_of(trt)
    try:
        built = build_plan(trt, name, sys.stdin.buffer.read())
        tried = Tried(builder, plan_bytes=len(built.plan))
    except UnbuildableError as error:
        tried = Tried(builder, str(error), error.said)
    except EngineError as error:
        tried = Tried(builder, str(error))
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(tried) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
