"""Opens the miniature that is shipped: checkpoint, face pack, tagger and its own celebrities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from celebbasis_ext.errors import MissingModel
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.miniature.people import celebrities

if TYPE_CHECKING:
    from celebbasis_ext.faces.opencv import OpenCVFaces
    from celebbasis_ext.hosts.standalone_load import Placement
    from celebbasis_ext.miniature.tagger import LookReader

ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Assets:
    """The miniature's files in a folder."""

    folder: Path = ASSETS

    def checked(self) -> Assets:
        """Itself; raises MissingModel where a file is missing."""
        missing = [
            path.name
            for path in (self.checkpoint, self.detector, self.recogniser, self.tagger, self.judge)
            if not path.exists()
        ]
        if missing:
            raise MissingModel(
                f"The miniature's {', '.join(missing)} cannot be found in {self.folder}.",
                "Restore them from the repository, or make them with `python -m celebbasis_ext.miniature`.",
            )
        return self

    @property
    def checkpoint(self) -> Path:
        return self.folder / "miniature.safetensors"

    @property
    def detector(self) -> Path:
        return self.folder / "detector.onnx"

    @property
    def recogniser(self) -> Path:
        return self.folder / "recogniser.onnx"

    @property
    def tagger(self) -> Path:
        return self.folder / "tagger.safetensors"

    @property
    def judge(self) -> Path:
        return self.folder / "judge.safetensors"


def open_faces(assets: Assets) -> OpenCVFaces:
    from celebbasis_ext.faces.opencv import OpenCVFaces

    return OpenCVFaces(assets.detector, assets.recogniser)


def open_judge(assets: Assets) -> LookReader:
    """Reads identity and look; it took no part in training, and no describer uses it."""
    from celebbasis_ext.miniature.tagger import LookReader

    return LookReader(assets.judge)


def open_workshop(embeddings_dir: Path, assets: Assets | None = None, placement: Placement | None = None) -> Workshop:
    """Everything that a job needs, in the miniature; on the CPU in fp32 if not told."""
    from celebbasis_ext.hosts.standalone import StandaloneHost
    from celebbasis_ext.miniature.judge import LookJudge
    from celebbasis_ext.miniature.tagger import Tagger

    assets = (assets or Assets()).checked()
    host = StandaloneHost.load(assets.checkpoint, embeddings_dir, placement)
    names = tuple(person.name for person in celebrities())
    return Workshop(host, open_faces(assets), Tagger(assets.tagger), names, LookJudge(assets.judge))
