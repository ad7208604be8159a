"""A workshop around whatever checkpoint the WebUI has loaded."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from celebbasis_ext.errors import MissingModel, MissingPackage
from celebbasis_ext.hosts.detect import open_host
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.names import load_names

if TYPE_CHECKING:
    from celebbasis_ext.describe import Describer
    from celebbasis_ext.faces.base import FaceBackend

MINIATURE_RESOLUTION = 96


def open_webui_workshop() -> Workshop:
    """Host, faces, describer and names for one job; all but the host are opened once.

    The miniature, by its size the only one of its kind, gets its own drawn people's tools.

    Raises:
        UnsupportedCheckpoint: If the loaded checkpoint cannot be trained through.
        MissingModel, MissingPackage: If nobody is there to find faces in photos.
    """
    host = open_host()
    if host.checkpoint.resolution == MINIATURE_RESOLUTION:
        return Workshop(host, *_miniature_tools())
    return Workshop(host, *_photo_tools())


@cache
def _miniature_tools() -> tuple[FaceBackend, Describer, tuple[str, ...]]:
    from celebbasis_ext.miniature.people import celebrities
    from celebbasis_ext.miniature.tagger import Tagger
    from celebbasis_ext.miniature.workshop import Assets, open_faces

    assets = Assets().checked()
    return open_faces(assets), Tagger(assets.tagger), tuple(person.name for person in celebrities())


@cache
def _photo_tools() -> tuple[FaceBackend, Describer, tuple[str, ...]]:
    from celebbasis_ext.faces.insight import InsightFaces

    return InsightFaces("buffalo_l"), _describer(), load_names()


def _describer() -> Describer:
    """CLIP where its weights are on this machine; else what the user says is all that is said."""
    from celebbasis_ext.describe import NoWords
    from celebbasis_ext.describe_clip import OpenClipDescriber

    try:
        return OpenClipDescriber()
    except (MissingModel, MissingPackage):
        return NoWords()
