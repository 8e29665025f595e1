"""A person network for one street, small enough for every frame: taught by an instance network, trained in minutes.

The teacher sees overlapping native tiles of every training frame; where it is sure of a person, cells are person, where
it is not, they do not count. No truth is used.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn
from torch.nn import functional

from edge.types import Array, Image, Instances
from examples.belt.networks import Block, folded, parameters
from export.metrics import whole_box

SIZE: Final = (384, 288)  # input, width and height: half the frame's
CELL: Final = 4  # input pixels per label
IGNORED: Final = 255
PERSON: Final = 1  # class number of the teacher, and of the labels
SURE: Final = 0.4  # teacher's score from which on a person is one
PERSON_SHARE: Final = 0.25  # share of a cell that a person covers, from which on it is person
EDGE_SHARE: Final = 0.08  # and up to which it is background
WIDTHS: Final = (16, 24, 32, 48)  # channels at strides 2, 4, 8, 16
DEPTHS: Final = (0, 1, 2, 2)  # further convolutions there
BATCH: Final = 8
RATE: Final = 4e-3
PERSON_WEIGHT: Final = 3.0  # of a person's cell in the loss: what is missed here, nothing finds again
SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Lessons:
    """What is learned from: frames at input size (n, h, w, 3) uint8, labels (n, h / 4, w / 4) uint8."""

    images: Image
    labels: Image


class StreetNet(nn.Module):  # type: ignore[misc]  # mypy is told to skip torch
    """Person or not for every 4x4 input pixels: an encoder to stride 16, added skips back to stride 4."""

    def __init__(self) -> None:
        super().__init__()
        sources = (3, *WIDTHS[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(Block(source, width, stride=2), *(Block(width, width) for _ in range(depth)))
            for source, width, depth in zip(sources, WIDTHS, DEPTHS, strict=True)
        )
        pairs = list(zip(WIDTHS[2:], WIDTHS[1:-1], strict=True))
        self.lateral = nn.ModuleList(Block(deep, shallow, size=1) for deep, shallow in pairs)
        self.decoder = nn.ModuleList(Block(shallow, shallow) for _, shallow in pairs)
        self.logits = nn.Conv2d(WIDTHS[1], 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Take BGR/255 (n, 3, h, w); return logits (n, 2, h / 4, w / 4)."""
        skips: list[Tensor] = []
        for stage in self.stages:
            x = stage(x)
            skips.append(x)
        for level in (1, 0):
            x = functional.interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](x + skips[level + 1])
        logits: Tensor = self.logits(x)
        return logits


def labels_of(found: Instances, size: tuple[int, int]) -> Image:
    """Return the label map of a frame of `size` (width, height) in which a teacher has `found` objects."""
    sure, unsure = np.zeros((2, size[1], size[0]), np.float32)
    for i in np.flatnonzero(found.classes == PERSON).tolist():
        x0, y0, x1, y1 = whole_box(found, i)
        mask = cv2.resize(found.masks[i].view(np.uint8), (x1 - x0, y1 - y0), interpolation=cv2.INTER_NEAREST)
        left, top = max(0, -x0), max(0, -y0)
        inside = np.asarray(mask[top : size[1] - y0, left : size[0] - x0], np.float32)
        plane = sure if found.scores[i] >= SURE else unsure
        spot = plane[y0 + top : y0 + top + inside.shape[0], x0 + left : x0 + left + inside.shape[1]]
        np.maximum(spot, inside, out=spot)
    cells = SIZE[0] // CELL, SIZE[1] // CELL
    shares, doubts = (cv2.resize(plane, cells, interpolation=cv2.INTER_AREA) for plane in (sure, unsure))
    labels = np.where((shares > EDGE_SHARE) | (doubts > EDGE_SHARE), IGNORED, 0)
    return np.where(shares >= PERSON_SHARE, PERSON, labels).astype(np.uint8)


def lessons(frames: Iterator[tuple[Image, Instances]]) -> Lessons:
    """Return what is to be learned from frames and what the teacher finds in them."""
    images, labels = [], []
    for image, found in frames:
        images.append(cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA))
        labels.append(labels_of(found, (image.shape[1], image.shape[0])))
    return Lessons(np.stack(images), np.stack(labels))


def train(given: Lessons, steps: int, path: Path) -> int:
    """Train for `steps`, write a float ONNX file to `path` and return how many numbers the network has."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    net = StreetNet().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.15)
    weights = torch.tensor([1.0, PERSON_WEIGHT])
    for _ in range(steps):
        images, labels = _batch(given, rng)
        loss = functional.cross_entropy(net(images), labels, weights, ignore_index=IGNORED)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    _write(net, path)
    return parameters(net)


def _batch(given: Lessons, rng: Generator) -> tuple[Tensor, Tensor]:
    """Return images and labels of some frames, mirrored and lit at random."""
    chosen = rng.integers(len(given.images), size=BATCH)
    gain = rng.uniform(0.8, 1.25, (BATCH, 1, 1, 1)) * rng.uniform(0.96, 1.04, (BATCH, 1, 1, 3))
    lit = given.images[chosen] * gain.astype(np.float32) + rng.uniform(-12, 12, (BATCH, 1, 1, 1)).astype(np.float32)
    images: Array = np.clip(lit, 0, 255).astype(np.float32) / np.float32(255)
    labels: Array = given.labels[chosen].astype(np.int64)
    for i in np.flatnonzero(rng.random(BATCH) < 0.5):
        images[i], labels[i] = images[i, :, ::-1].copy(), labels[i, :, ::-1].copy()
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def _write(net: StreetNet, path: Path) -> None:
    """Write the network as a float ONNX file with fixed sizes, whole or not at all."""
    scratch = path.with_suffix(".part")
    picture = torch.zeros(1, 3, SIZE[1], SIZE[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {"input_names": ["image"], "output_names": ["logits"]}
        torch.onnx.export(folded(net), (picture,), str(scratch), dynamo=False, opset_version=17, **names)
    scratch.replace(path)
