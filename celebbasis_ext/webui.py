"""Tab and API in the WebUI: their surroundings, and a workshop around whatever checkpoint is loaded."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.context import Context
from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.errors import MissingModel, MissingPackage
from celebbasis_ext.faces.weights import default_faces, missing_files
from celebbasis_ext.files.install_report import read_install_report
from celebbasis_ext.hosts.a1111_queue import take_turn
from celebbasis_ext.hosts.detect import open_host, webui_folder
from celebbasis_ext.job_queue import JobQueue
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.names import load_names

if TYPE_CHECKING:
    from celebbasis_ext.describe import Describer
    from celebbasis_ext.faces.base import FaceBackend
    from celebbasis_ext.judge import PromptJudge

MINIATURE_RESOLUTION = 96


@cache
def webui_context(embeddings_dir: Path) -> Context:
    """What tab and API share, for the life of the process: a job that runs is still found after "Reload UI"."""
    missing = str(read_install_report())
    return Context(
        open_webui_workshop, embeddings_dir, JobQueue(take_turn), in_webui=True,
        notices=(missing,) if missing else (), missing_models=lambda: missing_files(webui_folder()),
    )  # fmt: skip


def open_webui_workshop() -> Workshop:
    """Host, faces, describer and names for one job; all but the host are opened once.

    The miniature, by its size the only one of its kind, gets its own drawn people's tools.

    Raises:
        UnsupportedCheckpoint: If the loaded checkpoint cannot be trained through.
        MissingModel, MissingPackage: If nobody is there to find faces in photos.
    """
    host = open_host()
    if host.checkpoint.resolution == MINIATURE_RESOLUTION:
        return with_encoder(Workshop(host, *_miniature_tools()))
    return with_encoder(Workshop(host, *_photo_tools()))


@cache
def _miniature_tools() -> tuple[FaceBackend, Describer, tuple[str, ...], PromptJudge]:
    from celebbasis_ext.miniature.judge import LookJudge
    from celebbasis_ext.miniature.people import celebrities
    from celebbasis_ext.miniature.tagger import Tagger
    from celebbasis_ext.miniature.workshop import Assets, open_faces

    assets = Assets().checked()
    return (
        open_faces(assets),
        Tagger(assets.tagger),
        tuple(person.name for person in celebrities()),
        LookJudge(assets.judge),
    )


@cache
def _photo_tools() -> tuple[FaceBackend, Describer, tuple[str, ...]]:
    return default_faces(offline=True, webui=webui_folder()), _describer(), load_names()


def _describer() -> Describer:
    """CLIP where its weights are on this machine; else what the user says is all that is said."""
    from celebbasis_ext.describe import NoWords
    from celebbasis_ext.describe_clip import OpenClipDescriber

    try:
        return OpenClipDescriber()
    except (MissingModel, MissingPackage):
        return NoWords()
