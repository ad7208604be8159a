"""A gallery, and the encoder that is learned from it, as a job in the line: it may take hours, so whoever wants a
picture meanwhile comes first.

names -> gather's events -> Progress -> GalleryOutcome -> teach_encoder's events -> Progress -> EncoderOutcome.
Stopped or failed, it goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celebbasis_ext.encoder_job import CHECKED, PICTURES, Checked, teach_encoder
from celebbasis_ext.evaluate.gallery_sheet import gallery_sheet
from celebbasis_ext.gallery import IMAGES, STEPS, drawable_names, gather, plan_of, stored_pictures
from celebbasis_ext.job_queue import Progress
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.training_job import side_by_side
from celebbasis_ext.types import Drawn, Encoder, Gallery, Gathered, Image

if TYPE_CHECKING:
    from celebbasis_ext.job_queue import Report

SECONDS_PER_STEP = 0.1
"""Assumed of a sampler at 512 pixels on an ordinary graphics card."""


@dataclass(frozen=True)
class GalleryWish:
    """What is to be drawn.

    Attributes:
        images: Of each name.
        first: Only so many names, the first of the list; None for all that are usable.
        steps: Of the sampler.
    """

    images: int = IMAGES
    first: int | None = None
    steps: int = STEPS


@dataclass(frozen=True)
class GalleryOutcome:
    """What a gallery's job leaves.

    Attributes:
        gathered: The gallery.
        sheet: [h, w, 3] some of its names; None where nothing was drawn.
    """

    gathered: Gathered
    sheet: Image | None


@dataclass(frozen=True)
class EncoderOutcome:
    """What the job of a gallery and an encoder leaves.

    Attributes:
        drawn: The gallery.
        encoder: None where it was stopped before the gallery was finished.
    """

    drawn: GalleryOutcome
    encoder: Encoder | None


@dataclass(frozen=True)
class Outlook:
    """What such a job has before it.

    Attributes:
        names: How many celebrities are drawn.
        pictures: Those that are still to be drawn, in all.
        seconds: How long that takes.
        measured: Whether that is known from this computer, or assumed of an ordinary graphics card.
    """

    names: int
    pictures: int
    seconds: float
    measured: bool = False


def outlook(workshop: Workshop, wish: GalleryWish = GalleryWish()) -> Outlook:
    """An estimate before anything is drawn; see `run_encoder`."""
    names = drawable_names(workshop)[: wish.first]
    plan = plan_of(workshop, names, wish.images, wish.steps)
    pictures = len(plan.keys) - stored_pictures(plan) + CHECKED * (1 + PICTURES)
    each = SECONDS_PER_STEP * wish.steps * (workshop.host.checkpoint.resolution / 512) ** 2
    return Outlook(len(names), pictures, pictures * each)


def run_encoder(
    open_workshop: Callable[[], Workshop], wish: GalleryWish, report: Report, checked: int = CHECKED
) -> EncoderOutcome:
    """Draws a gallery, or what is missing of it, and learns the checkpoint's encoder; the work of one job.

    Args:
        open_workshop: See `run_gallery`.
        wish: What is to be drawn.
        report: Whom to tell.
        checked: How many made-up people to draw; see `teach_encoder`.

    Raises:
        CelebBasisError: See `gallery.gather` and `encoder_job.teach_encoder`.
    """
    drawn = run_gallery(open_workshop, wish, report)
    if not drawn.gathered.finished:
        return EncoderOutcome(drawn, None)
    report.show(Progress("Learning from the pictures"))
    return EncoderOutcome(drawn, _taught(open_workshop, drawn.gathered.gallery, report, checked))


def _taught(open_workshop: Callable[[], Workshop], gallery: Gallery, report: Report, checked: int) -> Encoder:
    encoder = None
    rest = _resting(open_workshop, report)
    for event in teach_encoder(open_workshop(), gallery, None, checked, report.stop_wanted, rest):
        if isinstance(event, Checked):
            report.show(Progress("Checking it on people who do not exist", event.done, event.total, event.seconds_left))
        else:
            encoder = event
    assert encoder is not None  # teach_encoder always ends with it
    return encoder


def run_gallery(open_workshop: Callable[[], Workshop], wish: GalleryWish, report: Report) -> GalleryOutcome:
    """Draws a gallery into the cache; the work of one job.

    Args:
        open_workshop: Called at the start and after every rest: meanwhile the host was somebody else's.
        wish: What is to be drawn.
        report: Whom to tell.

    Raises:
        CelebBasisError: See `gallery.gather`.
    """

    report.show(Progress("Looking for names that can be used"))
    workshop = open_workshop()
    names = drawable_names(workshop)[: wish.first]
    gathered = None
    rest = _resting(open_workshop, report)
    for event in gather(workshop, names, wish.images, None, report.stop_wanted, wish.steps, rest):
        if isinstance(event, Gathered):
            gathered = event
        else:
            report.show(_progress(event))
    assert gathered is not None  # gather always ends with Gathered
    return GalleryOutcome(gathered, gallery_sheet(gathered.gallery))


def _progress(event: Drawn) -> Progress:
    faces = side_by_side([shot.crop for shot in event.shots if shot.crop is not None])
    return Progress("Drawing celebrities", event.done, event.total, event.seconds_left, (), faces, event.done)


def _resting(open_workshop: Callable[[], Workshop], report: Report) -> Callable[[], Workshop]:
    """Lets others use the host, and opens it anew."""

    def rest() -> Workshop:
        report.let_others()
        return open_workshop()

    return rest
