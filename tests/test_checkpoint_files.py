"""Which checkpoint is it? Told from keys and shapes; everything that cannot be trained through is named and refused."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from celebbasis_ext.cli import main
from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.checkpoint import recognise, stated_prediction
from celebbasis_ext.files.checkpoint_kinds import FIRST_CONV
from celebbasis_ext.files.checksum import cached_sha256
from celebbasis_ext.files.safetensors_header import Header
from tests.checkpoints import FAMILIES, full_size, named, sparse_file, tiny_configs

V_YAML = 'model:\n  params:\n    parameterization: "v"\n    linear_start: 0.00085\n'
EPSILON_YAML = "model:\n  params:\n    linear_start: 0.00085\n"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16"), (torch.float32, "fp32")]
)
def test_full_size_files_are_recognised_whatever_they_are_called(
    family: str, dtype: torch.dtype, precision: str, tmp_path: Path
) -> None:
    found = recognise(sparse_file(tmp_path / "sd15-sdxl-v2.safetensors", full_size(family), dtype))
    assert (found.family, found.config, found.precision) == (family, family, precision)
    assert found.prediction_type == (None if family == "sd2" else "epsilon")
    assert not found.zero_snr


@pytest.mark.parametrize("family", FAMILIES)
def test_v_prediction_is_told_by_a_tensor_metadata_or_yaml(family: str, tmp_path: Path) -> None:
    state = full_size(family)
    tensor = sparse_file(tmp_path / "a.safetensors", {**state, **named("v_pred", "ztsnr", shape=(0,))})
    assert recognise(tensor).prediction_type == "v_prediction"
    assert recognise(tensor).zero_snr
    metadata = sparse_file(tmp_path / "b.safetensors", state, metadata={"modelspec.prediction_type": "v"})
    assert recognise(metadata).prediction_type == "v_prediction"
    beside = sparse_file(tmp_path / "c.safetensors", state)
    beside.with_suffix(".yaml").write_text(V_YAML)
    assert recognise(beside).prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("metadata", "yaml", "expected"),
    [
        ({"modelspec.predict_key": "epsilon"}, V_YAML, "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "", "v_prediction"),
        ({"modelspec.architecture": "stable-diffusion-v2-512"}, "", "epsilon"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base"}, "", None),
        ({}, EPSILON_YAML, "epsilon"),
        ({}, EPSILON_YAML + "    parameterization: eps\n", "epsilon"),
        ({}, "", None),
    ],
)
def test_what_the_file_says_counts_before_the_yaml(metadata: dict[str, str], yaml: str, expected: str | None) -> None:
    assert stated_prediction(Header({}, {}, metadata), yaml) == expected


def with_channels(channels: int) -> dict[str, Tensor]:
    first = torch.empty(320, channels, 3, 3, device="meta")
    return {**full_size("sd1"), FIRST_CONV: first}


def refiner() -> dict[str, Tensor]:
    kept = {k.replace("embedders.1", "embedders.0"): v for k, v in full_size("sdxl").items() if "embedders.0" not in k}
    return kept


REFUSED = {
    "inpainting": lambda: with_channels(9),
    "instruct-pix2pix": lambda: with_channels(8),
    "depth-to-image": lambda: with_channels(5),
    "upscaler": lambda: with_channels(7),
    "refiner": refiner,
    "Stable Diffusion 3": lambda: named("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"),
    "Flux": lambda: named("double_blocks.0.img_attn.norm.key_norm.scale"),
    "Stable Cascade": lambda: named("clip_txt_mapper.weight"),
    "Playground": lambda: {**full_size("sdxl"), **named("edm_mean")},
    "LoRA": lambda: named("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight"),
    "ControlNet": lambda: named("control_model.input_hint_block.0.weight"),
    "VAE alone": lambda: named("first_stage_model.decoder.conv_in.weight"),
    "text encoder alone": lambda: named("text_model.embeddings.token_embedding.weight"),
    "Textual-Inversion embedding": lambda: named("clip_l", "clip_g"),
    "no Stable Diffusion checkpoint": lambda: named("weight"),
    "without the text encoders": lambda: {k: v for k, v in full_size("sd1").items() if "cond_stage" not in k},
    "outdated layout": lambda: {k.replace("text_model.", ""): v for k, v in full_size("sd1").items()},
    "unknown size": lambda: {
        k: v[..., :640] if k.endswith("token_embedding.weight") else v for k, v in full_size("sd1").items()
    },
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_other_kinds_are_refused_by_their_name(what: str, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "model.safetensors", REFUSED[what]())
    with pytest.raises(UnsupportedCheckpoint, match=what) as caught:
        recognise(path)
    assert caught.value.hint


@pytest.mark.parametrize(("stored", "what"), [("F8_E4M3", "fp8"), ("U8", "nf4"), ("I8", "int8")])
def test_quantised_files_are_refused(stored: str, what: str, tmp_path: Path) -> None:
    key = "model.diffusion_model.middle_block.1.proj_in.weight"
    path = sparse_file(tmp_path / "model.safetensors", full_size("sdxl"), stored={key: stored})
    with pytest.raises(UnsupportedCheckpoint, match=what):
        recognise(path)


def test_gguf_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(UnsupportedCheckpoint, match=r"quantised \(GGUF\)"):
        recognise(path)


@pytest.mark.parametrize("keep", [0, 5, 100, 5000, -1])
def test_a_file_that_is_cut_short_is_refused(keep: int, tmp_path: Path) -> None:
    path = sparse_file(tmp_path / "cut.safetensors", full_size("sd1"))
    size = path.stat().st_size
    with path.open("rb+") as file:
        file.truncate(keep if keep >= 0 else size - 1)
    with pytest.raises(UnsupportedCheckpoint, match="cut") as caught:
        recognise(path)
    assert "again" in caught.value.hint


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"no checkpoint .*gone\.safetensors"):
        recognise(tmp_path / "gone.safetensors")


class Payload:
    """A pickle of it makes a folder when it is read carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_carries_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    proof, path = tmp_path / "it-ran", tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "extra": Payload(proof)}, path)
    torch.load(path, weights_only=False)
    assert proof.exists(), "the payload works, so that the rest of this test means something"
    proof.rmdir()
    with pytest.raises(UnsupportedCheckpoint, match=r"asks for posix\.mkdir|asks for nt\.mkdir") as caught:
        recognise(path)
    assert "safetensors" in caught.value.hint
    assert not proof.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_ckpt_is_recognised_as_a_safetensors_file_is(zipped: bool, tmp_path: Path) -> None:
    state = {k: torch.zeros((), dtype=torch.float16).expand(v.shape) for k, v in full_size("sd1").items()}
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": state, "global_step": 7}, path, _use_new_zipfile_serialization=zipped)
    found = recognise(path)
    assert (found.family, found.prediction_type, found.precision) == ("sd1", "epsilon", "fp16")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnsupportedCheckpoint, match=r"model\.ckpt"):
        recognise(path)


def test_what_trainers_left_in_the_first_public_ckpts_is_read_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "pytorch_lightning.callbacks.model_checkpoint"
    trainer = types.ModuleType(name)
    trainer.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": name})  # type: ignore[attr-defined]
    for parent in ("pytorch_lightning", "pytorch_lightning.callbacks"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, trainer)
    state = {k: torch.zeros((), dtype=torch.float16).expand(v.shape) for k, v in full_size("sd1").items()}
    path = tmp_path / "sd-v1-4.ckpt"
    torch.save({"callbacks": {trainer.ModelCheckpoint: {"best": np.float64(0.5)}}, "state_dict": state}, path)
    monkeypatch.delitem(sys.modules, name)
    assert recognise(path).family == "sd1"


@pytest.mark.parametrize("family", FAMILIES)
def test_folders_are_recognised_by_their_configs(family: str, tmp_path: Path) -> None:
    found = recognise(tiny_configs(family, tmp_path / "anything", "v_prediction"))
    assert (found.family, found.prediction_type, found.config) == (family, "v_prediction", "")


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("what", "file", "values"),
    [
        ("inpainting", "unet/config.json", {"in_channels": 9}),
        ("quantised .bitsandbytes.", "unet/config.json", {"quantization_config": {"quant_method": "bitsandbytes"}}),
        ("refiner", "model_index.json", {"text_encoder": [None, None]}),
        ("Flux", "model_index.json", {"_class_name": "FluxPipeline"}),
        ("Stable Diffusion 3", "model_index.json", {"_class_name": "StableDiffusion3Pipeline"}),
        ("no Stable Diffusion checkpoint", "model_index.json", {"unet": [None, None]}),
        ("predicts 'sample'", "scheduler/scheduler_config.json", {"prediction_type": "sample"}),
    ],
)
def test_other_folders_are_refused(what: str, file: str, values: dict[str, object], tmp_path: Path) -> None:
    folder = tiny_configs("sdxl", tmp_path / "folder")
    change(folder / file, **values)
    with pytest.raises(UnsupportedCheckpoint, match=what):
        recognise(folder)


def test_a_folder_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedCheckpoint, match=r"model_index\.json"):
        recognise(tmp_path)


def test_a_cut_file_in_a_folder_is_found_before_loading(tmp_path: Path) -> None:
    folder = tiny_configs("sd1", tmp_path / "folder")
    path = sparse_file(folder / "vae" / "diffusion_pytorch_model.safetensors", named("weight"))
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(UnsupportedCheckpoint, match="cut short"):
        recognise(folder)


def test_the_command_line_refuses_in_one_sentence_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    from celebbasis_ext.miniature.workshop import Assets

    photo, out = tmp_path / "photo.png", tmp_path / "embeddings"
    Image.new("RGB", (64, 64), "red").save(photo)
    path = sparse_file(tmp_path / "model.safetensors", with_channels(9))
    faces = ["--face-detector", str(Assets().detector), "--face-recogniser", str(Assets().recogniser)]
    arguments = ["train", str(photo), "--name", "anna-cb", "--checkpoint", str(path), "--out", str(out), *faces]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "model.safetensors is an inpainting checkpoint" in said and "Traceback" not in said
    assert not out.exists()


def test_a_checksum_is_computed_again_only_for_another_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one")
    first = cached_sha256(path)
    assert first == cached_sha256(path) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    path.write_bytes(b"three")
    assert cached_sha256(path) == "8b5b9db0c13db24256c829aa364aa90c6d2eba318b9232a4ab9313b954d3555f"
