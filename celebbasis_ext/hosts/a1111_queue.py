"""The WebUI's queue: one job at a time, with the host's own progress bar, live preview and Interrupt button.

A host adapter never takes the lock, because it is not re-entrant: whoever runs a job takes its turn first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from celebbasis_ext.types import Image


MOMENT = 0.2
"""Seconds. The host's lock wakes whoever is next but hands nothing over: who asks again at once is served again."""


class Waiting(Protocol):
    """A job that wants its turn."""

    @property
    def id(self) -> str: ...


class Shown(Protocol):
    """How far a job is: what the host can show of it."""

    @property
    def text(self) -> str: ...
    @property
    def step(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def preview(self) -> Image | None: ...
    @property
    def preview_step(self) -> int: ...


class HostTurn:
    """The host's side of a running job."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._preview_step: int | None = None
        self._stopped = False

    def take(self) -> None:
        """Waits in the host's queue, behind all who came before, then holds it."""
        from modules import call_queue, progress, shared

        progress.add_task_to_queue(self._task)
        call_queue.queue_lock.acquire()
        shared.state.begin(job=self._task)
        progress.start_task(self._task)

    def give_back(self) -> None:
        from modules import call_queue, shared

        shared.state.end()
        shared.state.skipped = shared.state.interrupted = shared.state.stopping_generation = False
        call_queue.queue_lock.release()

    def let_others(self) -> None:
        """Everybody who waits for the host goes first; for the pages the job is in the queue meanwhile."""
        from modules import progress

        self._stopped = self.stop_wanted()
        progress.add_task_to_queue(self._task)
        self.give_back()
        time.sleep(MOMENT)
        self.take()

    def show(self, progress: Shown) -> None:
        """Moves the host's progress bar, and shows the preview if it is a new one."""
        from modules import shared

        state = shared.state
        state.job_count, state.job_no = 1, 0
        state.sampling_steps, state.sampling_step = progress.steps, progress.step
        state.textinfo = progress.text or None
        if progress.preview is not None and progress.preview_step != self._preview_step:
            from PIL import Image as Pillow

            self._preview_step = progress.preview_step
            state.assign_current_image(Pillow.fromarray(progress.preview))

    def stop_wanted(self) -> bool:
        """Whether somebody pressed Interrupt, anywhere in the WebUI."""
        from modules import shared

        return self._stopped or bool(shared.state.interrupted or shared.state.stopping_generation)


def task_of(job: Waiting) -> str:
    """The name by which the WebUI's pages ask for a job's progress."""
    return f"task(celebbasis-{job.id})"


@contextmanager
def take_turn(job: Waiting) -> Iterator[HostTurn]:
    """Waits in the host's queue, then holds it; whoever has it may let others go first."""
    from modules import progress

    turn = HostTurn(task_of(job))
    turn.take()
    try:
        yield turn
    finally:
        progress.finish_task(task_of(job))
        turn.give_back()
