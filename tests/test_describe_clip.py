"""The right phrase of each group, silence where nothing is seen, and never a word about the person."""

from __future__ import annotations

import builtins
import importlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from celebbasis_ext.describe import Describer
from celebbasis_ext.describe_clip import (
    MOST,
    Group,
    OpenClipDescriber,
    Vocabulary,
    around_head,
    choose_phrases,
    find_weights,
    load_vocabulary,
)
from celebbasis_ext.errors import InvalidSettings, MissingModel, MissingPackage
from celebbasis_ext.types import Face, Floats, Image

GLASSES = Group("glasses", "head", ("wearing glasses", "wearing sunglasses"), ("a face without glasses",), 0.5)
BACKGROUND = Group("background", "photo", ("red background", "in a park", "on a beach"), (), 0.3)
EXPRESSION = Group("expression", "head", ("smiling", "frowning"), (), 0.3)
SMALL = Vocabulary(("a photo of a person, {}", "{}"), (GLASSES, BACKGROUND, EXPRESSION))

FACE = Face(np.array([30, 20, 50, 40], np.float32), np.zeros((5, 2), np.float32), 1.0)
REPOSITORY = "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K"


def square() -> Image:
    """Dark, with a bright face: a crop around the face is brighter than the photo."""
    image = np.full((80, 80, 3), 40, np.uint8)
    image[20:40, 30:50] = 240
    return image


class ScriptedClip:
    """Every phrase is a direction of its own; a picture has the cosine with it that the script says, else 0.2."""

    def __init__(self, photo: Mapping[str, float], head: Mapping[str, float] | None = None) -> None:
        self.photo, self.head = photo, photo if head is None else head
        self.phrases: list[str] = []
        self.texts_asked: list[list[str]] = []

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        self.texts_asked.append(list(texts))
        ends = [text.rpartition(", ")[2] for text in texts]
        self.phrases = list(dict.fromkeys(ends))
        rows = np.eye(len(self.phrases) + 1, dtype=np.float32)
        # Longer than 1, as CLIP's own features are.
        return np.stack([7 * rows[self.phrases.index(end)] for end in ends])

    def encode_images(self, images: Sequence[Image]) -> Floats:
        assert all(image.dtype == np.uint8 and image.shape[-1] == 3 for image in images)
        if not self.phrases:
            self.encode_texts([text for group in SMALL.groups for text in group.candidates])
            self.texts_asked.clear()
        brightest = max(image.mean() for image in images)
        return np.stack([self.row(self.head if image.mean() == brightest else self.photo) for image in images])

    def row(self, script: Mapping[str, float]) -> Floats:
        cosines = np.array([script.get(phrase, 0.2) for phrase in self.phrases])
        rest = np.sqrt(1 - (cosines**2).sum())
        return np.asarray(5 * np.append(cosines, rest), np.float32)


def describe(photo: Mapping[str, float], head: Mapping[str, float] | None = None) -> tuple[str, ...]:
    return OpenClipDescriber(vocabulary=SMALL, clip=ScriptedClip(photo, head)).describe(square(), FACE)


def test_of_each_group_the_phrase_that_fits_best_is_said() -> None:
    seen = {"wearing sunglasses": 0.3, "in a park": 0.31, "smiling": 0.28}
    assert describe(seen) == ("wearing sunglasses", "in a park", "smiling")


def test_a_negative_that_wins_says_nothing() -> None:
    seen = {"wearing glasses": 0.27, "a face without glasses": 0.3, "on a beach": 0.3, "frowning": 0.3}
    assert describe(seen) == ("on a beach", "frowning")


def test_head_groups_look_at_the_head_and_the_others_at_the_photo() -> None:
    photo = {"in a park": 0.3, "wearing sunglasses": 0.3, "frowning": 0.3}
    head = {"red background": 0.3, "wearing glasses": 0.3, "smiling": 0.3}
    assert describe(photo, head) == ("wearing glasses", "in a park", "smiling")


def test_the_texts_are_encoded_once_and_in_all_templates() -> None:
    clip = ScriptedClip({"smiling": 0.3})
    describer = OpenClipDescriber(vocabulary=SMALL, clip=clip)
    first = describer.describe(square(), FACE)
    assert describer.describe(square(), FACE) == first
    (texts,) = clip.texts_asked
    assert len(texts) == 2 * sum(len(group.candidates) for group in SMALL.groups)
    assert "a photo of a person, wearing glasses" in texts
    assert "wearing glasses" in texts


def test_scores_are_cosines_whatever_the_length_of_the_features() -> None:
    describer = OpenClipDescriber(vocabulary=SMALL, clip=ScriptedClip({"red background": 0.33}))
    scores = describer.scores(square(), FACE)
    np.testing.assert_allclose(scores["background"], [0.33, 0.2, 0.2], atol=1e-6)
    np.testing.assert_allclose(scores["glasses"], [0.2, 0.2, 0.2], atol=1e-6)


class TwoOpinions:
    """The two templates of a phrase point in directions at right angles, one of them three times as long."""

    def encode_texts(self, texts: Sequence[str]) -> Floats:
        return np.array([[1, 0, 0] if ", " in text else [0, 3, 0] for text in texts], np.float32)

    def encode_images(self, images: Sequence[Image]) -> Floats:
        return np.array([[0, 1, 0]] * len(images), np.float32)


def test_every_template_counts_the_same() -> None:
    scores = OpenClipDescriber(vocabulary=SMALL, clip=TwoOpinions()).scores(square(), FACE)
    np.testing.assert_allclose(scores["expression"], [0.5**0.5] * 2, atol=1e-6)


def test_it_is_a_describer_with_a_name_for_the_file() -> None:
    describer: Describer = OpenClipDescriber(vocabulary=SMALL, clip=ScriptedClip({}))
    assert describer.name == "open_clip:ViT-B-32"


def scores_with(chances: Mapping[str, Sequence[float]]) -> dict[str, Floats]:
    """Cosines that have these probabilities at CLIP's temperature."""
    return {name: np.asarray(np.log(values) / 100, np.float32) for name, values in chances.items()}


@pytest.mark.parametrize(("best", "said"), [(0.49, False), (0.51, True)])
def test_an_optional_group_needs_half_of_the_probability(best: float, said: bool) -> None:
    rest = (1 - best) / 2
    chosen = choose_phrases({"glasses": scores_with({"g": [best, rest, rest]})["g"]}, Vocabulary(("{}",), (GLASSES,)))
    assert chosen == (("wearing glasses",) if said else ())


@pytest.mark.parametrize(("threshold", "said"), [(0.3, True), (0.41, False)])
def test_the_groups_own_threshold_counts(threshold: float, said: bool) -> None:
    group = Group("background", "photo", BACKGROUND.phrases, (), threshold)
    chosen = choose_phrases(scores_with({"background": [0.3, 0.3, 0.4]}), Vocabulary(("{}",), (group,)))
    assert chosen == (("on a beach",) if said else ())


def test_the_temperature_decides_how_sure_a_small_lead_is() -> None:
    lead = {"background": np.array([0.22, 0.2, 0.2])}
    only = Vocabulary(("{}",), (Group("background", "photo", BACKGROUND.phrases, (), 0.7),))
    assert choose_phrases(lead, only) == ("red background",)  # e^2 / (e^2 + 2) = 0.79
    assert choose_phrases(lead, only, logit_scale=10) == ()


def test_scores_of_any_size_do_not_overflow() -> None:
    chosen = choose_phrases({"background": [900.0, -900.0, 0.0]}, Vocabulary(("{}",), (BACKGROUND,)))
    assert chosen == ("red background",)


def test_the_order_is_the_vocabularys_and_not_that_of_the_scores() -> None:
    chances = {"expression": [0.99, 0.01], "background": [0.5, 0.3, 0.2], "glasses": [0.8, 0.1, 0.1]}
    expected = ("wearing glasses", "red background", "smiling")
    assert choose_phrases(scores_with(chances), SMALL) == expected
    assert choose_phrases(scores_with(dict(reversed(chances.items()))), SMALL) == expected


def test_where_too_much_is_seen_the_surest_is_said() -> None:
    chances = {"expression": [0.99, 0.01], "background": [0.5, 0.3, 0.2], "glasses": [0.8, 0.1, 0.1]}
    assert choose_phrases(scores_with(chances), SMALL, most=2) == ("wearing glasses", "smiling")


def test_the_head_is_the_box_with_a_margin_inside_the_photo() -> None:
    image = np.arange(80 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(80, 80, 3)
    np.testing.assert_array_equal(around_head(image, FACE), image[8:52, 18:62])
    corner = Face(np.array([-10, -10, 10, 10], np.float32), FACE.landmarks, 1.0)
    np.testing.assert_array_equal(around_head(image, corner), image[:22, :22])
    outside = Face(np.array([200, 200, 220, 220], np.float32), FACE.landmarks, 1.0)
    assert around_head(image, outside).shape == image.shape


# The shipped vocabulary


SHIPPED = load_vocabulary()

# What makes a person: the two vectors are to learn it, so no word may carry it.
FORBIDDEN = """
man men woman women boy girl lady gentleman guy male female feminine masculine gender mother father husband wife
old older elderly young younger aged age teenage teenager child kid baby adult senior middle-aged years
skin skinned complexion tan tanned pale freckles mole wrinkles wrinkled scar tattoo
asian african european caucasian latino hispanic indian arab ethnic race
hair haired hairstyle hairy blond blonde brunette redhead ginger bald curly wavy ponytail braid braids bangs fringe
beard bearded moustache mustache stubble goatee shaved sideburns whiskers
nose cheeks cheekbones jaw lips eyebrows eyelashes teeth dimples oval round
fat thin slim chubby muscular tall short beautiful handsome attractive pretty ugly celebrity famous
""".split()
# Things that are worn or done, though a word of the list stands in them.
HARMLESS = {"wearing a nose ring"}


def test_no_phrase_says_anything_about_the_person() -> None:
    texts = [text for group in SHIPPED.groups for text in group.candidates if text not in HARMLESS]
    broken = {text: hit for text in texts if (hit := set(re.findall(r"[a-z-]+", text)) & set(FORBIDDEN))}
    assert not broken
    stems = re.compile(r"hair|beard|m[uo]u?stache|skin|blond|freckl|wrinkl|eyed\b|faced\b")
    assert not [text for text in texts if stems.search(text)]


def test_there_is_enough_to_say_and_every_group_is_there() -> None:
    names = [group.name for group in SHIPPED.groups]
    expected = {"background", "clothes", "colour of clothes", "headwear", "glasses", "expression", "light", "pose"}
    assert expected | {"held things", "jewellery", "medium"} <= set(names)
    assert 150 <= sum(len(group.phrases) for group in SHIPPED.groups) <= 200


def test_no_phrase_stands_there_twice_and_all_are_fit_for_a_prompt() -> None:
    phrases = [phrase for group in SHIPPED.groups for phrase in group.phrases]
    assert len(set(phrases)) == len(phrases)
    assert all(re.fullmatch(r"[a-z0-9-]+( [a-z0-9-]+){0,6}", phrase) for phrase in phrases)


def test_what_is_not_always_there_has_a_negative_and_a_stricter_threshold() -> None:
    optional = {group.name for group in SHIPPED.groups if group.nothing}
    assert {"headwear", "glasses", "held things", "jewellery", "company"} <= optional
    assert {group.threshold for group in SHIPPED.groups if group.nothing} == {0.5}
    assert {group.threshold for group in SHIPPED.groups if not group.nothing} == {0.3}


def test_glasses_and_faces_are_looked_for_at_the_head() -> None:
    assert {group.name for group in SHIPPED.groups if group.where == "head"} >= {"glasses", "headwear", "expression"}


@pytest.mark.parametrize("group", SHIPPED.groups, ids=lambda group: group.name)
def test_every_phrase_can_be_said_and_every_negative_keeps_silent(group: Group) -> None:
    alone = Vocabulary(SHIPPED.templates, (group,))
    for place, text in enumerate(group.candidates):
        cosines = np.full(len(group.candidates), 0.2)
        cosines[place] = 0.3
        assert choose_phrases({group.name: cosines}, alone) == (() if text in group.nothing else (text,))


def test_never_more_phrases_than_a_prompt_holds() -> None:
    everything = {group.name: -np.arange(len(group.candidates)) for group in SHIPPED.groups}
    assert len(SHIPPED.groups) > MOST
    assert len(choose_phrases(everything, SHIPPED)) == MOST


GOOD = {"name": "glasses", "optional": True, "phrases": ["wearing glasses"], "nothing": ["a bare face"]}


def write(path: Path, *groups: Mapping[str, Any], templates: Sequence[str] = ("{}",)) -> Path:
    path.write_text(json.dumps({"templates": list(templates), "groups": list(groups)}), "utf-8")
    return path


def test_a_vocabulary_of_ones_own_has_the_default_thresholds(tmp_path: Path) -> None:
    light = {"name": "light", "optional": False, "phrases": ["dim light"]}
    glasses, lights = load_vocabulary(write(tmp_path / "own.json", GOOD, light)).groups
    assert glasses == Group("glasses", "photo", ("wearing glasses",), ("a bare face",), 0.5)
    assert lights == Group("light", "photo", ("dim light",), (), 0.3)


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        ([GOOD | {"nothing": []}], "nothing"),
        ([GOOD | {"optional": False}], "nothing"),
        ([GOOD | {"where": "feet"}], "where"),
        ([GOOD | {"threshold": 1.5}], "threshold"),
        ([GOOD | {"phrases": []}], "no phrases"),
        ([GOOD | {"phrases": ["hat", "hat"]}], "twice"),
        ([GOOD, GOOD], "same name"),
        ([{"name": "glasses", "optional": True}], "'phrases' is missing"),
        ([], "there must be"),
    ],
)
def test_a_broken_vocabulary_says_what_is_wrong(groups: list[Mapping[str, Any]], reason: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=reason):
        load_vocabulary(write(tmp_path / "own.json", *groups))


def test_a_template_without_a_place_and_a_file_that_is_no_json_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match="template"):
        load_vocabulary(write(tmp_path / "own.json", GOOD, templates=["a photo"]))
    (tmp_path / "text.json").write_text("hello", "utf-8")
    with pytest.raises(InvalidSettings, match=r"text\.json"):
        load_vocabulary(tmp_path / "text.json")
    with pytest.raises(InvalidSettings, match=r"none\.json"):
        load_vocabulary(tmp_path / "none.json")


# The package and its weights


class FakeOpenClip:
    """What is used of the package open_clip, without networks."""

    def __init__(self) -> None:
        self.created: list[tuple[str, dict[str, Any]]] = []
        self.known: dict[str, dict[str, Any]] = {
            "openai": {"hf_hub": "timm/vit_base_patch32_clip_224.openai/", "url": "", "quick_gelu": True},
            "laion400m": {"hf_hub": "", "url": "https://example.org/weights/vit_b_32-laion400m.pt"},
            "datacomp_xl_s13b_b90k": {"hf_hub": f"{REPOSITORY}/", "url": "", "mean": (0.5, 0.5, 0.5)},
        }

    def list_models(self) -> list[str]:
        return ["ViT-B-32", "ViT-B-16-SigLIP", "roberta-ViT-B-32"]

    def list_pretrained_tags_by_model(self, model: str) -> list[str]:
        return list(self.known) if model == "ViT-B-32" else []

    def get_pretrained_cfg(self, model: str, tag: str) -> dict[str, Any]:
        return self.known[tag]

    def get_model_config(self, model: str) -> dict[str, Any]:
        return {"text_cfg": {"hf_model_name": "roberta-base"} if "roberta" in model else {}}

    def get_tokenizer(self, model: str) -> Any:
        return lambda texts: texts

    def create_model_from_pretrained(self, model: str, pretrained: str, **settings: Any) -> tuple[Any, Any]:
        self.created.append((pretrained, settings))
        if Path(pretrained).read_bytes() != b"weights":
            raise RuntimeError("Error(s) in loading state_dict\n\tsize mismatch ...")
        network = SimpleNamespace()
        network.eval = lambda: network
        network.to = lambda device: network
        return network, lambda picture: picture


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, so that no cache of this computer is seen."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    return tmp_path


@pytest.fixture
def fake(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeOpenClip:
    package = FakeOpenClip()
    monkeypatch.setitem(sys.modules, "open_clip", package)
    return package


def put(hub: Path, repository: str, name: str = "open_clip_model.safetensors") -> Path:
    path = hub / f"models--{repository.replace('/', '--')}" / "snapshots" / "0123abcd" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    return path


def hub_of(home: Path) -> Path:
    return home / ".cache" / "huggingface" / "hub"


@pytest.mark.parametrize("error", [ImportError("No module named 'open_clip'"), RuntimeError("torchvision::nms")])
def test_a_missing_or_broken_package_says_how_to_install_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str, package: str | None = None) -> Any:
        if name == "open_clip":
            raise error
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingPackage) as caught:
        OpenClipDescriber()
    assert "celebbasis[clip]" in caught.value.hint
    assert str(error) in caught.value.message


def test_missing_weights_name_the_file_the_place_and_the_licence(fake: FakeOpenClip, home: Path) -> None:
    with pytest.raises(MissingModel) as caught:
        OpenClipDescriber()
    assert "open_clip_model.safetensors" in caught.value.message
    assert str(hub_of(home)) in caught.value.message
    assert f"https://huggingface.co/{REPOSITORY}" in caught.value.hint
    assert "MIT" in caught.value.hint
    assert not fake.created


def test_a_missing_file_is_named_and_open_clip_is_not_asked_for_it(fake: FakeOpenClip, tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match=r"mine\.safetensors") as caught:
        OpenClipDescriber(weights=tmp_path / "mine.safetensors")
    assert str(tmp_path) in caught.value.message
    assert not fake.created


def test_a_model_without_known_weights_asks_for_a_file(fake: FakeOpenClip) -> None:
    with pytest.raises(MissingModel, match="roberta-ViT-B-32"):
        OpenClipDescriber("roberta-ViT-B-32")


def test_a_given_file_is_loaded_as_a_path(fake: FakeOpenClip, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    assert OpenClipDescriber(weights=str(path)).name == "open_clip:ViT-B-32:mine"
    assert fake.created == [(str(path.resolve()), {})]


def test_the_best_weights_of_the_cache_are_taken_with_their_settings(fake: FakeOpenClip, home: Path) -> None:
    openai = put(hub_of(home), "timm/vit_base_patch32_clip_224.openai")
    assert OpenClipDescriber().name == "open_clip:ViT-B-32:openai"
    assert fake.created == [(str(openai), {"force_quick_gelu": True})]
    datacomp = put(hub_of(home), REPOSITORY)
    assert OpenClipDescriber().name == "open_clip:ViT-B-32:datacomp_xl_s13b_b90k"
    assert fake.created[1:] == [(str(datacomp), {"image_mean": (0.5, 0.5, 0.5)})]
    assert OpenClipDescriber(weights="openai").name == "open_clip:ViT-B-32:openai"


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")]
)
def test_the_cache_is_where_the_environment_says(
    variable: str, below: str, fake: FakeOpenClip, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, str(home / "elsewhere"))
    path = put(home / "elsewhere" / below, REPOSITORY, "open_clip_pytorch_model.bin")
    assert find_weights(fake, "ViT-B-32").path == path


def test_the_older_cache_is_looked_into_as_well(fake: FakeOpenClip, home: Path) -> None:
    path = home / ".cache" / "clip" / "vit_b_32-laion400m.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    found = find_weights(fake, "ViT-B-32")
    assert (found.name, found.path) == ("laion400m", path)


def test_torchscript_that_other_programs_left_is_not_taken(fake: FakeOpenClip, home: Path) -> None:
    fake.known["openai"]["url"] = "https://openaipublic.azureedge.net/clip/models/40d3/ViT-B-32.pt"
    path = home / ".cache" / "clip" / "ViT-B-32.pt"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"torchscript")
    with pytest.raises(MissingModel):
        find_weights(fake, "ViT-B-32")


def test_a_tag_that_is_not_cached_is_missing_though_others_are_there(fake: FakeOpenClip, home: Path) -> None:
    put(hub_of(home), REPOSITORY)
    with pytest.raises(MissingModel, match=r"timm/vit_base_patch32_clip_224\.openai"):
        find_weights(fake, "ViT-B-32", "openai")


def test_a_damaged_file_says_so(fake: FakeOpenClip, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(MissingModel, match=r"mine\.safetensors .* cannot be used as CLIP ViT-B-32") as caught:
        OpenClipDescriber(weights=path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("model", ["ViT-B-16-SigLIP", "roberta-ViT-B-32", "hf-hub:laion/CLIP", "nonsense"])
def test_models_that_would_download_more_are_refused(model: str, fake: FakeOpenClip, tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"weights")
    with pytest.raises(InvalidSettings, match=model):
        OpenClipDescriber(model, path)
    assert not fake.created


def test_importing_the_describer_loads_neither_open_clip_nor_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    import celebbasis_ext.describe_clip as module

    asked: list[str] = []
    real = builtins.__import__

    def watch(name: str, *rest: Any, **more: Any) -> Any:
        asked.append(name.partition(".")[0])
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", watch)
    exec(compile(Path(str(module.__file__)).read_text("utf-8"), "describe_clip", "exec"), dict(vars(module)))
    assert "numpy" in asked
    assert not {"open_clip", "torch", "torchvision", "PIL"} & set(asked)


# The real package, with a tiny network that was never trained


TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1},
}


@pytest.fixture
def tiny(home: Path) -> Iterator[Path]:
    """A file with the weights of the model "celebbasis-tiny", which open_clip knows meanwhile."""
    try:
        open_clip = importlib.import_module("open_clip")
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"open_clip cannot be imported: {error}")
    import torch
    from safetensors.torch import save_file

    (home / "celebbasis-tiny.json").write_text(json.dumps(TINY), "utf-8")
    open_clip.add_model_config(home / "celebbasis-tiny.json")
    torch.manual_seed(0)
    save_file(open_clip.create_model("celebbasis-tiny").state_dict(), home / "tiny.safetensors")
    yield home / "tiny.safetensors"
    open_clip.factory._MODEL_CONFIGS.pop("celebbasis-tiny")


def test_the_real_open_clip_reads_a_photo_with_local_weights(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def no_net(*_: Any, **__: Any) -> Any:
        raise AssertionError("nothing may be downloaded")

    monkeypatch.setattr(socket, "create_connection", no_net)
    describer = OpenClipDescriber("celebbasis-tiny", tiny)
    assert describer.name == "open_clip:celebbasis-tiny:tiny"
    scores = describer.scores(square(), FACE)
    assert {name: len(values) for name, values in scores.items()} == {
        group.name: len(group.candidates) for group in SHIPPED.groups
    }
    everything = np.concatenate(list(scores.values()))
    assert np.isfinite(everything).all()
    assert np.abs(everything).max() <= 1 + 1e-5
    assert np.ptp(everything) > 1e-3  # sentences differ
    said = describer.describe(square(), FACE)
    assert set(said) <= {phrase for group in SHIPPED.groups for phrase in group.phrases}
    assert OpenClipDescriber("celebbasis-tiny", tiny).describe(square(), FACE) == said
    other = describer.scores(255 - square(), FACE)
    assert any(not np.allclose(scores[name], other[name]) for name in scores)


def test_the_real_open_clip_refuses_weights_of_another_model(tiny: Path) -> None:
    with pytest.raises(MissingModel, match=r"tiny\.safetensors"):
        OpenClipDescriber("RN50", tiny)
    tiny.write_bytes(b"no weights")
    with pytest.raises(MissingModel, match=r"tiny\.safetensors"):
        OpenClipDescriber("celebbasis-tiny", tiny)


def test_the_real_open_clip_has_the_weights_that_are_asked_for(tiny: Path) -> None:
    with pytest.raises(MissingModel, match=REPOSITORY):
        OpenClipDescriber("ViT-B-32")
