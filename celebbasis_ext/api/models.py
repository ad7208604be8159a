"""What requests and replies look like; for pydantic 1.10 (AUTOMATIC1111) and 2 (everybody else)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, StrictBool, create_model

from celebbasis_ext.config_rules import FIELDS, RANGES, TYPES, explanations
from celebbasis_ext.recipes import PRESETS, RECIPES
from celebbasis_ext.training_job import PLAIN

SETTINGS = {**PRESETS, **RECIPES}
"""What a training may start from, by name."""


class Form(BaseModel, extra="forbid"):
    """What is sent to us; a field that is not known is an error, since it was meant to do something."""


if TYPE_CHECKING:

    class TrainSettings(Form): ...

else:

    def _setting(name: str) -> tuple[Any, Any]:
        least, most = RANGES.get(name, (None, None))
        bounds = {} if least is None else {"ge": least, "le": most}
        return TYPES[name] | None, Field(default=None, description=explanations().get(name, ""), **bounds)

    class TrainSettings(create_model("TrainSettings", __base__=Form, **{name: _setting(name) for name in FIELDS})):
        """Settings in place of the preset's; what is not given, or null, stays as it is there."""


def given(form: Form | None) -> dict[str, Any]:
    """{field: value} of those that were sent; null counts only where it means something of its own."""
    if form is None:
        return {}
    names = form.model_fields_set if hasattr(form, "model_fields_set") else form.__fields_set__
    values = {name: getattr(form, name) for name in names}
    return {name: value for name, value in values.items() if value is not None or name == "components"}


class PersonPhoto(Form):
    """A photo of somebody to be learned."""

    name: str = Field(
        ...,
        description="The trigger word: letters, digits, and . _ - in between; at most 80 bytes. Photos of one name "
        "are of one person.",
    )
    photo: str = Field(..., description="JPEG, PNG, WebP ..., in base64; at most 100 megapixels all together.")
    face: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Which face, from the left, from 1; needed where the photo shows several.",
    )


class NewPerson(PersonPhoto):
    """A photo of somebody to be learned, and what else is in it."""

    description: list[str] | None = Field(
        default=None, description="What is in the photo but is not the person, in phrases; null asks the describer."
    )


class Preview(Form):
    """Pictures while training."""

    prompt: str = Field(default=PLAIN, description="{} stands for the trigger word; at most 1000 characters.")
    every: int = Field(default=20, ge=0, le=100_000, description="Steps from one picture to the next; 0 for none.")


class TrainRequest(Form):
    """Learn one person, or up to four at once."""

    people: list[NewPerson] = Field(..., description="1 to 4 photos; one file for each name among them.")
    consent: StrictBool = Field(
        default=False, description="That each of them is you, or somebody who has agreed to be learned: must be true."
    )
    preset: str = Field(
        default="Balanced",
        description=f"Settings to start from, one of: {', '.join(SETTINGS)}. {', '.join(PRESETS)} begin at the "
        "encoder's answer where the checkpoint has one, see /encoder.",
    )
    config: TrainSettings | None = Field(default=None, description="Settings in place of the preset's.")
    lora: bool = Field(
        default=False, description="Learn a LoRA of the same name too: closer to the photo, a larger file."
    )
    preview: Preview | None = Field(default=None, description="Pictures while training; null for the defaults.")
    overwrite: bool = Field(default=False, description="Replace existing embeddings of these names.")
    resume: bool = Field(
        default=False, description="Go on with the interrupted run of these names; the same settings, photos."
    )


class InsertRequest(Form):
    """Write one person, or up to four, at once."""

    people: list[PersonPhoto] = Field(..., description="1 to 4 photos; one file for each name among them.")
    consent: StrictBool = Field(
        default=False, description="That each of them is you, or somebody who has agreed to be learned: must be true."
    )
    pictures: bool = Field(
        default=True, description="Draw the contact sheet and measure the likeness, once the files are written."
    )
    overwrite: bool = Field(default=False, description="Replace existing embeddings of these names.")


class Parent(Form):
    """Somebody who goes into a mix."""

    who: str = Field(..., description='A name from /people, a celebrity, or "sample:7" for a fictional person.')
    weight: float = Field(default=1.0, ge=-100, le=100, description="Relative to the others'; negative leads away.")


class MixRequest(Form):
    """Somebody between several people."""

    name: str = Field(..., description="The new trigger word.")
    people: list[Parent] = Field(..., description="2 to 16 people with a weight that is not 0.")


class SampleRequest(Form):
    """Somebody who does not exist."""

    name: str = Field(..., description="The new trigger word.")
    seed: int = Field(default=0, ge=0, le=2**53 - 1, description="Which of them; the same seed is the same person.")


class RenameRequest(Form):
    """Another trigger word."""

    new_name: str = Field(..., description="It has to be free; only the case may differ from the old one.")


class FacesRequest(Form):
    """A photo to look at."""

    photo: str = Field(..., description="JPEG, PNG, WebP ..., in base64; at most 100 megapixels.")
    face: int | None = Field(
        default=None, ge=1, le=1000, description="Which face's surroundings to describe, where there are several."
    )


class InspectRequest(Form):
    """Anybody's embedding file."""

    embedding: str = Field(..., description="The file in base64. Code in it is never run.")
    name: str = Field(default="upload", description="What to call it in the reply; the rules of trigger words hold.")
    suffix: str = Field(default=".safetensors", description="Of the file: .safetensors, .pt or .bin.")


class Empty(Form):
    """Nothing: an action that needs no more than its address."""


class Fault(BaseModel):
    """What went wrong."""

    kind: str = Field(..., description='Its class, such as "NameTaken".')
    message: str = Field(..., description="What is wrong, with what was expected and what was found.")
    hint: str = Field(..., description="What to do next; may be empty.")


class FaultReply(BaseModel):
    """Every reply whose status is 400 or more."""

    error: Fault


class ProgressReply(BaseModel):
    """How far a job is."""

    text: str = Field(..., description="What is being done.")
    step: int = Field(..., description="Steps done.")
    steps: int = Field(..., description="Steps planned; 0 while that is unknown.")
    seconds_left: float | None = Field(..., description="Estimated, in seconds; null while unknown.")
    losses: list[float | None] = Field(..., description="One for each step done; empty in lists of jobs.")
    preview_step: int = Field(..., description="The step after which the latest picture was drawn; 0 for none yet.")
    preview: str | None = Field(
        default=None, description="That picture, PNG in base64; only where ?preview=true asks for it."
    )


class ScoresReply(BaseModel):
    """How like their photo somebody is; see `impostors` for what chance gives."""

    likeness: float = Field(..., description="Mean cosine between generated pictures and the photo, in [-1, 1].")
    impostors: float = Field(..., description='The same for pictures of "a person".')
    faces_found: float = Field(..., description="Share of the pictures that show a face, in [0, 1].")
    obedience: float | None = Field(
        default=None, description="Share of prompts that were obeyed, in [0, 1]; null where nobody judged."
    )
    impostors_obedience: float | None = Field(default=None, description='The same for pictures of "a person".')


class ExpectedReply(BaseModel):
    """What the encoder expects of its own answer, before anything is drawn."""

    likeness: float | None = Field(
        ..., description="As in the scores, in [-1, 1]; null where the encoder was never checked."
    )
    doubt: float | None = Field(..., description="Its standard deviation, or null.")


class ResultReply(BaseModel):
    """What a job that is over leaves."""

    people: list[str] = Field(..., description="Who was written, by their names; empty for /encoder.")
    finished: bool = Field(..., description="Whether all planned steps were made, or all pictures drawn.")
    scores: list[ScoresReply] = Field(
        default=[], description="One for each person; empty where the training was stopped."
    )
    expected: list[ExpectedReply] = Field(default=[], description="One for each person who was inserted.")
    loras: list[str] = Field(default=[], description="LoRAs that were written, by their names: <lora:anna-cb:1>.")
    lora_scores: list[ScoresReply] = Field(default=[], description="One for each of them, beside its trigger word.")
    sheet: str | None = Field(
        default=None, description="The contact sheet, PNG in base64; only where ?preview=true asks for it."
    )


class JobReply(BaseModel):
    """A job as it stands now."""

    id: str = Field(..., description="Its own.")
    title: str = Field(..., description="For people to read.")
    kind: str = Field(..., description='"train", "insert", "encoder", "make", "fetch" or "generate".')
    people: list[str] = Field(..., description="Whom it writes; until it is over nobody else may (423).")
    state: str = Field(..., description='"queued", "running", "done", "stopped" or "failed".')
    stopping: bool = Field(..., description="Somebody asked it to stop.")
    ahead: int = Field(..., description="Jobs that come before it.")
    ordered: float = Field(..., description="When, in seconds since 1970.")
    started: float | None = Field(..., description="When, in seconds since 1970, or null.")
    ended: float | None = Field(..., description="When, in seconds since 1970, or null.")
    progress: ProgressReply
    result: ResultReply | None = Field(..., description="Where it has one.")
    error: Fault | None = Field(..., description="Why it failed, or null.")


class PersonReply(BaseModel):
    """Somebody who was learned here."""

    name: str = Field(..., description="The trigger word.")
    card: bool = Field(..., description="Whether there is a picture at /people/{name}/card.")
    resumable: bool = Field(..., description="Whether an interrupted run can be gone on with.")
    changed: float = Field(..., description="When the file was written, in seconds since 1970.")
    facts: dict[str, Any] = Field(..., description="What the file says: checkpoint, settings, scores, steps ...")


class NormsReply(BaseModel):
    """Lengths of word vectors beside those of real names."""

    encoder: str = Field(..., description="Which text encoder.")
    own: list[float] = Field(..., description="One for each vector.")
    names: list[list[float]] = Field(..., description="5th percentile, mean, 95th percentile, for each name column.")


class Similar(BaseModel):
    """A celebrity who is like somebody."""

    name: str = Field(..., description="Theirs.")
    cosine: float = Field(..., description="Of the word vectors less the mean, in [-1, 1].")


class InspectReply(BaseModel):
    """What an embedding is, compared with real names where the checkpoint has its widths."""

    name: str = Field(..., description="The trigger word.")
    ours: bool = Field(..., description="Whether Celeb Basis wrote it.")
    fits: str = Field(..., description='The family whose text encoders have its widths, or "unknown".')
    shape: dict[str, list[int]] = Field(..., description="{encoder: [vectors, width]}.")
    facts: dict[str, Any] = Field(..., description="What the header says.")
    norms: list[NormsReply]
    distances: list[float] = Field(..., description="Of each token from all celebrities' centre; 1 is their mean.")
    outside: float | None = Field(
        ..., description="Share of it that no combination of celebrities explains, in [0, 1]; null without a basis."
    )
    nearest: list[Similar] = Field(..., description="The celebrities who are most like it.")
    compared_with: str = Field(..., description="The checkpoint that the comparison comes from; empty without.")


class NameReply(BaseModel):
    """Whether somebody new may have a name."""

    name: str = Field(..., description="As it was sent.")
    usable: bool = Field(..., description="Whether it may be given.")
    error: Fault | None = Field(..., description="Why not, or null.")
    surprises: list[str] = Field(..., description="What works otherwise than one would think.")
    proposal: str = Field(..., description="A free name close to it; empty where none was found.")


class FaceReply(BaseModel):
    """A face that may be chosen."""

    number: int = Field(..., description="From the left, from 1.")
    box: list[float] = Field(..., description="Left, top, right, bottom in pixels of the upright photo.")
    landmarks: list[list[float]] = Field(..., description="x, y in pixels: eyes, tip of the nose, mouth's corners.")
    score: float = Field(..., description="The detector's confidence in [0, 1].")


class FacesReply(BaseModel):
    """What is seen in a photo."""

    width: int = Field(..., description="Pixels, upright.")
    height: int = Field(..., description="Pixels, upright.")
    faces: list[FaceReply] = Field(..., description="From the left; passers-by are left out.")
    description: list[str] = Field(..., description="What is in it beside the person; empty until a face is chosen.")
    warnings: list[str] = Field(..., description="What will make the result worse.")


class CheckpointReply(BaseModel):
    """Which model the host has loaded."""

    name: str = Field(..., description="For people to read.")
    sha256: str = Field(..., description="Of the file; empty where unknown.")
    family: str = Field(..., description='"sd1", "sd2" or "sdxl".')
    prediction_type: str = Field(..., description='"epsilon" or "v_prediction".')
    resolution: int = Field(..., description="Native picture size in pixels.")


class EncoderReply(BaseModel):
    """Whether the checkpoint has learned from its celebrities, so that people can be inserted at once."""

    present: bool = Field(..., description="Whether there is an encoder for the checkpoint and the face models.")
    facts: dict[str, str] = Field(..., description="How it was made; empty where there is none.")
    doubt: float | None = Field(
        ..., description="How far off its expected likeness may be, as a standard deviation; null while unknown."
    )
    names: int = Field(..., description="Celebrities whom the checkpoint draws for it.")
    pictures: int = Field(..., description="Those that are still to be drawn; 0 where it is present.")
    seconds: float = Field(..., description="How long that takes, estimated.")
    measured: bool = Field(
        ..., description="Whether the estimate comes from this computer, or is assumed of a graphics card."
    )


class HealthReply(BaseModel):
    """Whether people can be learned here, and if not why."""

    ready: bool = Field(..., description="Whether nothing is missing.")
    version: str = Field(..., description="Of Celeb Basis.")
    host: str = Field(..., description='"webui" or "standalone".')
    checkpoint: CheckpointReply | None = Field(
        ..., description="Null where it is none that people can be learned with; see `problems`."
    )
    encoder: bool = Field(..., description="Whether people can be inserted at once; see /encoder.")
    missing_packages: list[str] = Field(..., description="As pip knows them.")
    problems: list[Fault] = Field(
        ..., description="Face weights that are missing, a checkpoint that is unsupported ..."
    )
    notices: list[str] = Field(..., description="What the tab says at its top.")
    running: int = Field(..., description="Jobs.")
    waiting: int = Field(..., description="Jobs.")
