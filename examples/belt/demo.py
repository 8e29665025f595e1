"""`foveate demo`: the whole path on the synthetic belt, from two trained models to reconciled counts.

A broker from PyPI on a port of the loopback interface, the belt's bundle (exported once, then cached), the daemon as
its users run it, and a receiver that acknowledges; at the end, what was told is compared with what was on the belt.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from deploy.archive import Event as Received
from deploy.receiver import Receiver, Settings
from edge.__main__ import positive
from edge.config import Config, Mqtt, load_config
from edge.errors import BrokerError, FoveateError
from edge.events import Event
from edge.summary import check_target, write_json
from examples.belt.live import LiveTable, export_progress, print_summary
from examples.belt.score import as_json, score
from export.build import cached_bundle

HERE = Path(__file__).parent
BROKER_START_S = 10.0
DRAIN_S = 15.0  # after the last frame, for what is still queued
ROUTER = 0
BROKER = """
id = {router}
[router]
id = {router}
max_connections = 100
max_outgoing_packet_count = 2000
max_segment_size = 104857600
max_segment_count = 10
[v5.1]
name = "demo"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
[v5.1.connections]
connection_timeout_ms = 5000
max_payload_size = 1048576
max_inflight_count = 200
dynamic_filters = true
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; return its exit code."""
    options = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: nothing that was started is left behind
        signal.signal(number, signal.default_int_handler)
    for flag, path in (("--json", options.json), ("--save", options.save)):
        check_target(flag, path)
    console = Console(stderr=options.headless)
    events: list[Event] = []
    with tempfile.TemporaryDirectory(prefix="foveate-demo-") as folder:
        with export_progress(console) as progress:
            bundle = cached_bundle(HERE / "recipe.toml", cache_folder(), progress)
        port = free_port()
        config = _config(options, bundle.path, Path(folder), port)
        with _broker(port, Path(folder)), _receiver(port, Path(folder), events):
            table = None if options.headless else LiveTable(console, config)
            summary = _daemon(config, options, Path(folder), table)
    frames = summary["frames"] if summary["interrupted"] else options.frames
    result = {**summary, "seed": options.seed, **as_json(score(options.seed, frames, events))}
    result["received"] = len(events)
    if options.json is not None:
        write_json(options.json, result)
    print_summary(console, result)
    return 0


def cache_folder() -> Path:
    """Return the folder of exported bundles, as the XDG base directory specification has it."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "foveate" / "bundles"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FoveateError(f"cache {folder}: cannot be made: {error.strerror}; set XDG_CACHE_HOME") from error
    return folder


def free_port() -> int:
    """Return a port of the loopback interface that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _config(options: argparse.Namespace, bundle: Path, folder: Path, port: int) -> Config:
    """Return the belt's configuration with this run's seed, bundle, state folder and broker."""
    config = load_config(HERE / "config.toml")
    stream = ["{python}", "-m", "examples.belt.stream", "--seed", str(options.seed), "--frames", str(options.frames)]
    camera = msgspec.structs.replace(config.cameras["belt"], command=[*stream, "--demand"])
    return msgspec.structs.replace(
        config,
        bundle=bundle,
        state=folder / "state",
        cameras={"belt": camera},
        mqtt=Mqtt(host="127.0.0.1", port=port, receivers=["demo"], drain_s=DRAIN_S),
    )


@contextlib.contextmanager
def _broker(port: int, folder: Path) -> Iterator[None]:
    """Run a broker on the loopback interface; raises `BrokerError` where it does not start."""
    from iotcore import Broker  # noqa: PLC0415  only the demo needs it

    path = folder / "broker.toml"
    path.write_text(BROKER.format(port=port, router=ROUTER))
    broker = Broker(config_path=str(path))
    try:
        broker.start(BROKER_START_S)
    except (OSError, RuntimeError) as error:
        raise BrokerError(f"demo broker on 127.0.0.1:{port}: {error}; run the demo again") from error
    try:
        yield
    finally:
        broker.stop()


@contextlib.contextmanager
def _receiver(port: int, folder: Path, events: list[Event]) -> Iterator[None]:
    """Receive, commit and acknowledge every event of the daemon; append them to `events`."""

    def keep(received: Sequence[Received]) -> None:
        events.extend(msgspec.json.decode(item.payload, type=Event) for item in received)

    receiver = Receiver(Settings(name="demo", host="127.0.0.1", port=port, database=folder / "received.db"), keep)
    receiver.start()
    try:
        if not receiver.connected.wait(BROKER_START_S):
            raise BrokerError(f"demo broker on 127.0.0.1:{port}: does not answer; run the demo again")
        yield
    finally:
        receiver.stop()


def _daemon(config: Config, options: argparse.Namespace, folder: Path, table: LiveTable | None) -> dict[str, Any]:
    """Run the daemon to its end and return its summary; raises `FoveateError` with its last words if it fails."""
    path, summary, log = folder / "config.json", folder / "summary.json", folder / "daemon.log"
    path.write_bytes(msgspec.json.encode(config, enc_hook=str))
    command = [sys.executable, "-m", "edge", str(path), "--json", str(summary), "--log-level", "warning"]
    if options.save is not None:
        command += ["--save", str(options.save.resolve())]
    with log.open("wb") as sink, contextlib.ExitStack() as stack:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, start_new_session=True)
        stack.callback(_end, process)
        if table is not None:
            stack.enter_context(table)
        try:
            while process.poll() is None:
                time.sleep(0.05)
        except KeyboardInterrupt:  # the daemon ends as on a signal from its service manager: nothing is lost
            process.send_signal(signal.SIGTERM)
            if process.wait() == -signal.SIGTERM:  # it had not even begun
                raise
    if process.returncode != 0 or not summary.exists():
        lines = log.read_text(errors="replace").strip().splitlines()
        said = lines[-1].removeprefix("foveate: error: ") if lines else "no word why"
        raise FoveateError(f"demo daemon ended with exit code {process.returncode}: {said}")
    result: dict[str, Any] = msgspec.json.decode(summary.read_bytes())
    return result


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(DRAIN_S + 5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="foveate demo", description="Count and judge parts on a synthetic belt, live."
    )
    parser.add_argument("--seed", type=_seed, default=1, help="which belt (default 1)")
    parser.add_argument("--frames", type=positive, default=900, metavar="N", help="how long it runs (default 900)")
    parser.add_argument("--headless", action="store_true", help="no live table; for machines")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result")
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE.mp4",
        help="write a video with everything drawn into it: a large file, and a slower run that takes more memory",
    )
    return parser


def _seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a seed; use 0 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
