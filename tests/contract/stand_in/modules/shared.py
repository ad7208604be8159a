from __future__ import annotations

import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any

cmd_opts = SimpleNamespace(lowvram=False, embeddings_dir="")
opts = SimpleNamespace(sd_model_checkpoint="miniature")


class State:
    """As in `shared_state.py`, less what nobody here looks at."""

    def __init__(self) -> None:
        self.job, self.job_no, self.job_count = "", 0, 0
        self.sampling_step = self.sampling_steps = self.current_image_sampling_step = 0
        self.skipped = self.interrupted = self.stopping_generation = False
        self.textinfo = self.current_latent = self.current_image = None
        self.id_live_preview, self.time_start = 0, 0.0

    def begin(self, job: str = "(unknown)") -> None:
        self.__init__()  # type: ignore[misc]
        self.job, self.job_count, self.time_start = job, -1, time.time()

    def end(self) -> None:
        self.job, self.job_count = "", 0

    def nextjob(self) -> None:
        self.job_no, self.sampling_step = self.job_no + 1, 0

    def assign_current_image(self, image: Any) -> None:
        self.current_image = image
        self.id_live_preview += 1


state = State()


class Shared(ModuleType):
    @property
    def sd_model(self) -> Any:
        from modules import sd_models

        return sd_models.model_data.sd_model


sys.modules[__name__].__class__ = Shared
