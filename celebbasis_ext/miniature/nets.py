"""The small networks of the miniature that look at pictures."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from celebbasis_ext.miniature.people import TRAITS
from celebbasis_ext.miniature.portraits import READABLE

IDENTITY_WIDTH = 128
STRIDES = (8, 16, 32)


def block(inputs: int, outputs: int, stride: int = 2) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
        nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(),
    )  # fmt: skip


class Recogniser(nn.Module):
    """ArcFace's shape: [n, 3, 112, 112] aligned RGB in [-1, 1] -> [n, 128]; the cosine is the likeness."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, width), block(width, 2 * width), block(2 * width, 3 * width), block(3 * width, 4 * width)
        )
        self.head = nn.Linear(4 * width * 49, IDENTITY_WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.head(self.body(x).flatten(1))
        return vectors


class Reader(nn.Module):
    """[n, 3, 96, 96] in [-1, 1] -> traits [n, 16] and one row of logits per readable field."""

    def __init__(self, width: int = 24, identity: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, width), block(width, 2 * width), block(2 * width, 3 * width), block(3 * width, 4 * width)
        )
        self.shared = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * 36, 256), nn.ReLU())
        self.fields = nn.ModuleList([nn.Linear(256, len(values)) for values in READABLE.values()])
        self.identity = nn.Linear(256, len(TRAITS)) if identity else None

    def forward(self, x: Tensor) -> tuple[Tensor | None, list[Tensor]]:
        shared = self.shared(self.body(x))
        return self.identity(shared) if self.identity is not None else None, [head(shared) for head in self.fields]


class Detector(nn.Module):
    """YuNet's shape: BGR in 0..255 -> per stride: class, objectness, box and landmark maps.

    Boxes and landmarks are in cells, relative to the cell; sizes as logarithms (cv2.FaceDetectorYN decodes them).
    """

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 5, 4, 2, bias=False), nn.BatchNorm2d(width), nn.ReLU(), block(width, 2 * width)
        )
        self.stages = nn.ModuleList(
            [block(2 * width, 2 * width, 1), block(2 * width, 3 * width), block(3 * width, 4 * width)]
        )
        self.contexts = nn.ModuleList([block(c * width, 2 * width, 1) for c in (2, 3, 4)])
        self.heads = nn.ModuleList([nn.Conv2d(2 * width, 15, 1) for _ in STRIDES])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """For each stride [n, cells, 1], [n, cells, 4], [n, cells, 10]: score logits, boxes, landmarks."""
        x = self.stem((x - 128.0) / 64.0)
        out: list[Tensor] = []
        for stage, context, head in zip(self.stages, self.contexts, self.heads, strict=True):
            x = stage(x)
            rows = head(context(x)).permute(0, 2, 3, 1).flatten(1, 2)
            out += [rows[..., :1], rows[..., 1:5], rows[..., 5:]]
        return tuple(out)


class ExportedDetector(nn.Module):
    """The detector with the twelve outputs that cv2.FaceDetectorYN asks for, in its order."""

    NAMES = tuple(f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps") for stride in STRIDES)

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        out = self.detector(x)
        scores = [torch.sigmoid(logits) for logits in out[0::3]]
        return (*scores, *scores, *out[1::3], *out[2::3])


def contrastive_loss(first: Tensor, second: Tensor, temperature: float = 0.1) -> Tensor:
    """InfoNCE in both directions: [n, d] and [n, d] of the same n people."""
    logits = F.normalize(first) @ F.normalize(second).T / temperature
    target = torch.arange(len(first))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
