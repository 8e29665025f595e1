"""A small network for pits in steel surfaces, trained in minutes on a CPU."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.pit_lessons import Stock, lesson
from examples.belt.networks import UNet, folded

CELL: Final = 2  # input pixels per label
BATCH: Final = 8
RATE: Final = 4e-3
PIT_WEIGHT: Final = 2.0  # of a pit's cell in the loss
RARE: Final = 4.0  # first logit of the background: most is
SEED: Final = 1


class PitNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Pit or not for every 2x2 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = UNet(3, (16, 32, 48, 64), (1, 1, 1, 1))
        self.logits = nn.Conv2d(16, 2, 1)
        with torch.no_grad():
            self.logits.bias[0] = RARE

    def forward(self, image: Tensor) -> Tensor:
        """Take BGR/255 (n, 3, h, w); return logits (n, 2, h / 2, w / 2)."""
        logits: Tensor = self.logits(self.trunk(image)[0])
        return logits


class PitObjects(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """The same network as an instance model: a pit is where its labels are surest, and each cell votes for itself."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Take BGR/255 (n, 3, h, w); return heatmap (n, 1, h/4, w/4), offsets (n, 2, h/2, w/2) and logits."""
        logits = self.net(image)
        margin = logits[:, 1:] - logits[:, :1]
        return functional.avg_pool2d(margin, 2), 0.0 * logits, logits


def train(kept: Stock, steps: int) -> PitNet:
    """Return a network trained for `steps`."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    net = PitNet()
    net.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    weights = torch.tensor([1.0, PIT_WEIGHT])
    for _ in range(steps):
        images, labels = _batch(kept, rng)
        loss = functional.cross_entropy(net(images), labels, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return net


def write(net: PitNet, semantic: Path, size: tuple[int, int], instance: Path, canvas: int) -> None:
    """Write float ONNX files: `semantic` for pictures of `size` (width, height), `instance` for canvases."""
    plain = folded(net)
    _export(plain, semantic, (size[1], size[0]), ["logits"])
    _export(PitObjects(plain).eval(), instance, (canvas, canvas), ["heatmap", "offsets", "logits"])


def _batch(kept: Stock, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return images (n, 3, h, w) and the label of every cell (n, h / 2, w / 2): pit where half of it is."""
    images, masks = zip(*(lesson(kept, rng) for _ in range(BATCH)), strict=True)
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 255
    cells = np.stack(masks).reshape(BATCH, masks[0].shape[0] // CELL, CELL, masks[0].shape[1] // CELL, CELL)
    return pixels, torch.from_numpy((cells.mean(axis=(2, 4)) >= 0.5).astype(np.int64))


def _export(net: nn.Module, path: Path, shape: tuple[int, int], outputs: list[str]) -> None:
    """Write a network with fixed sizes, whole or not at all."""
    scratch = path.with_suffix(".part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["image"], "output_names": outputs}
        torch.onnx.export(net, (torch.zeros(1, 3, *shape),), str(scratch), dynamo=False, opset_version=17, **names)
    scratch.replace(path)
