"""Named ways of training: ours, and the paper's to compare with."""

from __future__ import annotations

import dataclasses

from celebbasis_ext.types import TrainConfig

RECIPES: dict[str, TrainConfig] = {
    "default": TrainConfig(),
    # Where the checkpoint has an encoder: half the pictures, and further.
    "warm": TrainConfig(steps=50, start="encoder", learning_rate=0.2, weight_decay=0.5),
    # Yuan et al. 2023, section 4.1 and the released configuration: unit sphere, mapper, no mask, bare templates.
    "paper": TrainConfig(
        steps=400, batch=2, optimiser="adam", learning_rate=1e-2, learn="mapper", radius="unit", whiten=False,
        average=0.99, face_mask=False, explain=False, templates="person", views=2, zoom=0.0, flip=True, decay=False,
    ),
}  # fmt: skip


def recommended(encoder: bool) -> str:
    """The recipe to take where nobody chose one: from the checkpoint's encoder if it has one."""
    return "warm" if encoder else "default"


PRESETS: dict[str, TrainConfig] = {
    "Fast": TrainConfig(steps=50),
    "Balanced": RECIPES["default"],
    "Best": TrainConfig(steps=250, average=0.97),
}
"""What the tab offers: the default recipe with fewer steps, as it is, and with more steps and a longer average."""

WARM_PRESETS: dict[str, TrainConfig] = {
    "Fast": dataclasses.replace(RECIPES["warm"], steps=25),
    "Balanced": RECIPES["warm"],
    "Best": dataclasses.replace(RECIPES["warm"], steps=100),
}
"""The same from the encoder's answer on. In the miniature, on 12 strangers, likeness is .94 at once, .97 after 25
steps, and .98 after 50 as after 100; how soon it stands still on larger checkpoints is not known."""


def presets(encoder: bool) -> dict[str, TrainConfig]:
    """What the tab offers, by the same names: from the encoder's answer on where the checkpoint has one."""
    return WARM_PRESETS if encoder else PRESETS
