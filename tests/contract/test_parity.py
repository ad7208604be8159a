"""The same photo, seed and settings give the same person, whoever has the checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.jobs import Order, Workshop, train_people
from celebbasis_ext.miniature.workshop import open_workshop
from celebbasis_ext.types import Saved, TrainConfig
from tests.contract.test_host import PORTRAIT

CONFIG = TrainConfig(steps=20, batch=4, views=4)


def learned(workshop: Workshop) -> Saved:
    *_, saved = train_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True))
    assert isinstance(saved, Saved)
    return saved


@pytest.mark.usefixtures("webui_tidy")
def test_the_webui_learns_the_same_person(webui_workshop: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("diffusers", reason="the standalone host needs diffusers, which a WebUI does not have")
    there, here = (learned(w).embeddings[0] for w in (webui_workshop, open_workshop(tmp_path)))
    left, right = there.vectors["clip_l"].ravel(), here.vectors["clip_l"].ravel()
    assert float(left @ right / np.linalg.norm(left) / np.linalg.norm(right)) > 0.99
