"""The command `foveate`: finds the subcommand and turns errors into one line and an exit code.

A subcommand is imported only when it is called, so what the device does not need it does not load.
"""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from edge import threads
from edge.errors import FoveateError


class _Command(NamedTuple):
    where: str  # module:function; the function takes the arguments and returns the exit code
    what: str


COMMANDS = {
    "run": _Command("edge.__main__:main", "look at cameras or recordings, count, judge, tell the broker"),
    "demo": _Command("examples.belt.demo:main", "see it work: a simulated belt, a broker and a receiver"),
    "export": _Command("export.cli:main", "make a bundle from trained models and recordings"),
    "calibrate": _Command("calibration.cli:main", "millimetres per pixel from pictures of a printed board"),
    "bench": _Command("deploy.bench:main", "what a configuration costs on this device, stage by stage"),
    "doctor": _Command("deploy.doctor:main", "check this machine and a configuration, and say what to fix"),
    "replay": _Command("edge.replay:main", "what is decided in a recording, the same bytes on every run"),
    "check": _Command("deploy.check:main", "whether reference pictures are still judged as expected"),
    "ledger": _Command("deploy.ledger:main", "what was decided, who has it, and whether it adds up"),
}
_OUR_PACKAGES = {"edge", "calibration", "export", "deploy", "examples", "foveate"}
_EXTRAS = {
    **dict.fromkeys(("onnx", "matplotlib", "rich", "typer"), "export"),
    "iotcore": "demo",
    "torch": "train",
    "pycocotools": "bench",
    "pycuda": "tensorrt",
    "tensorrt": "tensorrt",
}
USAGE_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141  # as shells report them


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit code."""
    threads.pin()
    _open_standard_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that this terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
    except FoveateError as error:
        return _fail(str(error), error.exit_code)
    except MemoryError as error:
        return _fail(f"not enough memory: {error}; use smaller frames or models", 1)
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        # Nobody takes our output any more; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return BROKEN_PIPE
        return _fail(f"{error}; free space there, or mend what it names", 1)
    return code


def _open_standard_streams() -> None:
    """Open what of the three was closed (`>&-`): another file would get its number, and ours what is printed."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  open to the end
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  open to the end


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(_help())
        return 0 if arguments else USAGE_ERROR
    name, *rest = arguments
    if name in {"-V", "--version"}:
        print(f"foveate {_version()}")
        return 0
    if name not in COMMANDS:
        import difflib  # noqa: PLC0415  what is imported above, Ctrl-C can still interrupt with a traceback

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(COMMANDS)}"
        return _fail(f"no command {name!r}; {hint}", USAGE_ERROR)
    try:
        return _load(COMMANDS[name].where)(rest)
    except ModuleNotFoundError as error:
        return _fail(_what_is_missing(name, error), 1)


def _load(where: str) -> Callable[[list[str]], int]:
    module, function = where.split(":")
    loaded: Callable[[list[str]], int] = getattr(importlib.import_module(module), function)
    return loaded


def _what_is_missing(command: str, error: ModuleNotFoundError) -> str:
    package = (error.name or str(error)).split(".")[0]
    if package in _OUR_PACKAGES:
        return f"{command} is not part of this installation: {error}; install foveate from a complete checkout"
    if package in _EXTRAS:
        extra = _EXTRAS[package]
        return f"{command} needs {package}, which is not installed; in the checkout: pip install -e '.[{extra}]'"
    return (
        f"{command} needs {package}, which is not installed; install foveate again, in the checkout: pip install -e ."
    )


def _version() -> str:
    from importlib import metadata  # noqa: PLC0415  see above

    try:
        return metadata.version("foveate")
    except metadata.PackageNotFoundError:
        return "(from a checkout that is not installed)"


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.what}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: foveate COMMAND [ARGUMENTS]",
            "",
            "Semantic segmentation on every frame, instance segmentation where it pays, counts that reconcile.",
            "",
            *lines,
            "",
            "foveate COMMAND --help tells more; foveate --version tells which one this is.",
        ]
    )


def _fail(text: str, code: int) -> int:
    print(f"foveate: error: {text}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
