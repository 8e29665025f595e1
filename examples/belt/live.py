"""What the demo shows: progress of the export, a live table from the broker, and the summary against the truth."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from edge.config import Config

STAGES = ("semantic", "regions", "attention", "instances", "tracks", "rules", "audit", "ledger")


@contextlib.contextmanager
def export_progress(console: Console) -> Iterator[Callable[[str, float], None]]:
    """Yield a callback (step, share done 0..1) that shows a bar per step."""
    columns = (TextColumn("{task.description:28}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, share: float) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=1.0)
            bars.update(tasks[step], completed=share)

        yield show


class LiveTable:
    """Shows the retained `state` message of the daemon as it changes; one more subscriber of its broker."""

    def __init__(self, console: Console, config: Config) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)
        self._topic = f"foveate/{config.site}/{config.line}/{config.device}/state"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic)
        self._client.on_message = lambda _client, _data, message: self._show(message.payload)
        if config.mqtt is not None:
            self._client.connect(config.mqtt.host, config.mqtt.port)

    def __enter__(self) -> LiveTable:  # noqa: PYI034  typing.Self is not in Python 3.10
        self._live.start()
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.loop_stop()
        self._client.disconnect()
        self._live.stop()

    def _show(self, payload: bytes | bytearray) -> None:
        state: dict[str, Any] = msgspec.json.decode(payload)
        if "frames" in state:
            self._live.update(state_table(state))


def state_table(state: dict[str, Any]) -> Panel:
    """Return the live table of one `state` message."""
    numbers = Table.grid(padding=(0, 3))
    for name in ("frames", "fps", "looks", "tracks", "waiting"):
        numbers.add_row(name, str(state.get(name, "")))
    numbers.add_row("looked at", f"{100 * state.get('looked_share', 0):.1f} % of the pixels")
    stages = Table.grid(padding=(0, 3))
    for stage in STAGES:
        stages.add_row(stage, f"{state.get('ms', {}).get(stage, 0):6.2f} ms")
    return Panel(Group(_side_by_side(numbers, stages, _counts(state))), title="foveate demo: the belt, live")


def _counts(state: dict[str, Any]) -> Table:
    counts = Table.grid(padding=(0, 3))
    for name, count in sorted({**state.get("counted", {}), **state.get("verdicts", {})}.items()):
        counts.add_row(name, str(count))
    return counts


def _side_by_side(*tables: Table) -> Table:
    grid = Table.grid(padding=(0, 6))
    grid.add_row(*tables)
    return grid


def print_summary(console: Console, result: dict[str, Any]) -> None:
    """Print a run of the demo against the truth."""
    table = Table(title=f"belt, seed {result['seed']}: {result['frames']} frames", title_justify="left")
    for column in ("counter", "counted", "true"):
        table.add_column(column, justify="left" if column == "counter" else "right")
    for name in sorted({**result["counted"], **result["true"]}):
        table.add_row(name, str(result["counted"].get(name, 0)), str(result["true"].get(name, 0)))
    console.print(table)
    defects, verdicts, ledger = result["defects"], result["verdicts"], result["ledger"]
    console.print(f"count error    {100 * result['count_error']:.2f} %")
    console.print(f"defect flags   {defects['tp']} right, {defects['fp']} false, {defects['fn']} missed")
    console.print(
        f"verdicts       {verdicts['right']} of {verdicts['parts']} parts right, {verdicts['missing']} without one"
    )
    console.print(
        f"ledger         {ledger['counted']} counted = {ledger['delivered']} delivered + "
        f"{ledger['queued']} queued + {ledger['lost']} lost"
    )
    console.print(f"speed          {result['fps']:.1f} frames/s at 1080p, rendering left out")
    console.print(
        f"cost           {100 * result['looked_share']:.1f} % of the pixels looked at; {result['rss_mb']:.0f} MiB"
    )
    console.print(f"start          first result after {result['startup_s']:.2f} s")
    for line in result["wrong"]:
        console.print(Padding(Text(line, style="dim"), (0, 0, 0, 2)))
