"""The describer for real photos: CLIP chooses from a list of phrases what is seen beside the person.

The list is data (`data/vocabulary.json`): groups such as background, clothes or glasses, of each of which at most
one phrase is said. No phrase is about the person, because what the words carry the two vectors do not learn.
open_clip is an optional package; nothing is ever downloaded from here.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from celebbasis_ext.errors import InvalidSettings, MissingModel, MissingPackage
from celebbasis_ext.types import Face, Floats, Image

SHIPPED_VOCABULARY = Path(__file__).parent / "data" / "vocabulary.json"

LOGIT_SCALE = 100.0
"""CLIP's inverse temperature: cosines are multiplied by it before the softmax."""

MOST = 9
"""Phrases said of one photo. So many fit, with template and trigger word, into the 75 tokens of a prompt's chunk."""

HEAD_MARGIN = 0.6
"""The head is looked at in the face's box, widened on each side by this share of its longer side."""

PREFERRED = ("datacomp_xl", "laion2b", "openai")
"""Which weights are taken where several are in the cache: how their tags at open_clip begin, the best first."""

WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TEXTS_AT_ONCE = 64


@dataclass(frozen=True)
class Group:
    """Phrases of which at most one is said.

    Attributes:
        name: For people to read.
        where: Whether the whole "photo" is looked at, or only the "head".
        phrases: As they stand in a prompt.
        nothing: What is true where none of the phrases is; never said. Empty where one of the phrases is always true.
        threshold: The best phrase is said if its softmax probability within the group is at least this.
    """

    name: str
    where: Literal["photo", "head"]
    phrases: tuple[str, ...]
    nothing: tuple[str, ...]
    threshold: float

    @property
    def candidates(self) -> tuple[str, ...]:
        """All texts that compete, in the order of the scores."""
        return (*self.phrases, *self.nothing)


@dataclass(frozen=True)
class Vocabulary:
    """All that can be said.

    Attributes:
        templates: Sentences around a phrase, "{}"; CLIP's features are averaged over them.
        groups: In the order in which their phrases are said.
    """

    templates: tuple[str, ...]
    groups: tuple[Group, ...]


class ClipModel(Protocol):
    """Puts pictures and sentences into one space; vectors of any length."""

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """n times [h, w, 3] uint8 RGB of any size -> [n, d]."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """m sentences -> [m, d]."""
        ...


class OpenClipDescriber:
    """`describe.Describer` for real photos, zero-shot with a model of open_clip.

    Args:
        model: open_clip's name of the architecture. Weights trained with QuickGELU, OpenAI's among them, need the
            name that says so ("ViT-B-32-quickgelu") if they are given as a file.
        weights: A file, or open_clip's tag of weights in its cache; None takes the best weights in the cache.
        vocabulary: None for the shipped one.
        device: Where torch computes.
        clip: Instead of open_clip's model, for tests and other packages; the weights are not looked at then.

    Attributes:
        name: "open_clip:", the model's and the weights' name.

    Raises:
        MissingPackage: open_clip is not installed, or cannot be imported.
        MissingModel: The weights are not on this computer, or cannot be used.
        InvalidSettings: open_clip does not know the model, or it cannot be used without downloading more.
    """

    def __init__(
        self,
        model: str = "ViT-B-32",
        weights: Path | str | None = None,
        vocabulary: Vocabulary | None = None,
        device: Any = "cpu",
        *,
        clip: ClipModel | None = None,
    ) -> None:
        self.vocabulary = vocabulary or load_vocabulary()
        self.name = f"open_clip:{model}"
        if clip is None:
            package = _open_clip()
            found = find_weights(package, model, weights)
            self.name += f":{found.name}"
            clip = _OpenClip(package, model, found, device)
        self._clip = clip

    def describe(self, image: Image, face: Face) -> tuple[str, ...]:
        """One short phrase for each thing seen; see `Describer.describe`."""
        return choose_phrases(self.scores(image, face), self.vocabulary)

    def scores(self, image: Image, face: Face) -> dict[str, Floats]:
        """How well each phrase fits.

        Args:
            image: [h, w, 3] uint8, RGB.
            face: Where the head is.

        Returns:
            {group: [candidates]} cosines.
        """
        photo, head = _unit(self._clip.encode_images([image, around_head(image, face)]))
        seen = {"photo": photo, "head": head}
        return {group.name: self._texts[group.name] @ seen[group.where] for group in self.vocabulary.groups}

    @cached_property
    def _texts(self) -> dict[str, Floats]:
        """{group: [candidates, d]} of length 1: the mean over the templates."""
        templates, groups = self.vocabulary.templates, self.vocabulary.groups
        sentences = [t.format(text) for group in groups for text in group.candidates for t in templates]
        each = _unit(self._clip.encode_texts(sentences))
        means = _unit(each.reshape(-1, len(templates), each.shape[-1]).mean(1))
        ends = np.cumsum([len(group.candidates) for group in groups])[:-1]
        return {group.name: rows for group, rows in zip(groups, np.split(means, ends), strict=True)}


def choose_phrases(
    scores: Mapping[str, npt.ArrayLike], vocabulary: Vocabulary, logit_scale: float = LOGIT_SCALE, most: int = MOST
) -> tuple[str, ...]:
    """What is said: of each group the best phrase, if it is sure enough and not the group's "nothing".

    Args:
        scores: {group: [candidates]} cosines between the photo and `Group.candidates`.
        vocabulary: The groups.
        logit_scale: Inverse temperature of the softmax.
        most: Where more phrases than this are sure enough, the surest are said.

    Returns:
        Phrases in the order of the groups.
    """
    sure = []
    for group in vocabulary.groups:
        chances = _softmax(logit_scale * np.asarray(scores[group.name], np.float64))
        best = int(np.argmax(chances))
        if group.candidates[best] not in group.nothing and chances[best] >= group.threshold:
            sure.append((float(chances[best]), group.candidates[best]))
    kept = sorted(sure, key=lambda choice: -choice[0])[:most]
    return tuple(phrase for chance, phrase in sure if (chance, phrase) in kept)


def around_head(image: Image, face: Face) -> Image:
    """The part of a photo in which the head is: the face's box with a margin.

    Args:
        image: [h, w, 3].
        face: Its box may reach out of the photo.

    Returns:
        [h', w', 3]; the whole photo where the box has nothing in common with it.
    """
    left, top, right, bottom = (float(edge) for edge in face.box)
    margin = HEAD_MARGIN * max(right - left, bottom - top)
    height, width = image.shape[:2]
    x0, x1 = (round(min(max(edge, 0), width)) for edge in (left - margin, right + margin))
    y0, y1 = (round(min(max(edge, 0), height)) for edge in (top - margin, bottom + margin))
    return image[y0:y1, x0:x1] if x1 > x0 and y1 > y0 else image


def load_vocabulary(path: Path = SHIPPED_VOCABULARY) -> Vocabulary:
    """Read a vocabulary.

    Raises:
        InvalidSettings: The file is missing, or is no vocabulary.
    """
    try:
        data = json.loads(path.read_text("utf-8"))
        groups = tuple(_group(entry) for entry in data["groups"])
        vocabulary = Vocabulary(tuple(data["templates"]), groups)
        _expect(all("{}" in template for template in vocabulary.templates), 'every template must contain "{}"')
        _expect(bool(groups and vocabulary.templates), "there must be a template and a group")
        _expect(len({group.name for group in groups}) == len(groups), "two groups have the same name")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
        raise InvalidSettings(
            f"{path.name} cannot be used as vocabulary: {reason}", "Compare it with the vocabulary that is shipped."
        ) from error
    return vocabulary


def _group(entry: Mapping[str, Any]) -> Group:
    """Check one group of the file; "optional" says in it whether "nothing" is expected."""
    nothing = tuple(entry.get("nothing", ()))
    threshold = float(entry.get("threshold", 0.5 if entry["optional"] else 0.3))
    group = Group(entry["name"], entry.get("where", "photo"), tuple(entry["phrases"]), nothing, threshold)
    _expect(bool(nothing) == entry["optional"], f'{group.name}: "nothing" stands in optional groups, and only there')
    _expect(group.where in ("photo", "head"), f'{group.name}: "where" must be "photo" or "head"')
    _expect(0 <= threshold <= 1, f"{group.name}: the threshold must be between 0 and 1")
    _expect(bool(group.phrases), f"{group.name}: there are no phrases")
    _expect(len({*group.candidates}) == len(group.candidates), f"{group.name}: a phrase stands there twice")
    return group


def _expect(true: bool, reason: str) -> None:
    if not true:
        raise ValueError(reason)


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[n] -> [n], sums to 1."""
    weights = np.exp(logits - logits.max())
    return np.asarray(weights / weights.sum())


def _unit(rows: Floats) -> Floats:
    """[n, d] -> [n, d], rows of length 1."""
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Weights:
    """Weights that are on this computer.

    Attributes:
        name: The tag, or the file's stem.
        path: The file.
        known: What open_clip says about them: quick_gelu, mean, std ...; empty for a file.
    """

    name: str
    path: Path
    known: Mapping[str, Any]


def find_weights(package: Any, model: str, weights: Path | str | None = None) -> Weights:
    """The weights' file, as given or from the cache.

    Args:
        package: open_clip.
        model: The architecture.
        weights: As `OpenClipDescriber` gets them.

    Raises:
        MissingModel: There is no such file.
    """
    tags = sorted(package.list_pretrained_tags_by_model(model), key=_preference)
    if weights is not None and str(weights) not in tags:
        return _given(Path(weights).expanduser())
    wanted = [tag for tag in tags if weights is None or str(weights) == tag]
    for tag in wanted:
        known = package.get_pretrained_cfg(model, tag)
        for path in _cached(known):
            return Weights(tag, path, known)
    raise _not_cached(model, package.get_pretrained_cfg(model, wanted[0]) if wanted else {})


def _preference(tag: str) -> int:
    return next((rank for rank, start in enumerate(PREFERRED) if tag.startswith(start)), len(PREFERRED))


def _given(path: Path) -> Weights:
    if not path.is_file():
        raise MissingModel(
            f"The CLIP weights {path.name} are not in the folder {path.parent}.",
            "Put the file there, or choose another file in the settings.",
        )
    return Weights(path.stem, path.resolve(), {})


def _cached(known: Mapping[str, Any]) -> Iterator[Path]:
    """Files of these weights in the caches of open_clip: Hugging Face's hub, and its own from the time before.

    OpenAI's own files, which other programs leave there, are TorchScript that open_clip no longer reads.
    """
    if known.get("hf_hub"):
        repository, _, file = known["hf_hub"].rpartition("/")
        snapshots = _hub() / f"models--{repository.replace('/', '--')}" / "snapshots"
        for name in [file] if file else WEIGHT_FILES:
            yield from sorted(path for path in snapshots.glob(f"*/{name}") if path.is_file())
    if known.get("url") and "openaipublic" not in known["url"]:
        old = Path.home() / ".cache" / "clip" / known["url"].rpartition("/")[2]
        if old.is_file():
            yield old


def _hub() -> Path:
    """Where huggingface_hub keeps what it has downloaded."""
    if chosen := os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(chosen).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HF_HOME") or Path(cache) / "huggingface").expanduser() / "hub"


def _not_cached(model: str, known: Mapping[str, Any]) -> MissingModel:
    """The error that names the file, where it goes, and its licence."""
    repository, _, file = known.get("hf_hub", "").rpartition("/")
    if not repository:
        return MissingModel(
            f"There are no weights of the CLIP model {model} in the folder {_hub()}.",
            "Name a file with its weights in the settings.",
        )
    licence = "MIT; the page asks to read it as a research output" if repository.startswith("laion/") else "on the page"
    return MissingModel(
        f"The weights of the CLIP model {model} are not on this computer: {file or WEIGHT_FILES[0]} of {repository} is "
        f"not in the folder {_hub()}.",
        f"Download the file from https://huggingface.co/{repository} (licence: {licence}), put it into any folder, and "
        "name it in the settings.",
    )


def _open_clip() -> Any:
    """The package.

    Raises:
        MissingPackage: It is not installed, or cannot be imported. A torchvision that was built for another torch
            is no ImportError but a RuntimeError.
    """
    try:
        return importlib.import_module("open_clip")
    except (ImportError, RuntimeError, OSError) as error:
        raise MissingPackage(
            f"The package open_clip cannot be imported: {error}",
            'Install it with: pip install "celebbasis[clip]", or say yourself what is in the photo.',
        ) from error


class _OpenClip:
    """`ClipModel` of open_clip.

    Args:
        package: open_clip.
        model: The architecture.
        weights: On this computer.
        device: Where torch computes.
    """

    def __init__(self, package: Any, model: str, weights: Weights, device: Any) -> None:
        _check(package, model)
        self._device = device
        self._tokenize = package.get_tokenizer(model)
        network, self._preprocess = _load(package, model, weights)
        self._network = network.eval().to(device)

    def encode_images(self, images: Sequence[Image]) -> Floats:
        """See `ClipModel.encode_images`."""
        import torch
        from PIL import Image as Pictures

        pictures = torch.stack([self._preprocess(Pictures.fromarray(np.ascontiguousarray(i))) for i in images])
        with torch.no_grad():
            return _array(self._network.encode_image(pictures.to(self._device)))

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        """See `ClipModel.encode_texts`."""
        import torch

        with torch.no_grad():
            parts = [
                _array(self._network.encode_text(self._tokenize(list(texts[i : i + TEXTS_AT_ONCE])).to(self._device)))
                for i in range(0, len(texts), TEXTS_AT_ONCE)
            ]
        return np.concatenate(parts)


def _array(features: Any) -> Floats:
    return np.asarray(features.float().cpu().numpy(), np.float32)


def _check(package: Any, model: str) -> None:
    """Only architectures that need no more than open_clip itself and one file; others would download the rest.

    Raises:
        InvalidSettings: It is none of those.
    """
    hint = "Choose another CLIP model in the settings, such as ViT-B-32."
    if model not in package.list_models():
        raise InvalidSettings(f"open_clip knows no model {model}.", hint)
    text = package.get_model_config(model)["text_cfg"]
    if text.get("hf_tokenizer_name") or text.get("hf_model_name") or "siglip" in model.lower():
        raise InvalidSettings(f"The CLIP model {model} needs a tokenizer that open_clip does not contain.", hint)


def _load(package: Any, model: str, weights: Weights) -> tuple[Any, Any]:
    """The network, on the processor, and what makes its input of a picture.

    Raises:
        MissingModel: The file is damaged, or belongs to another architecture.
    """
    arguments = {"image_mean": "mean", "image_std": "std", "force_quick_gelu": "quick_gelu"}
    known = {name: weights.known[key] for name, key in arguments.items() if weights.known.get(key) is not None}
    try:
        network, preprocess = package.create_model_from_pretrained(model, pretrained=str(weights.path), **known)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise MissingModel(
            f"{weights.path.name} in the folder {weights.path.parent} cannot be used as CLIP {model}: {lines[0][:200]}",
            "Download the file again, or choose another file or model in the settings.",
        ) from error
    return network, preprocess
