"""Named ways of training: ours, and the paper's to compare with."""

from __future__ import annotations

from celebbasis_ext.types import TrainConfig

RECIPES: dict[str, TrainConfig] = {
    "default": TrainConfig(),
    # Yuan et al. 2023, section 4.1 and the released configuration: unit sphere, mapper, no mask, bare templates.
    "paper": TrainConfig(
        steps=400, batch=2, optimiser="adam", learning_rate=1e-2, learn="mapper", radius="unit", whiten=False,
        average=0.99, face_mask=False, explain=False, templates="person", views=2, zoom=0.0, flip=True, decay=False,
    ),
}  # fmt: skip
