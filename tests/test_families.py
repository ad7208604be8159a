"""Tiny SD1, SD2 and SDXL in the standalone host: against diffusers' own pipelines, and by the whole command."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import Tensor

from celebbasis_ext.cli import main
from celebbasis_ext.errors import InvalidEmbedding, InvalidSettings, UnsupportedCheckpoint
from celebbasis_ext.files import checkpoint as checkpoint_files
from celebbasis_ext.files.embedding import load_embedding, save_embedding
from celebbasis_ext.hosts import standalone_load
from celebbasis_ext.hosts.half_gradients import HalfGradients
from celebbasis_ext.hosts.standalone import StandaloneDenoiser, StandaloneHost, measured_prediction
from celebbasis_ext.hosts.standalone_load import Placement, chosen_device, chosen_precision, modules_of
from celebbasis_ext.hosts.standalone_text import ENCODERS, Conditioning
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets
from celebbasis_ext.types import Embedding
from tests.checkpoints import FAMILIES, tiny_configs, tiny_folder, tiny_single_file

WIDTHS = {"clip_l": 32, "clip_h": 32, "clip_g": 48}
PROMPTS = ["a photo of anna-cb", "anna-cb, at the beach, smiling", "a sketch of Barack Obama with anna-cb, red hat"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {f: tiny_folder(f, root / f, "v_prediction" if f == "sd2" else "epsilon") for f in FAMILIES}


@pytest.fixture(scope="module")
def hosts(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, StandaloneHost]:
    out = tmp_path_factory.mktemp("embeddings")
    return {family: StandaloneHost.load(folder, out) for family, folder in folders.items()}


def anna(family: str, seed: int = 5) -> Embedding:
    rng = np.random.default_rng(seed)
    vectors = {e: (rng.standard_normal((2, WIDTHS[e])) * 0.3).astype(np.float32) for e in ENCODERS[family]}
    return Embedding("anna-cb", vectors)


def as_tensors(embedding: Embedding) -> dict[str, dict[str, Tensor]]:
    return {embedding.name: {e: torch.from_numpy(v) for e, v in embedding.vectors.items()}}


def diffusers_pipeline(folder: Path, embedding: Embedding, out: Path) -> Any:
    """diffusers' own pipeline with our file in it, loaded by diffusers' own loader."""
    from diffusers import DiffusionPipeline
    from safetensors.torch import load_file

    pipeline: Any = DiffusionPipeline.from_pretrained(
        str(folder), local_files_only=True, **({} if (folder / "tokenizer_2").exists() else {"safety_checker": None})
    )
    path = save_embedding(embedding, out)
    if len(embedding.vectors) == 1:
        pipeline.load_textual_inversion(str(path), token=embedding.name, local_files_only=True)
        return pipeline
    state = load_file(str(path))
    for key, number in (("clip_l", ""), ("clip_g", "_2")):
        pipeline.load_textual_inversion(
            state[key], token=embedding.name, local_files_only=True,
            text_encoder=getattr(pipeline, "text_encoder" + number), tokenizer=getattr(pipeline, "tokenizer" + number),
        )  # fmt: skip
    return pipeline


@pytest.mark.parametrize("family", FAMILIES)
def test_conditioning_and_prediction_equal_diffusers_own(
    family: str, folders: dict[str, Path], hosts: dict[str, StandaloneHost], tmp_path: Path
) -> None:
    theirs = diffusers_pipeline(folders[family], anna(family), tmp_path)
    x_t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    timesteps = torch.tensor([321])
    for prompt in PROMPTS:
        if family == "sdxl":
            states, _, pooled, _ = theirs.encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
            sizes = theirs._get_add_time_ids((64, 64), (0, 0), (64, 64), states.dtype, pooled.shape[-1])
            added = {"text_embeds": pooled, "time_ids": sizes}
        else:
            (states, _), added = theirs.encode_prompt(prompt, "cpu", 1, False), None
        ours = hosts[family].encode_texts([prompt], [anna(family)])
        assert (ours.states - states).abs().max() < 1e-5
        with torch.no_grad(), hosts[family].training() as denoiser:
            prediction = denoiser.predict(x_t, timesteps, ours)
            expected = theirs.unet(x_t, timesteps, states, added_cond_kwargs=added).sample
        assert (prediction - expected).abs().max() < 1e-5
        if added:
            assert ours.pooled is not None
            assert (ours.pooled - added["text_embeds"]).abs().max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_pictures_equal_diffusers_own(
    family: str, folders: dict[str, Path], hosts: dict[str, StandaloneHost], tmp_path: Path
) -> None:
    theirs = diffusers_pipeline(folders[family], anna(family), tmp_path)
    theirs.scheduler = type(hosts[family].pipeline.scheduler).from_config(theirs.scheduler.config)
    drawn = theirs(
        PROMPTS[0], height=64, width=64, num_inference_steps=3, guidance_scale=4.0, output_type="np",
        generator=torch.Generator().manual_seed(3),
    ).images[0]  # fmt: skip
    (ours,) = hosts[family].generate(PROMPTS[:1], [3], [anna(family)], steps=3)
    assert ours.shape == (64, 64, 3)
    assert np.abs(ours.astype(float) - drawn * 255).max() <= 1
    (without,) = hosts[family].generate(["a photo of somebody"], [3], steps=3)
    assert np.abs(without.astype(int) - ours).max() > 1


def test_pooling_is_at_the_end_of_the_prompt_whatever_an_old_config_says(
    folders: dict[str, Path], hosts: dict[str, StandaloneHost], tmp_path: Path
) -> None:
    """SDXL's published configs have eos_token_id 2, with which transformers pools at the highest id: the trigger."""
    import shutil

    old = shutil.copytree(folders["sdxl"], tmp_path / "old")
    config = old / "text_encoder_2" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"eos_token_id": 2}))
    host = StandaloneHost.load(old, tmp_path)
    before, after = (h.encode_texts(PROMPTS, [anna("sdxl")]) for h in (hosts["sdxl"], host))
    assert before.pooled is not None and after.pooled is not None
    assert torch.equal(before.pooled, after.pooled)


def loss_of(denoiser: StandaloneDenoiser, vectors: dict[str, Tensor], seed: int = 2) -> Tensor:
    """Some smooth number that depends on everything: words, UNet, pooled output."""
    generator = torch.Generator().manual_seed(seed)
    x_t, weights = torch.randn(2, 2, 4, 8, 8, generator=generator).unbind()
    conditioning = denoiser.encode_prompt(PROMPTS[:2], {"anna-cb": vectors})
    predicted = denoiser.predict(x_t, torch.tensor([100, 700]), conditioning)
    return (weights.double() * predicted.double()).mean()


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_agree_with_finite_differences(family: str, hosts: dict[str, StandaloneHost]) -> None:
    vectors = {e: torch.from_numpy(v).requires_grad_() for e, v in anna(family).vectors.items()}
    with hosts[family].training() as denoiser:
        loss_of(denoiser, vectors).backward()
        for encoder, values in vectors.items():
            assert values.grad is not None
            direction = values.grad / values.grad.norm()
            with torch.no_grad():
                ends = [
                    loss_of(denoiser, vectors | {encoder: values + sign * 2e-2 * direction}).item() for sign in (1, -1)
                ]
            assert values.grad.norm().item() == pytest.approx((ends[0] - ends[1]) / 4e-2, rel=1e-2), encoder


@pytest.mark.parametrize("family", FAMILIES)
def test_low_memory_gives_the_same_gradients_and_leaves_the_unet_as_it_was(
    family: str, folders: dict[str, Path], hosts: dict[str, StandaloneHost], tmp_path: Path
) -> None:
    sparing = StandaloneHost.load(folders[family], tmp_path, Placement("cpu", low_memory=True))
    found = []
    for host in (hosts[family], sparing):
        vectors = {e: torch.from_numpy(v).requires_grad_() for e, v in anna(family).vectors.items()}
        with host.training() as denoiser:
            assert host.pipeline.unet.is_gradient_checkpointing == (host is sparing)
            assert not any(m.training for m in host.pipeline.unet.modules() if isinstance(m, torch.nn.Dropout))
            loss_of(denoiser, vectors).backward()
        assert not host.pipeline.unet.training and not host.pipeline.unet.is_gradient_checkpointing
        found.append(torch.cat([v.grad.flatten() for v in vectors.values() if v.grad is not None]))
    assert torch.allclose(*found, rtol=1e-4, atol=1e-9)


def direction(host: StandaloneHost, family: str, size: float) -> Tensor:
    """The gradient of `size` times the loss, of length 1."""
    vectors = {e: torch.from_numpy(v).requires_grad_() for e, v in anna(family).vectors.items()}
    with host.training() as denoiser:
        (loss_of(denoiser, vectors) * size).backward()
    gradient = torch.cat([v.grad.flatten() for v in vectors.values() if v.grad is not None])
    assert gradient.dtype == torch.float32
    return gradient / gradient.norm()


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_gradients_through_fp16_neither_vanish_nor_overflow(
    family: str,
    hosts: dict[str, StandaloneHost],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    halved = StandaloneHost.load(folders[family], tmp_path)
    for name, module in modules_of(halved.pipeline).items():
        if name != "vae":
            module.half()
    expected = direction(hosts[family], family, 1.0)
    for size in (1e-6, 1.0, 1e6):
        assert torch.dot(direction(halved, family, size), expected) > 0.999
    monkeypatch.setattr(HalfGradients, "enter", lambda self, predicted: predicted.float())
    monkeypatch.setattr(HalfGradients, "leave", lambda self, vectors: vectors)
    lost = direction(halved, family, 1e-6)
    assert not torch.dot(lost, expected) > 0.9, "without the scaling this test would pass too"


def fingerprint(host: StandaloneHost) -> dict[str, bytes]:
    return {
        f"{part}.{name}": value.numpy().tobytes()
        for part, module in modules_of(host.pipeline).items()
        for name, value in module.state_dict().items()
    }


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    drawn = draw(strangers(1, 808)[0], Look(background="red")).image
    Pillow.fromarray(drawn).resize((256, 256)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def arguments(photo: Path, checkpoint: Path, out: Path, *more: str) -> list[str]:
    return [
        "train", str(photo), "--name", "anna-cb", "--checkpoint", str(checkpoint), "--out", str(out),
        "--face-detector", str(Assets().detector), "--face-recogniser", str(Assets().recogniser), "--describer", "none",
        "--device", "cpu", "--steps", "3", "--batch", "2", "--views", "2", "--pictures", "1", *more,
    ]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_the_whole_command(
    family: str, folders: dict[str, Path], photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[StandaloneHost, dict[str, bytes]]] = []
    load = StandaloneHost.load.__func__  # type: ignore[attr-defined]

    def remembered(cls: type[StandaloneHost], *given: Any) -> StandaloneHost:
        host: StandaloneHost = load(cls, *given)
        opened.append((host, fingerprint(host)))
        return host

    monkeypatch.setattr(StandaloneHost, "load", classmethod(remembered))
    out = tmp_path / "embeddings"
    assert main(arguments(photo, folders[family], out)) == 0
    embedding = load_embedding(out / "anna-cb.safetensors")
    assert {v.shape for v in embedding.vectors.values()} == {(2, WIDTHS[e]) for e in ENCODERS[family]}
    about = json.loads(embedding.metadata["celebbasis.checkpoint"])
    assert about["family"] == family
    assert about["prediction_type"] == ("v_prediction" if family == "sd2" else "epsilon")
    ((host, before),) = opened
    assert fingerprint(host) == before
    assert not torch.equal(*(host.encode_texts(PROMPTS, e).states for e in ([embedding], [])))
    assert all(p.grad is None for module in modules_of(host.pipeline).values() for p in module.parameters())


@contextmanager
def known_as(family: str, configs: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny single files are recognised as their family."""
    widths = tuple(WIDTHS[encoder] for encoder in ENCODERS[family])
    with monkeypatch.context() as patch:
        patch.setitem(checkpoint_files._CONFIGS, (family, widths), configs.name)  # type: ignore[arg-type]
        patch.setattr(standalone_load, "CONFIGS", configs.parent)
        yield


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_single_file_is_the_same_model_as_the_folder(
    family: str, suffix: str, hosts: dict[str, StandaloneHost], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    prediction = "v_prediction" if family == "sd2" else "epsilon"
    configs = tiny_configs(family, tmp_path / f"tiny-{family}")
    state = tiny_single_file(family, configs)
    path = tmp_path / f"model{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": state}, path)
    else:
        save_file(state, path)
    with known_as(family, configs, monkeypatch):
        host = StandaloneHost.load(path, tmp_path)
    assert (host.checkpoint.family, host.checkpoint.prediction_type) == (family, prediction)
    assert len(host.checkpoint.sha256) == 64
    other = fingerprint(hosts[family])
    assert fingerprint(host) == other


def test_a_schedule_that_ends_in_pure_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors.torch import save_file

    configs = tiny_configs("sdxl", tmp_path / "tiny-sdxl")
    path = tmp_path / "model.safetensors"
    save_file(tiny_single_file("sdxl", configs) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, path)
    with known_as("sdxl", configs, monkeypatch):
        host = StandaloneHost.load(path, tmp_path)
    assert host.checkpoint.prediction_type == "v_prediction"
    with host.training() as denoiser:
        assert denoiser.alphas_cumprod[-1] < 1e-6
    (picture,) = host.generate(["a photo"], [1], steps=2)
    assert picture.std() > 0


def test_out_of_memory_is_no_fault_of_the_file(
    folders: dict[str, Path],
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def exhausted(*given: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(standalone_load, "_from_folder", exhausted)
    assert main(arguments(photo, folders["sd1"], tmp_path / "embeddings")) == 2
    said = capsys.readouterr().err
    assert "not enough memory" in said and "precision bf16" in said


@pytest.mark.parametrize(("family", "value"), [("sd1", math.nan), ("sd1", -math.inf), ("sdxl", math.nan)])
def test_weights_that_are_no_numbers_are_found(
    family: str, value: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    configs = tiny_configs(family, tmp_path / f"tiny-{family}")
    state = tiny_single_file(family, configs)
    key = next(key for key in state if key.endswith("middle_block.1.proj_in.weight"))
    state[key].view(-1)[-1] = value
    path = tmp_path / "model.safetensors"
    save_file(state, path)
    with known_as(family, configs, monkeypatch), pytest.raises(UnsupportedCheckpoint, match="NaN or infinite"):
        StandaloneHost.load(path, tmp_path)


@pytest.mark.parametrize(
    ("family", "end"),
    [
        ("sd1", "text_model.final_layer_norm.weight"),
        ("sd2", "middle_block.0.in_layers.2.weight"),
        ("sdxl", "ln_final.weight"),
    ],
)
def test_a_file_that_lacks_weights_is_refused(
    family: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import save_file

    configs = tiny_configs(family, tmp_path / f"tiny-{family}")
    state = tiny_single_file(family, configs)
    kept = {key: tensor for key, tensor in state.items() if not key.endswith(end)}
    assert len(kept) == len(state) - 1
    path = tmp_path / "model.safetensors"
    save_file(kept, path)
    with known_as(family, configs, monkeypatch), pytest.raises(UnsupportedCheckpoint, match=r"model\.safetensors"):
        StandaloneHost.load(path, tmp_path)


def test_an_embedding_of_another_family_is_refused(hosts: dict[str, StandaloneHost]) -> None:
    wide = Embedding("anna-cb", {"clip_l": np.zeros((2, 768), np.float32)})
    with pytest.raises(InvalidEmbedding, match="width of 32"):
        hosts["sd1"].encode_texts(PROMPTS, [wide])
    with pytest.raises(InvalidEmbedding, match="clip_g"):
        hosts["sdxl"].encode_texts(PROMPTS, [anna("sd1")])


class VFromNoise:
    """The miniature, asked for v instead: v = sqrt(a) noise - sqrt(1 - a) x_0."""

    def __init__(self, denoiser: StandaloneDenoiser) -> None:
        self.denoiser, self.device, self.alphas_cumprod = denoiser, denoiser.device, denoiser.alphas_cumprod
        self.encode_prompt = denoiser.encode_prompt

    def predict(self, x_t: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        noise = self.denoiser.predict(x_t, timesteps, conditioning)
        a = self.alphas_cumprod[timesteps].view(-1, 1, 1, 1)
        x_0 = (x_t - (1 - a).sqrt() * noise) / a.sqrt()
        return a.sqrt() * noise - (1 - a).sqrt() * x_0


def test_what_a_trained_unet_predicts_can_be_measured(tmp_path: Path) -> None:
    host = StandaloneHost.load(Assets().checkpoint, tmp_path)
    with host.training() as denoiser:
        assert measured_prediction(denoiser, side=12) == "epsilon"
        assert measured_prediction(VFromNoise(denoiser), side=12) == "v_prediction"  # type: ignore[arg-type]
        denoiser.predict = lambda x_t, *_: x_t * math.nan  # type: ignore[method-assign]
        with pytest.raises(UnsupportedCheckpoint, match="not a number"):
            measured_prediction(denoiser, side=12)


def test_precision_follows_file_and_device() -> None:
    assert chosen_precision("auto", "cuda", "fp16") == "fp16"
    assert chosen_precision("auto", "cuda", "bf16") == "bf16"
    assert chosen_precision("auto", "cpu", "fp16") == "fp32"
    assert chosen_precision("auto", "mps", "fp16") == "fp32"
    assert chosen_precision("bf16", "cpu", "fp16") == "bf16"
    for device, precision in (("cpu", "fp16"), ("mps", "fp16"), ("mps", "bf16")):
        with pytest.raises(InvalidSettings, match=f"{precision} does not train on {device}"):
            chosen_precision(precision, device, "fp16")


def test_devices_that_are_not_there_are_refused() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(InvalidSettings, match="cuda"):
            chosen_device("cuda")
    assert chosen_device("cpu") == "cpu"
    assert chosen_device("auto") in ("cpu", "cuda", "mps")


@pytest.mark.parametrize("resolution", [0, 63, 100, 8192])
def test_resolutions_that_no_unet_takes_are_refused(resolution: int) -> None:
    with pytest.raises(InvalidSettings, match="multiple of 64"):
        Placement(resolution=resolution)


def test_bf16_and_a_lower_resolution(folders: dict[str, Path], photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "embeddings"
    more = ("--precision", "bf16", "--resolution", "128", "--low-memory")
    assert main(arguments(photo, folders["sdxl"], out, *more)) == 0
    embedding = load_embedding(out / "anna-cb.safetensors")
    assert json.loads(embedding.metadata["celebbasis.checkpoint"])["resolution"] == 128
    assert all(np.isfinite(v).all() for v in embedding.vectors.values())
