"""Our files in other people's hands: one row for each consumer and family.

Each program's reading rule is stated anew from its public source; diffusers reads with its own loader.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
from celebbasis_ext.files.embedding import pack_metadata, save_embedding
from celebbasis_ext.types import Embedding, Floats

NAME = "anna-cb"
WIDTHS = {"sd1": {"clip_l": 768}, "sd2": {"clip_h": 1024}, "sdxl": {"clip_l": 768, "clip_g": 1280}}
CHECKPOINT = {"name": "some-model", "sha256": "ab" * 32, "family": "sd1"}
# What a program finds in a file: {width of the text encoder: [T, D]}.
Found = dict[int, torch.Tensor]


def vectors(family: str) -> dict[str, Floats]:
    rng = np.random.default_rng(len(family))
    return {encoder: rng.standard_normal((2, w)).astype(np.float32) for encoder, w in WIDTHS[family].items()}


@pytest.fixture(params=list(WIDTHS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def saved(family: str, tmp_path: Path) -> Path:
    header = pack_metadata(np.zeros((2, 3), np.float32), checkpoint=CHECKPOINT, steps=100)
    return save_embedding(Embedding(NAME, vectors(family), header), tmp_path, also_pt=True)


def expect(found: Found, family: str) -> None:
    expected = {v.shape[-1]: v for v in vectors(family).values()}
    assert found.keys() == expected.keys()
    for width, value in found.items():
        assert np.array_equal(value.numpy(), expected[width])


def a1111(data: dict[str, Any]) -> Found:
    """textual_inversion.create_embedding_from_data of v1.9.4; Forge and reForge have the same."""
    if "string_to_param" in data:
        parameters = data["string_to_param"]
        assert len(parameters) == 1
        (tensor,) = parameters.values()
        return {tensor.shape[-1]: tensor.detach()}
    if "clip_g" in data and "clip_l" in data:
        tensors = {key: value.detach() for key, value in data.items()}  # fails on anything but tensors
        assert len(tensors) == 2
        return {tensor.shape[-1]: tensor for tensor in tensors.values()}
    assert len(data) == 1 and isinstance(next(iter(data.values())), torch.Tensor)
    (tensor,) = data.values()
    tensor = tensor.unsqueeze(0) if tensor.ndim == 1 else tensor
    return {tensor.shape[-1]: tensor}


def comfyui(data: dict[str, Any], width: int, key: str) -> Found:
    """sd1_clip.load_embed: once for each text encoder, by its key, else the first value; other widths are ignored."""
    if "string_to_param" in data:
        tensor = next(iter(data["string_to_param"].values()))
    else:
        tensor = data[key] if key in data else next(iter(data.values()))
    return {width: tensor} if tensor.shape[-1] == width else {}


def comfyui_model(data: dict[str, Any], family: str) -> Found:
    keys = {"sd1": {768: "clip_l"}, "sd2": {1024: "clip_l"}, "sdxl": {768: "clip_l", 1280: "clip_g"}}[family]
    return {w: t for width, key in keys.items() for w, t in comfyui(data, width, key).items()}


def invokeai(data: dict[str, Any], family: str) -> Found:
    """configs/textual_inversion.py says which base a file is for, backend/textual_inversion.py reads it."""
    if "string_to_token" in data:
        width = next(iter(data["string_to_param"].values())).shape[-1]
    elif "emb_params" in data:
        width = data["emb_params"].shape[-1]
    elif "clip_g" in data:
        width = data["clip_g"].shape[-1]
    else:
        width = next(iter(data.values())).shape[0]
    assert {768: "sd1", 1024: "sd2", 1280: "sdxl"}[width] == family
    if "string_to_param" in data:
        tensors = [next(iter(data["string_to_param"].values()))]
    elif "emb_params" in data:
        tensors = [data["emb_params"]]
    else:
        tensors = [data["clip_g"], data["clip_l"]]
    return {tensor.shape[-1]: tensor for tensor in tensors}


def sdnext(path: Path, family: str) -> Found:
    """textual_inversion.open_embeddings and insert_vectors: every tensor goes to the encoder of its width."""
    if path.suffix == ".safetensors":
        with safe_open(path, framework="pt") as file:
            tensors = [file.get_tensor(key) for key in file.keys()]  # noqa: SIM118
    else:
        tensors = [torch.load(path, weights_only=True)["string_to_param"]["*"]]
    sizes = list(WIDTHS[family].values())
    assert len(tensors) <= len(sizes)
    return {sizes[sizes.index(tensor.shape[-1])]: torch.stack(list(tensor.unbind())) for tensor in tensors}


def stable_diffusion_cpp(path: Path, family: str) -> Found:
    """load_embedding: any tensor whose innermost size is an encoder's; rows missing in one encoder become zeros.

    Names are compared in lower case, so that two files differing in case are one.
    """
    assert path.stem == path.stem.lower()
    found = {t.shape[-1]: t for t in load_file(path).values() if t.shape[-1] in WIDTHS[family].values() and t.ndim <= 2}
    assert len({len(t) for t in found.values()}) == 1
    return found


READERS: Mapping[str, Callable[[Path, str], Found]] = {
    "A1111, Forge, reForge": lambda path, family: a1111(load_file(path)),
    "ComfyUI": lambda path, family: comfyui_model(load_file(path), family),
    "InvokeAI": lambda path, family: invokeai(load_file(path), family),
    "SD.Next": sdnext,
    "stable-diffusion.cpp": stable_diffusion_cpp,
}


@pytest.mark.parametrize("consumer", READERS)
def test_a_consumer_finds_the_vectors(consumer: str, family: str, saved: Path) -> None:
    expect(READERS[consumer](saved, family), family)


OLD_READERS: Mapping[str, Callable[[Path, str], Found]] = {
    "A1111 up to 1.9": lambda path, family: a1111(torch.load(path, weights_only=True)),
    "ComfyUI": lambda path, family: comfyui_model(torch.load(path, weights_only=True), family),
    "InvokeAI": lambda path, family: invokeai(torch.load(path, weights_only=True), family),
    "SD.Next": sdnext,
}


@pytest.mark.parametrize("consumer", OLD_READERS)
def test_a_consumer_finds_the_vectors_in_the_old_format(consumer: str, family: str, saved: Path) -> None:
    if (consumer, family) == ("SD.Next", "sdxl"):
        pytest.skip("SD.Next reads no .pt of SDXL, whoever wrote it")
    expect(OLD_READERS[consumer](saved.with_suffix(".pt"), family), family)


class OldWebUICheck(pickle.Unpickler):
    """The names that modules/safe.py of v1.9.4 lets pass; storages are not read."""

    allowed = re.compile(
        r"collections\.OrderedDict|torch\._utils\._rebuild_(tensor_v2|parameter|device_tensor_from_numpy)"
        r"|torch\.(Float|Half|Int|Long|Double|Byte|BFloat16)Storage|torch\.float32"
    )

    def find_class(self, module: str, name: str) -> Any:
        assert self.allowed.fullmatch(f"{module}.{name}"), f"{module}/{name} is forbidden"
        return super().find_class(module, name)

    def persistent_load(self, saved_id: Any) -> Any:
        assert saved_id[0] == "storage"
        return torch.storage.TypedStorage(_internal=True)


def old_webui_check(path: Path) -> None:
    """The file check before v1.9.4 loads anything: only known names in a zip, five pickles in anything else."""
    if zipfile.is_zipfile(path):
        for name in zipfile.ZipFile(path).namelist():
            assert re.match(r"^([^/]+)/((data/\d+)|version|(data\.pkl))$", name), f"bad file inside: {name}"
        return
    with path.open("rb") as file:
        unpickler = OldWebUICheck(file)
        for _ in range(5):
            unpickler.load()


def test_the_old_format_passes_the_old_webuis_check(saved: Path) -> None:
    old_webui_check(saved.with_suffix(".pt"))


def test_the_check_refuses_what_torch_writes_today(tmp_path: Path) -> None:
    """Else the test before this one would prove nothing."""
    torch.save({"string_to_param": {"*": torch.zeros(2, 768)}}, tmp_path / "today.pt")
    with pytest.raises(AssertionError, match="bad file inside"):
        old_webui_check(tmp_path / "today.pt")


def test_the_old_format_says_where_it_comes_from(saved: Path, family: str) -> None:
    data = torch.load(saved.with_suffix(".pt"), weights_only=True)
    if family == "sdxl":
        assert set(data) == {"clip_l", "clip_g"}, "A1111 calls detach() on every entry"
    else:
        assert (data["name"], data["step"], data["sd_checkpoint"]) == (NAME, 100, "ab" * 5)
        assert data["sd_checkpoint_name"] == "some-model"


def text_encoder(width: int, projected: bool = False) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=16, num_hidden_layers=1, num_attention_heads=8
    )
    with torch.device("meta"):
        model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)
    return model.to_empty(device="cpu").to(torch.float32)  # fast: what is in the weights does not matter here


def rows_of(tokenizer: Any, encoder: Any) -> np.ndarray:
    """[2, D] what the trigger word has become in a text encoder."""
    ids = tokenizer.convert_tokens_to_ids([NAME, f"{NAME}_1"])
    assert min(ids) >= 49408, "new tokens"
    return np.asarray(encoder.get_input_embeddings().weight.data[ids])


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize(("one_encoder", "width"), [("sd1", 768), ("sd2", 1024)])
def test_diffusers_own_loader(one_encoder: str, width: int, suffix: str, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    path = save_embedding(Embedding(NAME, vectors(one_encoder)), tmp_path, also_pt=True).with_suffix(suffix)
    pipeline = StableDiffusionPipeline(
        vae=None, text_encoder=text_encoder(width), tokenizer=clip_tokenizer(), unet=None, scheduler=None,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.load_textual_inversion(str(path), token=NAME, local_files_only=True)
    (expected,) = vectors(one_encoder).values()
    assert np.array_equal(rows_of(pipeline.tokenizer, pipeline.text_encoder), expected)
    assert pipeline.maybe_convert_prompt(f"a photo of {NAME}, smiling", pipeline.tokenizer).split() == [
        "a", "photo", "of", NAME, f"{NAME}_1,", "smiling",
    ]  # fmt: skip


def test_diffusers_own_loader_for_two_text_encoders(tmp_path: Path) -> None:
    """By hand, one text encoder each: that is how diffusers documents it for SDXL."""
    from diffusers import StableDiffusionXLPipeline

    path = save_embedding(Embedding(NAME, vectors("sdxl")), tmp_path)
    pipeline = StableDiffusionXLPipeline(
        vae=None, text_encoder=text_encoder(768), text_encoder_2=text_encoder(1280, projected=True),
        tokenizer=clip_tokenizer(), tokenizer_2=clip_tokenizer(), unet=None, scheduler=None,
    )  # fmt: skip
    tensors = load_file(path)
    parts = {
        "clip_l": (pipeline.tokenizer, pipeline.text_encoder),
        "clip_g": (pipeline.tokenizer_2, pipeline.text_encoder_2),
    }
    for key, (tokenizer, encoder) in parts.items():
        pipeline.load_textual_inversion(tensors[key], token=NAME, text_encoder=encoder, tokenizer=tokenizer)
    for key, (tokenizer, encoder) in parts.items():
        assert np.array_equal(rows_of(tokenizer, encoder), vectors("sdxl")[key])
