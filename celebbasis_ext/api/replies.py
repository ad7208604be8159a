"""From our own types to those of the API."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext.api import models
from celebbasis_ext.api.errors import said
from celebbasis_ext.gallery_job import EncoderOutcome
from celebbasis_ext.training_job import Outcome
from celebbasis_ext.types import Image, Saved, Scores

if TYPE_CHECKING:
    from celebbasis_ext.files.people import TrainedPerson
    from celebbasis_ext.gallery_job import Outlook
    from celebbasis_ext.inspection import Inspection
    from celebbasis_ext.job_queue import Job, Progress
    from celebbasis_ext.studio import SeenPhoto
    from celebbasis_ext.types import Encoder, Face

_NOT_SENT = {"coefficients", "radius"}
"""Long, and of no use without the file."""


def job_reply(job: Job, ahead: int, folder: Path, pictures: bool, losses: bool = True) -> models.JobReply:
    """Args:
    job: As it stands.
    ahead: Jobs before it.
    folder: Of the embeddings.
    pictures: Whether the preview and the contact sheet are sent.
    losses: Whether they are sent.
    """
    return models.JobReply(
        id=job.id, title=job.title, kind=job.kind, people=list(job.people), state=job.state, stopping=job.stopping,
        ahead=ahead, ordered=job.ordered, started=job.started, ended=job.ended,
        progress=_progress(job.progress, pictures, losses), result=_result(job.result, pictures),
        error=models.Fault(**said(job.error, folder)) if job.error else None,
    )  # fmt: skip


def _progress(progress: Progress, pictures: bool, losses: bool) -> models.ProgressReply:
    return models.ProgressReply(
        text=progress.text, step=progress.step, steps=progress.steps, seconds_left=sendable(progress.seconds_left),
        losses=sendable(progress.losses) if losses else [], preview_step=progress.preview_step,
        preview=png_text(progress.preview) if pictures else None,
    )  # fmt: skip


def _result(result: object, pictures: bool) -> models.ResultReply | None:
    if isinstance(result, EncoderOutcome):
        sheet = png_text(result.drawn.sheet) if pictures else None
        return models.ResultReply(people=[], finished=result.encoder is not None, sheet=sheet)
    if isinstance(result, Saved):
        result = Outcome(result)
    if not isinstance(result, Outcome):
        return None
    loras = result.loras.loras if result.loras else ()
    return models.ResultReply(
        people=[embedding.name for embedding in result.saved.embeddings],
        finished=result.saved.finished,
        scores=_scores(result.scores), lora_scores=_scores(result.lora_scores), loras=[lora.name for lora in loras],
        expected=[
            models.ExpectedReply(likeness=sendable(person.expected_likeness), doubt=sendable(person.doubt))
            for person in result.understood
        ],
        sheet=png_text(result.sheet) if pictures else None,
    )  # fmt: skip


def _scores(scores: Sequence[Scores]) -> list[models.ScoresReply]:
    return [models.ScoresReply(**dataclasses.asdict(entry)) for entry in scores]


def encoder_reply(encoder: Encoder | None, outlook: Outlook) -> models.EncoderReply:
    present = encoder is not None
    return models.EncoderReply(
        present=present, facts=dict(encoder.facts) if encoder else {},
        doubt=sendable(encoder.doubt) if encoder else None, names=outlook.names,
        pictures=0 if present else outlook.pictures, seconds=0.0 if present else outlook.seconds,
        measured=outlook.measured,
    )  # fmt: skip


def png_text(image: Image | None) -> str | None:
    """[h, w, 3] as PNG in base64."""
    from PIL import Image as Pillow

    if image is None:
        return None
    file = io.BytesIO()
    Pillow.fromarray(image).save(file, format="PNG")
    return base64.b64encode(file.getvalue()).decode()


def person_reply(person: TrainedPerson) -> models.PersonReply:
    facts = {key: sendable(value) for key, value in person.facts.items() if key not in _NOT_SENT}
    return models.PersonReply(
        name=person.name, card=person.preview is not None, resumable=person.resumable, changed=person.changed,
        facts=facts,
    )  # fmt: skip


def inspect_reply(inspection: Inspection) -> models.InspectReply:
    return models.InspectReply(
        name=inspection.name, ours=inspection.ours, fits=inspection.fits,
        shape={encoder: list(shape) for encoder, shape in inspection.shape.items()},
        facts=sendable(inspection.facts),
        norms=[
            models.NormsReply(encoder=n.encoder, own=list(n.own), names=[list(row) for row in n.names])
            for n in inspection.norms
        ],
        distances=list(inspection.distances), outside=inspection.outside,
        nearest=[models.Similar(name=name, cosine=cosine) for name, cosine in inspection.nearest],
        compared_with=inspection.compared_with,
    )  # fmt: skip


def faces_reply(seen: SeenPhoto, image: Image) -> models.FacesReply:
    height, width = image.shape[:2]
    return models.FacesReply(
        width=width, height=height, faces=[_face(i, face) for i, face in enumerate(seen.faces, start=1)],
        description=list(seen.words), warnings=list(seen.warnings),
    )  # fmt: skip


def _face(number: int, face: Face) -> models.FaceReply:
    return models.FaceReply(
        number=number, box=face.box.tolist(), landmarks=face.landmarks.tolist(), score=float(face.score)
    )


def sendable(value: Any) -> Any:
    """What a file's header says, as JSON can say it: NaN and infinity become null, half characters question marks."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {sendable(str(key)): sendable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [sendable(entry) for entry in value]
    return value
