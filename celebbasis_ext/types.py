"""What travels through the code: frozen dataclasses, in the order in which a photo becomes a file.

photo -> Face -> AlignedFace -> coefficients [T, K] -> word vectors {encoder: [T, D]} -> embedding file.
Images are numpy arrays [h, w, 3], uint8, RGB, unless a docstring says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Face:
    """A face that a detector found.

    Attributes:
        box: [4], left, top, right, bottom in pixels.
        landmarks: [5, 2], x and y in pixels: the eye on the picture's left, the other eye, the tip of the nose,
            the mouth's corner on the picture's left, the other corner.
        score: The detector's confidence in [0, 1].
    """

    box: Floats
    landmarks: Floats
    score: float


@dataclass(frozen=True)
class AlignedFace:
    """A face cut out of its photo and turned upright, with the numbers that say whose it is.

    Attributes:
        crop: [112, 112, 3] the usual five-point ArcFace alignment.
        identity: [I] identity vector of length 1.
        face: Where it was found in the photo.
    """

    crop: Image
    identity: Floats
    face: Face


@dataclass(frozen=True)
class CelebBasis:
    """A space of people, made of the token embeddings of celebrities' names.

    T is the number of tokens of a name (2), K the number of components, D the width of a text encoder.

    Attributes:
        mean: {encoder: [T, D]} the mean token embedding of each name column.
        components: {encoder: [T, K, D]} principal components; rows are orthonormal over all encoders together.
        explained_variance: [T, K] variance of the names' own coefficients.
        radius: [T] the names' mean distance from the mean, in coefficients.
        coefficients: [N, T, K] of the N names themselves.
        names: The N names.
        fingerprint: Of the token tables and the list of names.
    """

    mean: Mapping[str, Floats]
    components: Mapping[str, Floats]
    explained_variance: Floats
    radius: Floats
    coefficients: Floats
    names: tuple[str, ...]
    fingerprint: str

    @property
    def shape(self) -> tuple[int, int]:
        """(T, K)."""
        tokens, count = self.explained_variance.shape
        return tokens, count


@dataclass(frozen=True)
class Checkpoint:
    """Which model a host has loaded.

    Attributes:
        name: For people to read.
        sha256: Of the file, as hosts show it; empty where unknown.
        family: "sd1", "sd2" or "sdxl".
        prediction_type: What the UNet predicts.
        resolution: Native picture size in pixels.
    """

    name: str
    sha256: str
    family: Literal["sd1", "sd2", "sdxl"]
    prediction_type: Literal["epsilon", "v_prediction"]
    resolution: int

    @property
    def key(self) -> str:
        """What tells it from others."""
        return self.sha256 or self.name


@dataclass(frozen=True)
class Shot:
    """A picture that the checkpoint drew for a name, less all but the face.

    Attributes:
        name: Whose picture was asked for.
        prompt: What was asked for; {} stands for the name.
        seed: Of the noise.
        faces: How many were found, passers-by not counted.
        crop: [112, 112, 3] the largest face, aligned; None where there is none.
        identity: [I] its identity vector, of length 1; None where there is none.
        quality: Of that face, in [0, 1], see `faces.quality.overall`; 0 where there is none.
    """

    name: str
    prompt: str
    seed: int
    faces: int
    crop: Image | None = field(repr=False, compare=False)
    identity: Floats | None = field(repr=False, compare=False)
    quality: float


@dataclass(frozen=True)
class Gallery:
    """What a checkpoint draws for its celebrities.

    Attributes:
        shots: Name after name, in the order of the list; fewer than planned where the drawing was stopped.
        fingerprint: Of the checkpoint, the names and their token embeddings, the face models, and how it was drawn.
        faces: Which face models saw it; identity vectors of others cannot be compared with these.
    """

    shots: tuple[Shot, ...]
    fingerprint: str
    faces: str


@dataclass(frozen=True)
class PhotoWarning:
    """Something about a photo that will make the result worse.

    Attributes:
        kind: What.
        value: As measured, in the units of `faces.quality.Quality`.
        threshold: The limit that it misses.
        sentence: For people: what is wrong, the value, the limit, and what to change.
    """

    kind: Literal["dark", "bright", "blurred", "small", "profile", "tilted", "unsure"]
    value: float
    threshold: float
    sentence: str


@dataclass(frozen=True)
class Subject:
    """Somebody to be learned: a photo that is prepared.

    Attributes:
        name: The trigger word.
        photo: [s, s, 3] square picture around the face, at the checkpoint's resolution.
        mask: [s, s] float32 in [0, 1], 1 where the head is.
        identity: [I] identity vector.
        description: What is in the photo but is not the person, one phrase each.
        crop: [112, 112, 3] the face as the recogniser saw it; None where nobody kept it.
        warnings: What is wrong with the photo.
        quality: Of the face in [0, 1]; how much it counts where there are several photos.
        more: The same person's other photos; `identity` is then the mean over all of them, by quality.
    """

    name: str
    photo: Image
    mask: Floats
    identity: Floats
    description: tuple[str, ...] = ()
    crop: Image | None = None
    warnings: tuple[PhotoWarning, ...] = ()
    quality: float = 1.0
    more: tuple[Subject, ...] = ()


FaceChoice = int | Literal["largest"] | None
"""Which face of a photo: its number, counted from the left from 1, the largest, or the only one."""

Radius = Literal["unit", "celebrities", "free"]


@dataclass(frozen=True)
class TrainConfig:
    """How coefficients are learned. Defaults are what the lab found best; `recipes.py` has the paper's.

    Attributes:
        steps: Optimiser steps; more fits the photo more closely and lets more of it leak.
        batch: Noisy views per person and step.
        start: "anywhere" on the sphere (at the centre without one), or where the checkpoint's "encoder" sees the face;
            from there coefficients move as far along each direction as the encoder may err.
        weight_decay: Pulls back to the encoder's answer with every step, in parts of the learning rate.
        optimiser: "matrix" weighs every pair of coefficients, "adam" scales them one by one; a mapper takes Adam.
        learning_rate: Of the optimiser, in the celebrities' mean distance from their centre.
        decay: Lower the learning rate as a cosine to a tenth; else it is constant.
        learn: The "coefficients" directly, or through the paper's face "mapper".
        radius: Of the sphere on which each token's coefficients lie: 1 ("unit", the paper), the celebrities' own
            mean distance ("celebrities"), or none ("free").
        components: How many principal components are used, the strongest first; None is all of them.
        whiten: Learn in units of the celebrities' own spread along each component.
        average: Decay of the exponential average that is stored.
        face_mask: Reduce the weight of the loss outside the head to `background_weight`.
        background_weight: What an error outside the head counts, in [0, 1]; one inside counts 1.
        explain: Put the description into the training prompts, so that its words carry what is not the person.
        templates: Of the training prompts: the paper's "face of NAME person", or "plain" ones.
        views: How many augmented views of the photo are made, once, before the first step.
        zoom: Views are scaled by a factor from 1 - zoom to 1 + zoom.
        flip: Mirror half of the views.
        seed: Of all chance; the same seed learns the same person again.
    """

    steps: int = 100
    batch: int = 4
    start: Literal["anywhere", "encoder"] = "anywhere"
    weight_decay: float = 0.0
    optimiser: Literal["matrix", "adam"] = "matrix"
    learning_rate: float = 5e-2
    decay: bool = True
    learn: Literal["coefficients", "mapper"] = "coefficients"
    radius: Radius = "celebrities"
    components: int | None = None
    whiten: bool = True
    average: float = 0.9
    face_mask: bool = True
    background_weight: float = 0.1
    explain: bool = True
    templates: Literal["person", "plain"] = "plain"
    views: int = 8
    zoom: float = 0.04
    flip: bool = True
    seed: int = 0


@dataclass(frozen=True)
class LowRank:
    """What is added to a linear layer: W x becomes W x + up @ down @ x (arXiv 2106.09685).

    Attributes:
        down: [r, in].
        up: [out, r], scaled already.
    """

    down: Floats
    up: Floats


@dataclass(frozen=True)
class Lora:
    """Low-rank layers for a checkpoint's cross-attention.

    Attributes:
        name: The file's stem, which hosts use: <lora:anna-cb:1>.
        layers: {kohya's name of a linear layer: what is added to it}.
        metadata: Text for the file's header, see `files/lora.py`.
    """

    name: str
    layers: Mapping[str, LowRank]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LoraConfig:
    """How a LoRA is learned, after the words. Defaults are the mildest that the lab tried; more fits the photo alone.

    Attributes:
        steps: Optimiser steps.
        pairs: Noisy views of the photo per step, each with some noise and with its reverse.
        kept: Noisy views per step that are to stay what they are, because they have another name, or none.
        rank: Of the layers.
        learning_rate: Adam's.
        background_weight: Weight of what is to stay what it is outside the head, beside 1 for the head itself.
        keep_weight: Weight of what is to stay what it is in the views that are kept.
    """

    steps: int = 40
    pairs: int = 2
    kept: int = 2
    rank: int = 4
    learning_rate: float = 1e-3
    background_weight: float = 1.0
    keep_weight: float = 1.0


@dataclass(frozen=True)
class StepDone:
    """A training step is done.

    Attributes:
        step: Steps done so far, from 1.
        steps: Steps planned.
        loss: Weighted noise-prediction loss of this step.
        coefficients: [P, T, K] of the P people, as they would be saved now.
        seconds_left: Estimated.
    """

    step: int
    steps: int
    loss: float
    coefficients: Floats = field(repr=False)
    seconds_left: float = 0.0


@dataclass(frozen=True)
class LoraStepDone:
    """A step of a person's LoRA is done.

    Attributes:
        step: Steps done so far, from 1.
        steps: Steps planned.
        loss: Of this step.
        seconds_left: Estimated, for this person.
    """

    step: int
    steps: int
    loss: float
    seconds_left: float = 0.0


@dataclass(frozen=True)
class Embedding:
    """A person as a file: what every host reads, and how it was made.

    Attributes:
        name: The trigger word; the file's stem.
        vectors: {encoder: [T, D]} float32 word vectors; the one encoder of SD1 and SD2 is called "clip_l"/"clip_h".
        metadata: Text for the file's header, see `files/embedding.py`.
    """

    name: str
    vectors: Mapping[str, Floats]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """How well the pictures of a person show that person, measured with the recogniser.

    Attributes:
        likeness: Mean cosine between pictures drawn from the trigger word and the photo.
        impostors: The same for pictures of "a person": what chance gives.
        faces_found: Share of pictures in which a face was found.
        obedience: Share of prompts whose picture shows what was asked for; None where nobody judged.
        impostors_obedience: The same for pictures of "a person".
    """

    likeness: float
    impostors: float
    faces_found: float
    obedience: float | None = None
    impostors_obedience: float | None = None


@dataclass(frozen=True)
class Prepared:
    """The photos were understood; training begins.

    Attributes:
        subjects: The people, with what is said about their photos.
    """

    subjects: tuple[Subject, ...]


@dataclass(frozen=True)
class Saved:
    """Files are written.

    Attributes:
        embeddings: The people, as they stand in the files.
        paths: Their files, in the same order.
        finished: Whether all planned steps were made.
    """

    embeddings: tuple[Embedding, ...]
    paths: tuple[Path, ...]
    finished: bool


@dataclass(frozen=True)
class LoraSaved:
    """LoRA files are written.

    Attributes:
        loras: Of the people, in their order, as they stand in the files.
        paths: Their files.
        finished: Whether everybody has one.
    """

    loras: tuple[Lora, ...]
    paths: tuple[Path, ...]
    finished: bool


Event = Prepared | StepDone | Saved
LoraEvent = LoraStepDone | LoraSaved


@dataclass(frozen=True)
class Drawn:
    """Some pictures of a gallery were drawn, looked at and stored.

    Attributes:
        shots: The new ones.
        done: Pictures that are there, from earlier runs too.
        total: Pictures planned.
        seconds_left: Estimated.
    """

    shots: tuple[Shot, ...]
    done: int
    total: int
    seconds_left: float = 0.0


@dataclass(frozen=True)
class Gathered:
    """The drawing of a gallery ended.

    Attributes:
        gallery: All that is there.
        folder: Where it is stored.
        finished: Whether all planned pictures are there.
    """

    gallery: Gallery
    folder: Path
    finished: bool


@dataclass(frozen=True)
class Encoder:
    """Faces to coefficients without training, for one checkpoint and one recogniser; see `encoder.py`.

    I is the length of an identity vector, T x K the basis' shape.

    Attributes:
        weight: [I, T * K] of the linear part.
        bias: [T * K].
        network: Weight and bias of each layer of a small network, whose answer is added; empty where ridge is better.
        radius: [T] of the celebrities' sphere.
        spread: [T * K, T * K] a root of the covariance of its errors on held-out names: where it may be wrong.
        decoder: [T * K + 1, I] the identity vector to be expected of coefficients; the last row is its bias.
        sureness: [2] expected likeness = sureness @ (1, agreement).
        doubt: Standard deviation of the likeness that was measured, about the one expected.
        basis: Fingerprint of the celeb basis.
        checkpoint: Whose pictures were learned from: its sha256, or its name where that is unknown.
        faces: Name of the face models.
        facts: How it was made, as text for the file's header.
    """

    weight: Floats
    bias: Floats
    network: tuple[tuple[Floats, Floats], ...]
    radius: Floats
    spread: Floats
    decoder: Floats
    sureness: Floats
    doubt: float
    basis: str
    checkpoint: str
    faces: str
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Understood:
    """A face, or several of the same person, as coefficients.

    Attributes:
        coefficients: [T, K] on the celebrities' sphere.
        expected_likeness: What the recogniser is expected to say of pictures and photo, a cosine, before any is drawn;
            nan where the encoder was never checked.
        doubt: Its standard deviation.
    """

    coefficients: Floats
    expected_likeness: float
    doubt: float
