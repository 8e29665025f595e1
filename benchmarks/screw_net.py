"""A small network for screws and empty holes, trained in minutes on a CPU; semantic and instance model in one."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.screw_lessons import RADII, SIDE, Labelled, Lesson, lesson
from edge.types import Array
from examples.belt.losses import focal
from examples.belt.networks import UNet, folded

CELL: Final = 2  # pixels per label
PEAK_CELL: Final = 4  # and per cell of the map of centres
OFFSET_PX: Final = 32.0  # pixels per unit of offset while training
BATCH: Final = 8
RATE: Final = 4e-3
WEIGHTS: Final = (1.0, 2.0, 4.0)  # of surface, screw and hole in the loss
RARE: Final = -4.0  # first logit of centres: there are few
SEED: Final = 1


class ScrewNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Surface, screw or hole for every 2x2 pixels, and where the middle of each is."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = UNet(3, (16, 32, 48, 64, 64), (1, 1, 1, 1, 1))
        self.logits = nn.Conv2d(16, 3, 1)
        self.heatmap = nn.Conv2d(32, 1, 1)
        self.offsets = nn.Conv2d(16, 2, 1)
        with torch.no_grad():
            self.heatmap.bias.fill_(RARE)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take BGR/255 (n, 3, h, w); return heatmap, offsets in units of `OFFSET_PX`, and logits.

        Their shapes are (n, 1, h/4, w/4), (n, 2, h/2, w/2), (n, 3, h/2, w/2).
        """
        half, quarter = self.trunk(image)[:2]
        return self.heatmap(quarter), self.offsets(half), self.logits(half)


class Semantic(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """The network as a semantic model: class logits alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        """Take BGR/255 (n, 3, h, w); return logits (n, 3, h/2, w/2)."""
        logits: Tensor = self.net(image)[2]
        return logits


class Objects(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """The network as an instance model: offsets are in canvas pixels."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take BGR/255 (n, 3, h, w); return heatmap, offsets and logits."""
        heatmap, offsets, logits = self.net(image)
        return heatmap, offsets * OFFSET_PX, logits


def train(kept: list[Labelled], steps: int) -> ScrewNet:
    """Return a network trained for `steps` on these pictures alone."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    net = ScrewNet()
    net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    for _ in range(steps):
        loss = _loss(net, [lesson(kept, rng) for _ in range(BATCH)])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return net


def write(net: ScrewNet, semantic: Path, size: tuple[int, int], instance: Path, canvas: int) -> None:
    """Write float ONNX files: `semantic` for pictures of `size` (width, height), `instance` for canvases."""
    plain = folded(net)
    _export(Semantic(plain).eval(), semantic, (size[1], size[0]), ["logits"])
    _export(Objects(plain).eval(), instance, (canvas, canvas), ["heatmap", "offsets", "logits"])


def _loss(net: ScrewNet, batch: list[Lesson]) -> Tensor:
    pixels = torch.from_numpy(np.stack([each.image for each in batch])).permute(0, 3, 1, 2).float() / 255
    labels, offsets, peaks = (torch.from_numpy(np.stack(each)) for each in zip(*map(_truth, batch), strict=True))
    heatmap, votes, logits = net(pixels)
    voters = (labels > 0).float()
    misses = functional.smooth_l1_loss(votes, offsets, reduction="none", beta=0.1).sum(dim=1)
    classes: Tensor = functional.cross_entropy(logits, labels, torch.tensor(WEIGHTS))
    return classes + 0.3 * focal(heatmap, peaks[:, None]) + (misses * voters).sum() / voters.sum().clamp(min=1)


def _truth(shown: Lesson) -> tuple[Array, Array, Array]:
    """Return labels (h, w) int64, offsets (2, h, w) and, by cell of the centres' map, peaks (h / 2, w / 2)."""
    xs, ys = _middles(CELL)
    labels, offsets = np.zeros(xs.shape, np.int64), np.zeros((2, *xs.shape), np.float32)
    wide, high = _middles(PEAK_CELL)
    peaks = np.zeros(wide.shape, np.float32)
    for (x, y), kind in zip(shown.points.tolist(), shown.kinds.tolist(), strict=True):
        radius = RADII[kind] * shown.scale
        inside = np.hypot(xs - x, ys - y) <= radius
        labels[inside] = kind
        offsets[:, inside] = np.stack([x - xs[inside], y - ys[inside]]) / OFFSET_PX
        spread = np.exp(-((wide - x) ** 2 + (high - y) ** 2) / (2 * (0.25 * radius + PEAK_CELL) ** 2))
        peaks = np.maximum(peaks, spread.astype(np.float32))
        if 0 <= x < SIDE and 0 <= y < SIDE:
            peaks[int(y) // PEAK_CELL, int(x) // PEAK_CELL] = 1.0
    return labels, offsets, peaks


def _middles(cell: int) -> tuple[Array, Array]:
    ys, xs = np.indices((SIDE // cell, SIDE // cell))
    return (xs + 0.5) * cell, (ys + 0.5) * cell


def _export(net: nn.Module, path: Path, shape: tuple[int, int], outputs: list[str]) -> None:
    """Write a network with fixed sizes, whole or not at all."""
    scratch = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["image"], "output_names": outputs}
        torch.onnx.export(net, (torch.zeros(1, 3, *shape),), str(scratch), dynamo=False, opset_version=17, **names)
    scratch.replace(path)
