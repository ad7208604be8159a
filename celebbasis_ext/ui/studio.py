"""What the tab does, without a page: photos looked at, orders given, the current training found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.faces.base import numbered
from celebbasis_ext.files.embedding import check_free
from celebbasis_ext.jobs import Order, describe_photo
from celebbasis_ext.training_job import Outcome, PreviewWish, run_training
from celebbasis_ext.types import Face, Image

if TYPE_CHECKING:
    from celebbasis_ext.job_queue import Job, Report
    from celebbasis_ext.ui.context import TabContext


@dataclass(frozen=True)
class SeenPhoto:
    """A photo as the tab shows it before training.

    Attributes:
        image: [h, w, 3]; None where it cannot be read.
        faces: Those to choose from, from the left.
        words: What is in it beside the person; empty while a face has to be chosen.
        error: Why it cannot be used.
    """

    image: Image | None = None
    faces: tuple[Face, ...] = ()
    words: tuple[str, ...] = ()
    error: CelebBasisError | None = None


class Studio:
    """The tab's actions on its surroundings; knows no page, and may be used by several at once."""

    def __init__(self, context: TabContext) -> None:
        self.context = context
        self._orders: dict[str, tuple[Order, PreviewWish]] = {}

    def look_at(self, path: Path, face: int | None = None) -> SeenPhoto:
        """Reads a photo, finds the faces, and describes the rest; a fault becomes `SeenPhoto.error`."""
        from celebbasis_ext.files.photo import read_photo

        seen = SeenPhoto()
        try:
            seen = SeenPhoto(read_photo(path))
            workshop = self.context.open_workshop()
            assert seen.image is not None
            seen = dataclasses.replace(seen, faces=numbered(workshop.faces.detect(seen.image)))
            if len(seen.faces) > 1 and face is None:
                return seen
            return dataclasses.replace(seen, words=describe_photo(workshop, seen.image, face))
        except CelebBasisError as error:
            return dataclasses.replace(seen, error=error)

    def complaint(self, name: str, others: Sequence[str] = ()) -> CelebBasisError | None:
        """Why a name cannot be given to somebody new."""
        try:
            check_free(self.context.embeddings_dir, name)
        except CelebBasisError as error:
            return error
        if name.lower() in (other.lower() for other in others):
            return InvalidSettings(f"The name {name!r} is given twice.", "Give every person a name of their own.")
        return None

    def proposal(self, wish: str, others: Sequence[str] = ()) -> str:
        """A free name close to a wish."""
        stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in wish.lower()).strip("-")
        stem = "-".join(part for part in stem.split("-") if part).removesuffix("-cb")[:40] or "person"
        names = (f"{stem}-cb", *(f"{stem}-{i}-cb" for i in range(2, 1000)))
        return next((name for name in names if self.complaint(name, others) is None), "")

    def train(self, order: Order, wish: PreviewWish) -> Job:
        """Puts a training at the end of the line."""

        def work(report: Report) -> Outcome:
            return run_training(self.context.open_workshop(), order, wish, report)

        job = self.context.queue.order(", ".join(order.names), "train", work)
        self._orders = {job.id: (order, wish)}
        return job

    def resume(self) -> Job:
        """Goes on with the training that was stopped last.

        Raises:
            InvalidSettings: There is none.
        """
        job = self.current()
        if not self.can_resume(job) or job is None:
            raise InvalidSettings("There is no stopped training to go on with.", "Press Train.")
        order, wish = self._orders[job.id]
        return self.train(dataclasses.replace(order, resume=True, overwrite=True), wish)

    def can_resume(self, job: Job | None) -> bool:
        """Whether the job was stopped under way, and its photos are still known."""
        return (
            job is not None
            and job.id in self._orders
            and job.over
            and (self.context.embeddings_dir / ("+".join(self._orders[job.id][0].names) + ".resume")).is_file()
        )

    def current(self) -> Job | None:
        """The training that is running or next, else the last one."""
        trainings = [job for job in self.context.queue.jobs() if job.kind == "train"]
        active = [job for job in trainings if not job.over]
        return active[0] if active else trainings[-1] if trainings else None

    def ahead_of(self, job: Job | None) -> int:
        """Jobs that come before it."""
        waiting = [other for other in self.context.queue.jobs() if not other.over]
        return waiting.index(job) if job in waiting else 0

    def stop(self) -> None:
        """Ends the current training after its step."""
        job = self.current()
        if job is not None and not job.over:
            self.context.queue.stop(job.id)
