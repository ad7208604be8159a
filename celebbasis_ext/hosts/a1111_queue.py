"""The WebUI's queue: one job at a time, with the host's own progress bar, live preview and Interrupt button.

Tab and API run their jobs through `host_job`; a host adapter never takes the lock, because it is not re-entrant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celebbasis_ext.types import Image


class HostJob:
    """What a job tells the host while it runs, and what it is told."""

    @property
    def interrupted(self) -> bool:
        """Whether somebody pressed Interrupt, anywhere in the WebUI."""
        from modules import shared

        return bool(shared.state.interrupted or shared.state.stopping_generation)

    def progress(self, step: int, steps: int, text: str = "") -> None:
        """Moves the host's progress bar to `step` of `steps`, with a line of text below it."""
        from modules import shared

        shared.state.job_count, shared.state.job_no = 1, 0
        shared.state.sampling_steps, shared.state.sampling_step = steps, step
        shared.state.textinfo = text or None

    def show(self, image: Image) -> None:
        """Shows an image [h, w, 3] uint8 as the live preview."""
        from modules import shared
        from PIL import Image as Pillow

        shared.state.assign_current_image(Pillow.fromarray(image))


def new_task(kind: str = "celebbasis") -> str:
    """A task id, as the WebUI's own pages make them: the progress bar asks for it by this name."""
    from modules import progress

    return str(progress.create_task_id(kind))


@contextmanager
def host_job(task: str) -> Iterator[HostJob]:
    """Waits in the host's queue, then holds it.

    Args:
        task: An id like `task(celebbasis-1A2B3C4)`, from `new_task` or from the page.
    """
    from modules import call_queue, progress, shared

    progress.add_task_to_queue(task)
    with call_queue.queue_lock:
        shared.state.begin(job=task)
        progress.start_task(task)
        try:
            yield HostJob()
        finally:
            progress.finish_task(task)
            shared.state.end()
            shared.state.skipped = shared.state.interrupted = shared.state.stopping_generation = False
