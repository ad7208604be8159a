"""What tab and API do: photos looked at, orders given, the current training found again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from celebbasis_ext.errors import CelebBasisError, InvalidName, NameTaken, WrongEncoder
from celebbasis_ext.faces.base import numbered
from celebbasis_ext.files.embedding import embeddings_in
from celebbasis_ext.files.name_rules import propose_name
from celebbasis_ext.gallery_job import EncoderOutcome, GalleryWish, Outlook, outlook, run_encoder
from celebbasis_ext.job_queue import Progress
from celebbasis_ext.jobs import RESUME_SUFFIX, Order, basis_of, check_order, encoder_of, prepare_photo
from celebbasis_ext.person import check_new_name, surprises_of_name
from celebbasis_ext.recipes import RECIPES, presets
from celebbasis_ext.training_job import Outcome, PreviewWish, run_insertion, run_training
from celebbasis_ext.types import Encoder, Face, Image, TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.context import Context
    from celebbasis_ext.files.download import Transfer
    from celebbasis_ext.job_queue import Job, Report


SHOWN = ("train", "insert", "encoder", "fetch")
"""Kinds of jobs that the Train page shows."""


@dataclass(frozen=True)
class SeenPhoto:
    """A photo as the tab shows it before training.

    Attributes:
        image: [h, w, 3]; None where it cannot be read.
        faces: Those to choose from, from the left.
        words: What is in it beside the person; empty while a face has to be chosen.
        warnings: What will make the result worse.
        error: Why it cannot be used.
    """

    image: Image | None = None
    faces: tuple[Face, ...] = ()
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: CelebBasisError | None = None


class Studio:
    """Actions on the surroundings; knows no page, keeps nothing of its own, and may be used by several at once."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def look_at(self, photo: Path | bytes, face: int | None = None) -> SeenPhoto:
        """Reads a photo, finds the faces, and describes the rest; a fault becomes `SeenPhoto.error`."""
        from celebbasis_ext.files.photo import read_photo

        seen = SeenPhoto()
        try:
            image = read_photo(photo)
            seen = SeenPhoto(image)
            workshop = self.context.open_workshop()
            seen = SeenPhoto(image, numbered(workshop.faces.detect(image)))
            if len(seen.faces) > 1 and face is None:
                return seen
            subject = prepare_photo(workshop, image, "", face)
            warnings = tuple(warning.sentence for warning in subject.warnings)
            return dataclasses.replace(seen, words=subject.description, warnings=warnings)
        except CelebBasisError as error:
            return dataclasses.replace(seen, error=error)

    def complaint(self, name: str, others: Sequence[str] = ()) -> CelebBasisError | None:
        """Why a name cannot be given to somebody new; the hint proposes another.

        Args:
            name: Whatever was typed.
            others: The names of the photos before; one that is the same is of the same person.
        """
        try:
            check_new_name(self.context.open_workshop().host, name)
        except NameTaken as error:
            proposal = self.proposal(name, others)
            return NameTaken(error.message, f"Choose another name, such as {proposal}.") if proposal else error
        except CelebBasisError as error:
            return error
        for other in others:
            if name != other and name.lower() == other.lower():
                return InvalidName(
                    f"The names {other} and {name} differ in capitals alone.",
                    f"Write {other} for the same person, or choose {self.proposal(name, others)} for another.",
                )
        return None

    def surprises(self, name: str) -> tuple[str, ...]:
        """What is surprising about a name that may be used."""
        return tuple(warning.sentence for warning in surprises_of_name(self.context.open_workshop().host, name))

    def proposal(self, wish: str, others: Sequence[str] = ()) -> str:
        """A free name close to a wish; empty where none was found."""
        try:
            host = self.context.open_workshop().host
            taken = (path.stem for path in embeddings_in(self.context.embeddings_dir))
            return propose_name(wish, (*taken, *others), host.tokenize)
        except CelebBasisError:
            return ""

    def encoder(self) -> Encoder | None:
        """The loaded checkpoint's; None where it has none that fits."""
        workshop = self.context.open_workshop()
        if workshop.encoder is None:
            return None
        try:
            return encoder_of(workshop, basis_of(workshop))
        except WrongEncoder:
            return None

    def presets(self) -> Mapping[str, TrainConfig]:
        """Settings to start from; those that start at the encoder's answer where there is one."""
        return presets(self.encoder() is not None)

    def outlook(self) -> Outlook:
        """How long the checkpoint's celebrities take; a run that was stopped knows best."""
        found, title = outlook(self.context.open_workshop()), self._celebrities_title()
        runs = [job for job in self._jobs("encoder") if job.title == title and job.state == "stopped"]
        stopped = [job.progress.seconds_left for job in runs]
        return dataclasses.replace(found, seconds=stopped[-1], measured=True) if stopped and stopped[-1] else found

    def learn_celebrities(self) -> Job:
        """Puts what a checkpoint needs once before anybody can be inserted into the line; or finds it there.

        Raises:
            CelebBasisError: Whatever is wrong with the checkpoint.
        """
        under_way = [job for job in self._jobs("encoder") if not job.over]
        if under_way:
            return under_way[0]

        def work(report: Report) -> EncoderOutcome:
            return run_encoder(self.context.open_workshop, GalleryWish(), report)

        return self.context.queue.order(self._celebrities_title(), "encoder", work)

    def _celebrities_title(self) -> str:
        return f"Celebrities of {self.context.open_workshop().host.checkpoint.name}"

    def insert(self, order: Order, pictures: bool = True) -> Job:
        """Puts people, as the encoder understands them, at the end of the line.

        Args:
            order: Of its training nothing is used.
            pictures: See `run_insertion`.

        Raises:
            PersonBusy: Another job writes one of these people.
            WrongEncoder: The checkpoint has no encoder.
            CelebBasisError: See `check_order`.
        """
        untrained = dataclasses.replace(order, config=RECIPES["warm"], lora=None)
        check_order(self.context.open_workshop(), untrained)

        def work(report: Report) -> Outcome:
            return run_insertion(self.context.open_workshop(), untrained, pictures, report)

        return self.context.queue.order(", ".join(order.people), "insert", work, order.people)

    def train(self, order: Order, wish: PreviewWish) -> Job:
        """Puts a training at the end of the line.

        Raises:
            PersonBusy: Another job writes one of these people.
            CelebBasisError: See `check_order`.
        """
        check_order(self.context.open_workshop(), order)

        def work(report: Report) -> Outcome:
            return run_training(self.context.open_workshop(), order, wish, report)

        job = self.context.queue.order(", ".join(order.people), "train", work, order.people)
        known = {known.id for known in self.context.queue.jobs()}
        orders = self.context.orders
        for forgotten in orders.keys() - known:
            del orders[forgotten]
        orders[job.id] = (order, wish)
        return job

    def stopped(self, names: Sequence[str] = ()) -> tuple[Order, PreviewWish] | None:
        """The last training that was stopped under way and whose photos are still known; of these names, if given."""
        for order, wish in reversed(self.context.orders.values()):
            if order.people == tuple(dict.fromkeys(names)) or not names:
                return (order, wish) if self.is_unfinished(order.people) else None
        return None

    def is_unfinished(self, names: Sequence[str]) -> bool:
        """Whether an interrupted run of these names can be gone on with."""
        return (self.context.embeddings_dir / ("+".join(dict.fromkeys(names)) + RESUME_SUFFIX)).is_file()

    def anybody_unfinished(self) -> bool:
        folder = self.context.embeddings_dir
        return folder.is_dir() and any(folder.glob(f"*{RESUME_SUFFIX}"))

    def resume(self, order: Order, wish: PreviewWish) -> Job:
        """Goes on with an interrupted run."""
        return self.train(dataclasses.replace(order, resume=True, overwrite=True), wish)

    def fetch_models(self) -> Job:
        """Fetches the face models that are missing; what is here of a file when it is stopped is kept for later."""
        return self.context.queue.order("Face models", "fetch", lambda report: _fetch(self.context, report))

    def current(self) -> Job | None:
        """The job of the Train page that is running or next, else the last one."""
        trainings = self._jobs(*SHOWN)
        active = [job for job in trainings if not job.over]
        return active[0] if active else trainings[-1] if trainings else None

    def _jobs(self, *kinds: str) -> list[Job]:
        return [job for job in self.context.queue.jobs() if job.kind in kinds]

    def ahead_of(self, job: Job | None) -> int:
        """Jobs that come before it."""
        waiting = [other for other in self.context.queue.jobs() if not other.over]
        return waiting.index(job) if job in waiting else 0

    def stop(self) -> None:
        """Ends the current job of the Train page after its step."""
        job = self.current()
        if job is not None and not job.over:
            self.context.queue.stop(job.id)


def _fetch(context: Context, report: Report) -> None:
    from celebbasis_ext.files.download import fetch
    from celebbasis_ext.files.folders import models_dir

    def show(transfer: Transfer) -> None:
        file, megabyte = transfer.file, 1_000_000
        text = f"Fetching {file.name} (licence {file.licence}) from {urlsplit(transfer.url).hostname}, in MB"
        report.show(Progress(text, transfer.done // megabyte, -(-file.size // megabyte)))
        if report.stop_wanted():
            raise Stopped

    try:
        for file in context.missing_models():
            fetch(file, models_dir(), show)
    except Stopped:
        return


class Stopped(Exception):
    """Somebody pressed Stop while something was fetched."""
