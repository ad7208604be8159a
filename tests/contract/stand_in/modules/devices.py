from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

device = torch.device("cpu")
dtype = dtype_vae = dtype_unet = torch.float32
fp8 = False


def autocast() -> AbstractContextManager[None]:
    return nullcontext()


def torch_gc() -> None:
    pass
