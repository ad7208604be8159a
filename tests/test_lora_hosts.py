"""LoRA files on tiny SD1, SD2 and SDXL: against diffusers' own loader, and by whole commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.single_file import empty_models
from celebbasis_ext.files.lora import load_lora, save_lora
from celebbasis_ext.files.lora_names import lora_name
from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.hosts.standalone_load import CONFIGS, modules_of
from celebbasis_ext.lora import LowRankLayers, applied
from celebbasis_ext.types import Lora, LowRank
from tests.checkpoints import FAMILIES, full_size, tiny_folder

PROMPTS = ["a photo of Barack Obama", "a sketch"]
X_T = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
TIMESTEPS = torch.tensor([321, 800])
BUILDS = [(family, blocks) for family in FAMILIES for blocks in (1, 2)]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    root = tmp_path_factory.mktemp("tiny")
    return {(f, blocks): tiny_folder(f, root / f"{f}-{blocks}", blocks=blocks) for f, blocks in BUILDS}


def random_lora(host: StandaloneHost, seed: int = 0, name: str = "anna-cb") -> Lora:
    rng = np.random.default_rng(seed)

    def layer(linear: Any) -> LowRank:
        down, up = rng.standard_normal((4, linear.in_features)), rng.standard_normal((linear.out_features, 4))
        return LowRank((down * 0.2).astype(np.float32), (up * 0.2).astype(np.float32))

    return Lora(name, {name: layer(linear) for name, linear in host.cross_attention().items()})


@torch.no_grad()
def prediction(host: StandaloneHost) -> Tensor:
    with host.training() as denoiser:
        return denoiser.predict(X_T, TIMESTEPS, denoiser.encode_prompt(PROMPTS, {}))


@pytest.mark.parametrize(("family", "blocks"), BUILDS)
def test_a_file_means_what_it_means_to_diffusers(
    family: str, blocks: int, folders: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    pytest.importorskip("peft", reason="diffusers loads LoRAs with peft")
    ours = StandaloneHost.load(folders[family, blocks], tmp_path)
    theirs = StandaloneHost.load(folders[family, blocks], tmp_path)
    lora = random_lora(ours)
    path = save_lora(lora, tmp_path / "loras")
    unet = theirs.pipeline.unet
    layers = len([name for name, _ in unet.named_modules() if name.endswith(("attn2.to_k", "attn2.to_v"))])
    assert len(lora.layers) == layers
    # SDXL's pipeline passes its own config on; SD's has to be told where the UNet is not built as usual.
    told = {} if family == "sdxl" or blocks == 2 else {"unet_config": unet.config}
    theirs.pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="anna", **told)
    plain = prediction(ours)
    with applied(ours.cross_attention(), [(load_lora(path), 1.0)]):
        whole = prediction(ours)
    with applied(ours.cross_attention(), [(load_lora(path), 0.4)]):
        part = prediction(ours)
    assert (whole - plain).abs().max() > 1e-2
    assert (whole - prediction(theirs)).abs().max() < 1e-5
    theirs.pipeline.set_adapters(["anna"], [0.4])
    assert (part - prediction(theirs)).abs().max() < 1e-5
    assert torch.equal(prediction(ours), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_layouts_of_a_full_size_unet_have_the_same_names(family: str) -> None:
    """Each layer by its shape too, so that a wrong number would show."""
    unet, _, _ = empty_models(CONFIGS / family)
    prefix = "model.diffusion_model."
    stability = {
        lora_name(key.removeprefix(prefix).removesuffix(".weight"), family, 2): tuple(tensor.shape)  # type: ignore[arg-type]
        for key, tensor in full_size(family).items()
        if key.startswith(prefix) and key.endswith(".weight")
    }
    diffusers = {lora_name(name, family, 2): module for name, module in unet.named_modules()}  # type: ignore[arg-type]
    assert {n: (m.out_features, m.in_features) for n, m in diffusers.items() if n} == {
        n: shape for n, shape in stability.items() if n
    }
    # As in files of sd-scripts: two layers for each of 16 blocks, and of SDXL's 70.
    assert sum(name is not None for name in diffusers) == (140 if family == "sdxl" else 32)


@pytest.mark.parametrize(
    ("layer", "family", "blocks", "name"),
    [
        ("down_blocks.0.attentions.0", "sd1", 2, "down_blocks_0_attentions_0"),
        ("input_blocks.1.1", "sd1", 2, "down_blocks_0_attentions_0"),
        ("input_blocks.8.1", "sd2", 2, "down_blocks_2_attentions_1"),
        ("middle_block.1", "sd2", 2, "mid_block_attentions_0"),
        ("output_blocks.5.1", "sd1", 2, "up_blocks_1_attentions_2"),
        ("down_blocks.1.attentions.0", "sdxl", 2, "input_blocks_4_1"),
        ("input_blocks.4.1", "sdxl", 2, "input_blocks_4_1"),
        ("up_blocks.1.attentions.2", "sdxl", 2, "output_blocks_5_1"),
        ("mid_block.attentions.0", "sdxl", 2, "middle_block_1"),
        ("down_blocks.1.attentions.0", "sd1", 1, "input_blocks_3_1"),
    ],
)
def test_layers_are_called_as_kohya_calls_them(layer: str, family: Any, blocks: int, name: str) -> None:
    rest = "transformer_blocks.0.attn2.to_k"
    assert lora_name(f"{layer}.{rest}", family, blocks) == f"lora_unet_{name}_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize("other", ["attn1.to_k", "attn2.to_q", "attn2.to_out.0", "ff.net.2"])
def test_other_layers_have_no_name(other: str) -> None:
    assert lora_name(f"down_blocks.0.attentions.0.transformer_blocks.0.{other}", "sd1", 2) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_agree_with_finite_differences(
    family: str, folders: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    host = StandaloneHost.load(folders[family, 1], tmp_path)
    linears = host.cross_attention()
    layers = LowRankLayers(linears, 2, 0)
    for up in layers.up:
        torch.nn.init.normal_(up, std=0.1, generator=torch.Generator().manual_seed(4))

    def loss() -> Tensor:
        with host.training() as denoiser, layers.attached(linears, denoiser.inside):
            return denoiser.predict(X_T, TIMESTEPS, denoiser.encode_prompt(PROMPTS, {})).square().sum()

    loss().backward()
    gradients = [parameter.grad for parameter in layers.parameters()]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)
    slope = sum(float(gradient.double().square().sum()) for gradient in gradients if gradient is not None)
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, gradient in zip(layers.parameters(), gradients, strict=True):
                assert gradient is not None
                parameter.add_(gradient, alpha=sign * 3e-3 / slope**0.5)
            values.append(float(loss().double()))
    assert slope == pytest.approx((values[0] - values[1]) / (2 * 3e-3 / slope**0.5), rel=2e-2)
    assert all(parameter.grad is None for parameter in host.pipeline.unet.parameters())


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_gradients_come_out_of_fp16_at_their_true_size(
    family: str, folders: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    def gradient(half: bool) -> Tensor:
        host = StandaloneHost.load(folders[family, 1], tmp_path)
        for name, module in modules_of(host.pipeline).items():
            if half and name != "vae":
                module.half()
        linears = host.cross_attention()
        layers = LowRankLayers(linears, 2, 0)
        for up in layers.up:
            torch.nn.init.normal_(up, std=0.1, generator=torch.Generator().manual_seed(4))
        with host.training() as denoiser, layers.attached(linears, denoiser.inside):
            predicted = denoiser.predict(X_T, TIMESTEPS, denoiser.encode_prompt(PROMPTS, {}))
            (predicted.square().mean() * 1e-6).backward()
        return torch.cat([p.grad.flatten() for p in layers.parameters() if p.grad is not None])

    half, full = gradient(True), gradient(False)
    assert half.norm() / full.norm() == pytest.approx(1, rel=0.02)
    assert torch.cosine_similarity(half, full, dim=0) > 0.99
