"""Trains the face pack (detector, recogniser), the tagger and the judge, each on strangers of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebbasis_ext.faces.align import align_matrix
from celebbasis_ext.miniature.nets import STRIDES, Detector, Reader, Recogniser, contrastive_loss
from celebbasis_ext.miniature.optimiser import MuonAdam
from celebbasis_ext.miniature.people import TRAITS
from celebbasis_ext.miniature.portraits import Portraits, load_portraits, load_restored, worn
from celebbasis_ext.miniature.progress import Training
from celebbasis_ext.types import Floats, Image

CANVAS = 256


def as_input(images: list[Image]) -> Tensor:
    """[n, 3, h, w] in [-1, 1]."""
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    return pixels.contiguous(memory_format=torch.channels_last)


def _trainer(folder: Path, name: str, module: nn.Module, steps: int) -> Training:
    return Training(folder, name, module, MuonAdam(module, lr=0.01, adam_lr=2e-3, adam_names=("head",)), steps)


def train_tagger(folder: Path, seed: int, steps: int) -> Reader:
    """Reads looks from drawings."""
    torch.manual_seed(seed)
    portraits = load_portraits(folder, 6000, seed)
    return _train_reader(folder, "tagger", Reader(identity=False), portraits, None, seed, steps)


def train_judge(folder: Path, seed: int, steps: int, restore: Callable[[Image], Image]) -> Reader:
    """Reads looks and identities, from drawings and from what the autoencoder makes of them.

    Strangers and weights of its own; it shares nothing with tagger and recogniser.
    """
    torch.manual_seed(seed)
    portraits = load_portraits(folder, 12_000, seed)
    restored = load_restored(folder, portraits, 4_000, seed, restore)
    return _train_reader(folder, "judge", Reader(width=32, identity=True), portraits, restored, seed, steps)


def _train_reader(
    folder: Path, name: str, reader: Reader, portraits: Portraits, restored: Image | None, seed: int, steps: int
) -> Reader:
    """Trains on drawings; where there are restored ones, on those for a third of each batch."""
    training, rng = _trainer(folder, name, reader, steps), np.random.default_rng(seed)
    while not training.done:
        chosen = rng.integers(len(portraits.images), size=64)
        pictures = list(portraits.images[chosen])
        if restored is not None:
            chosen[:21] = rng.integers(len(restored), size=21)
            pictures[:21] = list(restored[chosen[:21]])
        with torch.autocast("cpu", torch.bfloat16):
            traits, logits = reader(as_input([worn(rng, _shifted(rng, picture)) for picture in pictures]))
        loss, rmse = _reading_loss(traits, logits, portraits, chosen)
        loss.backward()
        training.update()
        if training.step % 100 == 0:
            training.log(loss=loss.item(), rmse=rmse)
        if training.step % 500 == 0:
            training.save()
    training.save()
    return reader.eval()


def _reading_loss(
    traits: Tensor | None, logits: list[Tensor], portraits: Portraits, chosen: np.ndarray
) -> tuple[Tensor, float]:
    """The loss, and how far off the traits are (root mean square)."""
    classes = torch.from_numpy(portraits.classes[chosen])
    loss = torch.stack([F.cross_entropy(x.float(), classes[:, i]) for i, x in enumerate(logits)]).sum()
    if traits is None:
        return loss, 0.0
    error = (traits.float() - torch.from_numpy(portraits.identities[chosen])).square().mean()
    return loss + 10 * error, error.item() ** 0.5


def _shifted(rng: np.random.Generator, image: Image) -> Image:
    """The picture a few pixels away, its border repeated."""
    dx, dy = rng.uniform(-3, 3, 2)
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    return np.asarray(cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _aligned(rng: np.random.Generator, portraits: Portraits, index: int) -> Image:
    """The aligned crop, as a slightly wrong detector would have it."""
    landmarks = portraits.landmarks[index] + rng.normal(0, 0.7, (5, 2)).astype(np.float32)
    image = worn(rng, portraits.images[index])
    return np.asarray(cv2.warpAffine(image, align_matrix(landmarks), (112, 112)), np.uint8)


def train_recogniser(folder: Path, seed: int, steps: int, batch: int = 32) -> Recogniser:
    """Two looks of the same stranger close together, others apart; traits can be read off linearly."""
    torch.manual_seed(seed)
    recogniser, traits = Recogniser(), nn.Linear(128, len(TRAITS))
    both = nn.ModuleDict({"recogniser": recogniser, "trait_head": traits})
    portraits = load_portraits(folder, 6000, seed)
    training, rng, count = _trainer(folder, "recogniser", both, steps), np.random.default_rng(seed), 6000
    while not training.done:
        chosen = rng.choice(count, batch, replace=False)
        crops = [_aligned(rng, portraits, i) for i in (*chosen, *(chosen + count))]
        with torch.autocast("cpu", torch.bfloat16):
            vectors = recogniser(as_input(crops))
        vectors = vectors.float()
        identities = torch.from_numpy(portraits.identities[chosen]).repeat(2, 1)
        error = (traits(F.normalize(vectors) * 4) - identities).square().mean()
        loss = contrastive_loss(vectors[:batch], vectors[batch:]) + 3 * error
        loss.backward()
        training.update()
        if training.step % 100 == 0:
            training.log(loss=loss.item(), rmse=error.item() ** 0.5)
    training.save()
    return recogniser.eval()


def _scene(rng: np.random.Generator, portraits: Portraits) -> tuple[Image, Floats, Floats]:
    """A canvas with one to three pictures on it, some beside each other: boxes [f, 4] and landmarks [f, 5, 2]."""
    canvas = np.full((CANVAS, CANVAS, 3), rng.integers(0, 256, 3), np.uint8)
    boxes, landmarks = [], []
    side = int(rng.choice([64, 96, 128, 192, 256, 320]) * rng.uniform(0.85, 1.15))
    left, top = (int(rng.uniform(min(0, CANVAS - side), max(0, CANVAS - side))) for _ in range(2))
    for x in range(left, CANVAS - side // 2, side):
        index = rng.integers(len(portraits.images))
        picture = worn(rng, cv2.resize(portraits.images[index], (side, side)))
        _paste(canvas, picture, x, top)
        offset = np.array([x, top], np.float32)
        boxes.append(portraits.boxes[index] * side / 96 + np.tile(offset, 2))
        landmarks.append(portraits.landmarks[index] * side / 96 + offset)
    return canvas, np.stack(boxes), np.stack(landmarks)


def _paste(canvas: Image, picture: Image, x: int, y: int) -> None:
    side = len(picture)
    top, left, bottom, right = max(0, y), max(0, x), min(CANVAS, y + side), min(CANVAS, x + side)
    canvas[top:bottom, left:right] = picture[top - y : bottom - y, left - x : right - x]


def _targets(boxes: Floats, landmarks: Floats) -> list[tuple[Tensor, Tensor, Tensor]]:
    """For each stride: scores [cells], boxes [cells, 4], landmarks [cells, 10]; a face's size decides its stride."""
    targets = []
    for stride in STRIDES:
        cells = CANVAS // stride
        score, box, points = (np.zeros((cells, cells, *width), np.float32) for width in ((), (4,), (10,)))
        for face, marks in zip(boxes, landmarks, strict=True):
            size = face[2:] - face[:2]
            if _stride_of(float(size.max())) == stride:
                _mark(score, box, points, (face[:2] + face[2:]) / 2 / stride, size / stride, marks / stride)
        targets.append((_rows(score), _rows(box), _rows(points)))
    return targets


def _rows(cells: np.ndarray) -> Tensor:
    return torch.from_numpy(cells.reshape(cells.shape[0] * cells.shape[1], *cells.shape[2:])).float()


def _stride_of(size: float) -> int:
    return 8 if size < 48 else 16 if size < 96 else 32


def _mark(score: Floats, box: Floats, points: Floats, centre: Floats, size: Floats, marks: Floats) -> None:
    """The cells around a face's centre learn it; coordinates in cells."""
    for row in range(len(score)):
        for column in range(len(score)):
            cell = np.array([column, row], np.float32)
            if (np.abs(cell - centre) < np.maximum(0.17 * size, 0.75)).all():
                score[row, column] = 1
                box[row, column] = [*(centre - cell), *np.log(size)]
                points[row, column] = (marks - cell).ravel()


def train_detector(folder: Path, seed: int, steps: int, batch: int = 16) -> Detector:
    torch.manual_seed(seed)
    detector = Detector()
    portraits = load_portraits(folder, 6000, seed)
    optimiser = MuonAdam(detector, lr=0.005, adam_lr=2e-3, adam_names=("heads",))
    training, rng = Training(folder, "detector", detector, optimiser, steps), np.random.default_rng(seed)
    while not training.done:
        scenes = [_scene(rng, portraits) for _ in range(batch)]
        canvases = np.stack([canvas[:, :, ::-1] for canvas, _, _ in scenes])
        with torch.autocast("cpu", torch.bfloat16):
            out = detector(torch.from_numpy(canvases.copy()).permute(0, 3, 1, 2).float())
        out = tuple(part.float() for part in out)
        loss = _detector_loss(out, [_targets(boxes, marks) for _, boxes, marks in scenes])
        loss.backward()
        training.update()
        if training.step % 50 == 0:
            training.log(loss=loss.item())
    training.save()
    return detector.eval()


def _detector_loss(out: tuple[Tensor, ...], targets: list[list[tuple[Tensor, Tensor, Tensor]]]) -> Tensor:
    loss = torch.zeros(())
    for level in range(len(STRIDES)):
        logits, box, points = out[3 * level : 3 * level + 3]
        score, true_box, true_points = (torch.stack([t[level][k] for t in targets]) for k in range(3))
        positive = score > 0
        loss = loss + 20 * F.binary_cross_entropy_with_logits(logits[..., 0], score)
        if positive.any():
            loss = loss + F.smooth_l1_loss(box[positive], true_box[positive], beta=0.1)
            loss = loss + F.smooth_l1_loss(points[positive], true_points[positive], beta=0.1)
    return loss
