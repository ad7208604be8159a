"""The miniature's describer: a small network that reads background, clothes, hat, glasses and expression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from celebbasis_ext.miniature.drawing import SIZE, STYLES, Look
from celebbasis_ext.miniature.nets import Reader
from celebbasis_ext.miniature.portraits import READABLE
from celebbasis_ext.types import Face, Floats, Image


class LookReader:
    """A trained `Reader` behind plain arrays; the tagger has no identity, the judge has."""

    def __init__(self, path: Path) -> None:
        from safetensors.torch import load_file

        state = load_file(path)
        self.reader = Reader(width=len(state["body.0.0.weight"]), identity="identity.weight" in state)
        self.reader.load_state_dict({key: value.float() for key, value in state.items()})
        self.reader.eval()

    @torch.no_grad()
    def read(self, images: list[Image]) -> tuple[Floats | None, list[dict[str, object]]]:
        """Traits [n, 16] (None from the tagger), and for each picture {field of `Look`: value}."""
        traits, logits = self.reader(_as_input(images))
        best = [x.argmax(1).tolist() for x in logits]
        fields = list(READABLE.items())
        looks = [{field: values[best[k][i]] for k, (field, values) in enumerate(fields)} for i in range(len(images))]
        return None if traits is None else traits.float().numpy(), looks


def _as_input(images: list[Image]) -> torch.Tensor:
    import cv2

    scaled = [
        image if len(image) == SIZE else cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        for image in images
    ]
    return torch.from_numpy(np.stack(scaled)).permute(0, 3, 1, 2).float() / 127.5 - 1


def phrases(seen: dict[str, object] | Look) -> tuple[str, ...]:
    """What the miniature's own captions would say of a look."""
    look = seen if isinstance(seen, Look) else Look(**seen)  # type: ignore[arg-type]
    from celebbasis_ext.miniature.captions import attribute_words

    said = [words[0] for words in attribute_words(look).values()]
    return (*said, "sketch") if look.style != STYLES[0] else tuple(said)


class Tagger:
    """`describe.Describer` for drawn people."""

    name = "miniature tagger"

    def __init__(self, path: Path) -> None:
        self.looks = LookReader(path)

    def describe(self, image: Image, face: Face) -> tuple[str, ...]:
        return phrases(self.looks.read([image])[1][0])
