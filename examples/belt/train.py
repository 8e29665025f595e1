"""Train the belt's two networks from its renderer: ``python -m examples.belt.train [--quick] [--out FOLDER]``.

Writes ``semantic.onnx`` and ``instance.onnx`` and prints what they reach on seeds they have not seen. Needs the
``train`` extra; 40 minutes on two free cores, a few minutes with --quick. With glibc,
``MALLOC_ARENA_MAX=1 MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000`` saves a tenth: freed tensors are not given
back to the system. On a machine that does other work too, ``OMP_WAIT_POLICY=passive`` was three times as fast.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from examples.belt.defects import CHIP
from examples.belt.losses import Batch, instance_loss, semantic_loss
from examples.belt.networks import (
    CANVAS,
    OFFSET_PX,
    InstanceNet,
    SemanticNet,
    export,
    parameters,
)
from examples.belt.scene import DEFECTS, TRAIN_SEEDS
from examples.belt.training_data import FILL, Array, Canvas, Stock, compose, stock
from examples.belt.validation import validate

_STRIDE: Final = 2
"""Canvas pixels per cell of offsets and logits."""
_HEAT_STRIDE: Final = 4
_SIGMA_CELLS: Final = 2.0
"""Width of the Gaussian at a centre, heatmap cells."""
_SMALLEST_PX: Final = 80
"""A sliver with fewer visible canvas pixels is no object to find."""
_RATE: Final = 4e-3
"""Largest learning rate."""
_MEMORY: Final = 0.99
"""Share that the running mean of the weights keeps per step."""
_RAIL_ROWS: Final = 2
"""Records of grey under the quarter-size frame."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to render and how long to train."""

    seeds: int
    frames: int
    semantic_steps: int
    instance_steps: int
    semantic_batch: int = 6
    instance_batch: int = 4
    every: int = 400
    """Steps between two exports."""


_FULL: Final = Plan(seeds=90, frames=9, semantic_steps=3500, instance_steps=8000)
_QUICK: Final = Plan(seeds=16, frames=8, semantic_steps=200, instance_steps=400)


def main() -> int:
    """Render, train, export, validate."""
    parser = argparse.ArgumentParser(prog="python -m examples.belt.train", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes, worse figures")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, help="where the ONNX files go")
    options = parser.parse_args()
    plan = _QUICK if options.quick else _FULL
    torch.set_num_threads(2)
    cv2.setNumThreads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    kept = stock(TRAIN_SEEDS[: plan.seeds], plan.frames)
    flawed = ", ".join(f"{len(windows)} {name}" for name, windows in zip(DEFECTS, kept.flawed, strict=True))
    print(f"{len(kept.frames)} frames; windows: {len(kept.plain)} plain, {flawed}", flush=True)
    train_instance(kept, plan, options.out / "instance.onnx")
    train_semantic(kept, plan, options.out / "semantic.onnx")
    validate(options.out, quick=options.quick)
    return 0


def train_semantic(kept: Stock, plan: Plan, path: Path) -> None:
    """Train and export the semantic network."""
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    batches = (_semantic_batch(kept, rng, plan.semantic_batch) for _ in range(plan.semantic_steps))
    _fit(SemanticNet(), batches, semantic_loss, plan.semantic_steps, plan.every, path)


def train_instance(kept: Stock, plan: Plan, path: Path) -> None:
    """Train and export the instance network."""
    torch.manual_seed(2)
    rng = np.random.default_rng(2)
    batches = (_instance_batch(kept, rng, plan.instance_batch) for _ in range(plan.instance_steps))
    _fit(InstanceNet(), batches, instance_loss, plan.instance_steps, plan.every, path)


def _fit(
    net: nn.Module,
    batches: Iterator[Batch],
    loss_of: Callable[[nn.Module, Batch], dict[str, Tensor]],
    steps: int,
    every: int,
    path: Path,
) -> None:
    """Run AdamW with a one-cycle learning rate; export the running mean of the weights now and then, and at the end."""
    net = net.to(memory_format=torch.channels_last).train()
    mean = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(_MEMORY), use_buffers=True)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps, pct_start=0.15)
    started = time.monotonic()
    print(f"{type(net).__name__}: {parameters(net)} parameters, {steps} steps", flush=True)
    for step, batch in enumerate(_ahead(batches), start=1):
        losses = loss_of(net, batch)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        mean.update_parameters(net)
        if step % 50 == 0:
            parts = ", ".join(f"{name} {value.item():.3f}" for name, value in losses.items())
            print(f"  step {step}, {time.monotonic() - started:.0f} s: {parts}", flush=True)
        if step % every == 0 or step == steps:
            export(mean.module, path)


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield `batches`, the next one being made while this one is learned from."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch


def _semantic_batch(kept: Stock, rng: Generator, size: int) -> Batch:
    """Return ``image`` (n, 3, 272, 480) and ``labels`` (n, 136, 240), flipped and lit at random."""
    chosen = rng.integers(len(kept.frames), size=size)
    gain = rng.uniform(0.85, 1.18, (size, 1, 1, 1)) * rng.uniform(0.97, 1.03, (size, 1, 1, 3))
    lit = kept.frames[chosen] * gain.astype(np.float32) + rng.uniform(-8, 8, (size, 1, 1, 1)).astype(np.float32)
    images = np.pad(lit, ((0, 0), (0, _RAIL_ROWS), (0, 0), (0, 0)), constant_values=FILL)
    labels = np.pad(kept.labels[chosen], ((0, 0), (0, _RAIL_ROWS // 2), (0, 0)))
    for index in np.flatnonzero(rng.random(size) < 0.5):
        images[index], labels[index] = images[index, :, ::-1].copy(), labels[index, :, ::-1].copy()
    return {"image": _network_input(images), "labels": torch.from_numpy(labels.astype(np.int64))}


def _network_input(images: Array) -> Tensor:
    """Turn (n, h, w, 3) BGR 0..255 into (n, 3, h, w) 0..1, channels last in memory."""
    clipped = np.clip(np.round(images), 0, 255).astype(np.float32) / np.float32(255)
    return torch.from_numpy(clipped).permute(0, 3, 1, 2)


def _instance_batch(kept: Stock, rng: Generator, size: int) -> Batch:
    canvases = [compose(kept, rng) for _ in range(size)]
    columns = [instance_targets(canvas) for canvas in canvases]
    batch = {name: torch.from_numpy(np.stack([column[name] for column in columns])) for name in columns[0]}
    batch["image"] = _network_input(np.stack([canvas.image for canvas in canvases]))
    return batch


def instance_targets(canvas: Canvas) -> dict[str, Array]:
    """Return what the network should say of a canvas.

    ``heatmap`` (1, 80, 80), ``offsets`` (2, 160, 160) in units of ``OFFSET_PX``, ``voters`` (160, 160) 1 where offsets
    count, ``labels`` (160, 160), ``weights`` (160, 160), ``defects`` (320, 320).
    """
    visible = np.where(canvas.defects == CHIP, 0, canvas.codes)
    owners, seen = _halved(canvas.codes), _halved(visible)
    centres, known = _centres(visible, (int(canvas.codes.max()) + 3) // 4)
    numbers = (owners.astype(np.int64) + 3) // 4
    half = (np.arange(CANVAS // _STRIDE, dtype=np.float32) + 0.5) * _STRIDE
    offsets = centres[numbers].transpose(2, 0, 1) - np.stack(np.broadcast_arrays(half[None, :], half[:, None]))
    voters = known[numbers]
    return {
        "heatmap": _heatmap(centres[known])[None],
        "offsets": (offsets * voters / OFFSET_PX).astype(np.float32),
        "voters": voters.astype(np.float32),
        "labels": np.where(seen > 0, (seen + 3) % 4 + 1, 0).astype(np.int64),
        "weights": _border_weights(owners),
        "defects": canvas.defects.astype(np.int64),
    }


def _halved(codes: Array) -> Array:
    """Return the most frequent code of every 2x2 pixels."""
    a, b, c, d = codes[::2, ::2], codes[::2, 1::2], codes[1::2, ::2], codes[1::2, 1::2]
    return np.where((a == b) | (a == c) | (a == d), a, np.where((b == c) | (b == d), b, c))


def _centres(visible: Array, highest: int) -> tuple[Array, Array]:
    """Return per object number (0 is none) its visible centroid (n, 2) x, y in canvas pixels, and whether it counts."""
    ys, xs = np.nonzero(visible)
    numbers = (visible[ys, xs].astype(np.int64) + 3) // 4
    length = highest + 1
    areas = np.bincount(numbers, minlength=length)
    sums = [np.bincount(numbers, axis + 0.5, length) for axis in (xs, ys)]
    centres = np.stack(sums, axis=1) / np.maximum(areas, 1)[:, None]
    return centres.astype(np.float32), areas >= _SMALLEST_PX


def _heatmap(centres: Array) -> Array:
    """Return (80, 80): 1 at the cell of every centre, a Gaussian around it."""
    cells = CANVAS // _HEAT_STRIDE
    heat: Array = np.zeros((cells, cells), np.float32)
    line = np.arange(cells, dtype=np.float32)
    for x, y in np.floor(centres / _HEAT_STRIDE):
        across = np.exp(-((line - x) ** 2) / (2 * _SIGMA_CELLS**2))
        down = np.exp(-((line - y) ** 2) / (2 * _SIGMA_CELLS**2))
        np.maximum(heat, down[:, None] * across[None, :], out=heat)
    return heat


def _border_weights(owners: Array) -> Array:
    """Return (160, 160): 3 where two objects are at most two cells apart, else 1."""
    kernel = np.ones((5, 5), np.uint8)
    owners = owners.astype(np.uint16)
    high = np.asarray(cv2.dilate(owners, kernel))
    low = np.asarray(cv2.erode(np.where(owners > 0, owners, np.uint16(65535)), kernel))
    weights: Array = np.where((high > 0) & (high != low), np.float32(3), np.float32(1))
    return weights


if __name__ == "__main__":
    sys.exit(main())
