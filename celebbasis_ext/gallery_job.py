"""A gallery as a job in the line: it may take hours, so whoever wants a picture meanwhile comes first.

names -> gather's events -> Progress -> GalleryOutcome. Stopped or failed, it goes on where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from celebbasis_ext.evaluate.gallery_sheet import gallery_sheet
from celebbasis_ext.gallery import IMAGES, STEPS, drawable_names, gather
from celebbasis_ext.job_queue import Progress
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.training_job import side_by_side
from celebbasis_ext.types import Drawn, Gathered, Image

if TYPE_CHECKING:
    from celebbasis_ext.job_queue import Report


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


def run_gallery(open_workshop: Callable[[], Workshop], wish: GalleryWish, report: Report) -> GalleryOutcome:
    """Draws a gallery into the cache; the work of one job.

    Args:
        open_workshop: Called at the start and after every rest: meanwhile the host was somebody else's.
        wish: What is to be drawn.
        report: Whom to tell.

    Raises:
        CelebBasisError: See `gallery.gather`.
    """

    def rest() -> Workshop:
        report.let_others()
        return open_workshop()

    report.show(Progress("Looking for names that can be used"))
    workshop = open_workshop()
    names = drawable_names(workshop)[: wish.first]
    gathered = None
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
