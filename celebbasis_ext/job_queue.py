"""Jobs wait in a line, run one at a time, can be watched from anywhere and stopped.

Whoever orders a job may leave: the job lives here, not in a browser's tab or a request. What a job does, and on which
host, is not known here.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Literal, Protocol

from celebbasis_ext.errors import CelebBasisError, PersonBusy, Unforeseen
from celebbasis_ext.types import Image

State = Literal["queued", "running", "done", "stopped", "failed"]
KEPT = 20
"""Ended jobs that are remembered; a job's result holds pictures."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        text: What is being done.
        step: Steps done.
        steps: Steps planned; 0 while that is unknown.
        seconds_left: Estimated; None while unknown.
        losses: One for each step done.
        preview: [h, w, 3] uint8 RGB, the latest picture.
        preview_step: The step after which it was drawn.
    """

    text: str = ""
    step: int = 0
    steps: int = 0
    seconds_left: float | None = None
    losses: tuple[float, ...] = ()
    preview: Image | None = field(default=None, repr=False, compare=False)
    preview_step: int = 0


@dataclass(frozen=True)
class Job:
    """A job as it stands at one moment.

    Attributes:
        id: Its own, for ever.
        title: For people to read.
        kind: What sort of work it is, such as "train".
        state: "stopped" has a result; "failed" has an error.
        progress: How far it is.
        stopping: Somebody asked it to stop.
        result: What the work returned.
        error: Why it failed.
        ordered: When, in seconds since 1970.
        started: When, or None.
        ended: When, or None.
        people: Whom it writes; until it is over nobody else may.
    """

    id: str
    title: str
    kind: str
    state: State = "queued"
    progress: Progress = Progress()
    stopping: bool = False
    result: object = field(default=None, repr=False)
    error: CelebBasisError | None = None
    ordered: float = 0.0
    started: float | None = None
    ended: float | None = None
    people: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        return self.state in ("done", "stopped", "failed")


class Turn(Protocol):
    """The host's side of a running job."""

    def show(self, progress: Progress) -> None:
        """Mirrors the progress where the host shows its own."""
        ...

    def stop_wanted(self) -> bool:
        """Whether the host's own Interrupt was pressed."""
        ...

    def let_others(self) -> None:
        """Gives the host to those who wait for it, and waits until it is free again."""
        ...


class FreeTurn:
    """A host that has nothing else to do and nothing to show."""

    def show(self, progress: Progress) -> None:
        """Nothing: the page shows the job's own progress."""

    def stop_wanted(self) -> bool:
        return False

    def let_others(self) -> None:
        """Nobody else waits for this host."""


TakeTurn = Callable[[Job], AbstractContextManager[Turn]]
"""Entered in the job's thread when it is first in line: waits for the host, and gives it back on exit."""


class Report:
    """What a job's work holds: it says how far it is, and asks whether to stop."""

    def __init__(self, job_id: str, queue: JobQueue, turn: Turn) -> None:
        self._job_id, self._queue, self._turn = job_id, queue, turn

    def show(self, progress: Progress) -> None:
        self._queue._change(self._job_id, progress=progress)
        self._turn.show(progress)

    def stop_wanted(self) -> bool:
        return self._queue[self._job_id].stopping or self._turn.stop_wanted()

    def let_others(self) -> None:
        """What a long job calls where it can pause: those who wait for the host, such as for a picture, come first."""
        self._turn.let_others()


Work = Callable[[Report], object]


class JobQueue:
    """One job at a time, in the order in which they came. Every method may be called from any thread.

    Args:
        take_turn: How a job gets the host for itself.
    """

    def __init__(self, take_turn: TakeTurn = lambda job: nullcontext(FreeTurn())) -> None:
        self._take_turn = take_turn
        self._jobs: dict[str, Job] = {}
        self._waiting: deque[tuple[str, Work]] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None

    def __getitem__(self, job_id: str) -> Job:
        """The job as it stands now; raises KeyError where it is unknown or forgotten."""
        with self._changed:
            return self._jobs[job_id]

    def jobs(self) -> tuple[Job, ...]:
        """All that wait, run, or ended not long ago; the oldest first."""
        with self._changed:
            return tuple(self._jobs.values())

    def order(self, title: str, kind: str, work: Work, people: Sequence[str] = ()) -> Job:
        """Puts work at the end of the line.

        Raises:
            PersonBusy: Another job writes one of these people.
        """
        job = Job(uuid.uuid4().hex[:12], title, kind, ordered=time.time(), people=tuple(people))
        with self._changed:
            self.check_idle(*people)
            self._jobs[job.id] = job
            self._waiting.append((job.id, work))
            if self._worker is None:
                self._worker = threading.Thread(target=self._run_all, name="celebbasis-jobs", daemon=True)
                self._worker.start()
        return job

    def check_idle(self, *people: str) -> None:
        """That no job which waits or runs writes one of these people; raises PersonBusy."""
        wanted = {name.lower() for name in people}
        for job in self.jobs():
            held = [name for name in job.people if name.lower() in wanted and not job.over]
            if held:
                raise PersonBusy(f"A job that is {job.state} writes {held[0]}.", "Wait until it is done, or stop it.")

    def stop(self, job_id: str) -> None:
        """Asks a running job to end and keep what it has; takes a waiting one out of the line."""
        with self._changed:
            others = deque(entry for entry in self._waiting if entry[0] != job_id)
            if len(others) < len(self._waiting):
                self._waiting = others
                self._change(job_id, state="stopped", ended=time.time())
            elif not self._jobs[job_id].over:
                self._change(job_id, stopping=True)

    def wait(self, job_id: str, seconds: float | None = None) -> Job:
        """Blocks until the job is over, or the time is up; returns it as it then stands."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs[job_id].over, seconds)
            return self._jobs[job_id]

    def _run_all(self) -> None:
        """The worker's life: it ends with the last job, so that an idle program keeps no thread."""
        while True:
            with self._changed:
                if not self._waiting:
                    self._worker = None
                    return
                job_id, work = self._waiting.popleft()
            self._run(job_id, work)

    def _run(self, job_id: str, work: Work) -> None:
        try:
            with self._take_turn(self[job_id]) as turn:
                self._change(job_id, state="running", started=time.time())
                report = Report(job_id, self, turn)
                result = None if report.stop_wanted() else work(report)
                state: State = "stopped" if report.stop_wanted() else "done"
            self._change(job_id, state=state, result=result, ended=time.time())
        except CelebBasisError as error:
            _log.info("%s: %s", self[job_id].title, error)
            self._change(job_id, state="failed", error=error, ended=time.time())
        except Exception as error:  # whatever a checkpoint or a driver raises must not end the line
            _log.exception("%s failed", self[job_id].title)
            told = Unforeseen(f"{type(error).__name__}: {error}", "The log has the details.")
            self._change(job_id, state="failed", error=told, ended=time.time())

    def _change(self, job_id: str, **changes: object) -> None:
        with self._changed:
            self._jobs[job_id] = dataclasses.replace(self._jobs[job_id], **changes)  # type: ignore[arg-type]
            over = [job.id for job in self._jobs.values() if job.over]
            for old in over[:-KEPT]:
                del self._jobs[old]
            self._changed.notify_all()
