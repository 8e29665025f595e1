"""Charts as inline SVG: accuracy against milliseconds, and bars. Colours come from the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from export.shown import Plan

WIDTH, HEIGHT = 680, 360
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 20, 48  # pixels round the field
BAR, ROW = 16, 24  # pixels: height of a bar, and from one to the next
NAMES = 360  # pixels for the names of bars
TICKS = 5  # about so many of an axis


def scatter(plans: Sequence[Plan]) -> str:
    """Return accuracy (up) against milliseconds (right) of the plans of one model; the kept ones are filled."""
    times, values = [plan.ms for plan in plans], [plan.accuracy for plan in plans]
    across = _ticks(0.0, max(times) * 1.15)
    spread = max(max(values) - min(values), 0.002)
    up = _ticks(min(values) - spread * 0.3, max(values) + spread * 0.3)
    parts = [*_grid(across, up), *_axes(plans[0].measure)]
    for plan in plans:
        x, y = _x(plan.ms, across), _y(plan.accuracy, up)
        anchor, shift = ("end", -12) if x > WIDTH * 0.62 else ("start", 12)
        name, title = escape(plan.name), escape(f"{plan.name}: {plan.ms:.2f} ms, {plan.accuracy:.4f}. {plan.note}")
        kind = "kept" if plan.kept else "point"
        parts.append(
            f'<g><title>{title}</title><circle class={kind} cx="{x:.1f}" cy="{y:.1f}" r="6"/>'
            f'<text class=name x="{x + shift:.1f}" y="{y + 4:.1f}" text-anchor="{anchor}">{name}</text></g>'
        )
    return _svg(WIDTH, HEIGHT, f"{plans[0].role}: {plans[0].measure} against milliseconds", parts)


def bars(rows: Sequence[tuple[str, float, str, bool]]) -> str:
    """Return horizontal bars of (name, length, what is written behind it, whether it stands out); none is negative."""
    longest = max((length for _, length, _, _ in rows), default=0.0) or 1.0
    parts = []
    for i, (name, length, text, marked) in enumerate(rows):
        y, width = i * ROW + (ROW - BAR) // 2, max(length, 0.0) / longest * (WIDTH - NAMES - 90)
        kind = "marked" if marked else "bar"
        parts.append(
            f'<text class=name x="{NAMES - 10}" y="{y + BAR - 4}" text-anchor="end">{escape(_short(name))}</text>'
            f'<rect class={kind} x="{NAMES}" y="{y}" width="{max(width, 1):.1f}" height="{BAR}" rx="2"/>'
            f'<text class=tick x="{NAMES + max(width, 1) + 8:.1f}" y="{y + BAR - 4}">{escape(text)}</text>'
        )
    return _svg(WIDTH, max(len(rows) * ROW, 1), "", parts)


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return f'<svg role=img aria-label="{escape(label)}" viewBox="0 0 {width} {height}">\n{body}\n</svg>'


def _grid(across: Sequence[float], up: Sequence[float]) -> list[str]:
    """Return the lines and numbers of both axes."""
    bottom, parts = HEIGHT - BOTTOM, []
    for value in across:
        x = _x(value, across)
        parts.append(f'<line class=grid x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class=tick x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    for value in up:
        y = _y(value, up)
        parts.append(f'<line class=grid x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class=tick x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return parts


def _axes(measure: str) -> list[str]:
    middle = (TOP + HEIGHT - BOTTOM) / 2
    across = (LEFT + WIDTH - RIGHT) / 2
    turned = f'x="16" y="{middle}" transform="rotate(-90 16 {middle})"'
    return [
        f'<text class=axis x="{across}" y="{HEIGHT - 8}" text-anchor="middle">ms of one inference</text>',
        f'<text class=axis {turned} text-anchor="middle">{escape(measure)}</text>',
    ]


def _x(value: float, ticks: Sequence[float]) -> float:
    return LEFT + (value - ticks[0]) / (ticks[-1] - ticks[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, ticks: Sequence[float]) -> float:
    return HEIGHT - BOTTOM - (value - ticks[0]) / (ticks[-1] - ticks[0]) * (HEIGHT - TOP - BOTTOM)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers at even distances that enclose `low` and `high`, about `TICKS` of them."""
    rough = max(high - low, 1e-9) / TICKS
    ten = 10.0 ** math.floor(math.log10(rough))
    step = next(ten * times for times in (1, 2, 5, 10) if ten * times >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def _short(name: str, most: int = 52) -> str:
    """Return a name that fits, its end kept: that is where names of layers differ."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
