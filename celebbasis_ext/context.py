"""What tab and API are told by whoever opens them: the WebUI's script, or the standalone page."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.job_queue import JobQueue

if TYPE_CHECKING:
    from celebbasis_ext.files.download import RemoteFile
    from celebbasis_ext.jobs import Order, Workshop
    from celebbasis_ext.training_job import PreviewWish
    from celebbasis_ext.types import Image


@dataclass(frozen=True)
class Context:
    """The surroundings of tab and API, which share them.

    Attributes:
        open_workshop: The host's checkpoint and all else that a job needs; called when it is needed, at once if it
            has been called before.
        embeddings_dir: Where the people are.
        queue: Where jobs wait for the host.
        in_webui: Whether the WebUI's own progress bar, live preview and txt2img page are there.
        notices: What is missing and what to do about it, for people to read.
        draw_stranger: Draws a portrait of somebody new from a seed, to try things with; None where photos are real.
        missing_models: Face models that are to be fetched before photos can be looked at.
        orders: Trainings by their job, so that they can be gone on with while the program runs.
    """

    open_workshop: Callable[[], Workshop]
    embeddings_dir: Path
    queue: JobQueue = field(default_factory=JobQueue)
    in_webui: bool = False
    notices: tuple[str, ...] = ()
    draw_stranger: Callable[[int], Image] | None = None
    missing_models: Callable[[], tuple[RemoteFile, ...]] = tuple
    orders: dict[str, tuple[Order, PreviewWish]] = field(default_factory=dict)
