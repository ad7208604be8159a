"""What only a real WebUI can show: SD2 and SDXL, every attention option, clip skip, a checkpoint really switched."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from celebbasis_ext.errors import CheckpointChanged
from celebbasis_ext.files.embedding import save_embedding
from celebbasis_ext.files.lora import save_lora
from celebbasis_ext.hosts.a1111 import A1111Denoiser, A1111Host
from celebbasis_ext.jobs import Order, Workshop, train_people
from celebbasis_ext.lora import applied
from celebbasis_ext.types import Embedding, Lora, LowRank, TrainConfig
from tests.contract import tiny_checkpoints, webui
from tests.contract.test_host import PORTRAIT, flat, same, vectors_of
from tests.contract.test_webui import PROMPT, Switched, gradient, text_to_image

pytestmark = [
    pytest.mark.skipif(not webui.real_is_here(), reason="CELEBBASIS_WEBUI_ROOT names no WebUI"),
    pytest.mark.usefixtures("a1111", "webui_tidy"),
]


@pytest.fixture(params=["tiny-sd2", "tiny-sdxl"])
def tiny(a1111: A1111Host, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[A1111Host]:
    from modules import sd_models, shared

    text_folder = Path(a1111.loaded.info.filename).parent / tiny_checkpoints.TEXT_FOLDER
    selected = shared.opts.sd_model_checkpoint
    info = tiny_checkpoints.write_tiny(tmp_path, request.param, text_folder)
    shared.opts.sd_model_checkpoint = info.title
    sd_models.reload_model_weights(info=info)
    yield A1111Host.open()
    back_to_the_miniature(a1111, selected)


def back_to_the_miniature(a1111: A1111Host, selected: str) -> None:
    """Loads it anew; the session's host goes on with the new object."""
    from modules import sd_models, shared

    shared.opts.sd_model_checkpoint = selected
    sd_models.reload_model_weights(info=a1111.loaded.info)
    a1111.loaded = A1111Host.open().loaded


def words(host: A1111Host, text: str) -> dict[str, Tensor]:
    ids = host.tokenize(text)
    return {encoder: torch.from_numpy(table[ids].copy()) for encoder, table in host.token_tables().items()}


def tensors(conditioning: dict[str, Any]) -> list[Tensor]:
    return [value[0] if isinstance(value, list) else value for value in conditioning.values()]


def loss(denoiser: A1111Denoiser, vectors: dict[str, Tensor]) -> Tensor:
    x_t, target = torch.randn(2, 2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    conditioning = denoiser.encode_prompt([PROMPT, "zz-cb, smiling"], {"zz-cb": vectors})
    predicted = denoiser.predict(x_t, torch.tensor([300, 700]), conditioning)
    return (predicted.double() - target).square().sum()


def gradients(denoiser: A1111Denoiser, vectors: dict[str, Tensor]) -> dict[str, Tensor]:
    leaves = {encoder: value.clone().requires_grad_() for encoder, value in vectors.items()}
    loss(denoiser, leaves).backward()
    return {encoder: leaf.grad for encoder, leaf in leaves.items() if leaf.grad is not None}


def test_other_families_are_known(tiny: A1111Host) -> None:
    checkpoint = tiny.checkpoint
    widths = {encoder: table.shape[1] for encoder, table in tiny.token_tables().items()}
    if checkpoint.name == "tiny-sd2":
        assert (checkpoint.family, checkpoint.prediction_type, checkpoint.resolution) == ("sd2", "v_prediction", 768)
        assert widths == {"clip_h": 64}
    else:
        assert (checkpoint.family, checkpoint.prediction_type, checkpoint.resolution) == ("sdxl", "epsilon", 1024)
        assert widths == {"clip_l": 96, "clip_g": 80}


def test_words_of_other_families_written_as_vectors_or_in_a_file(tiny: A1111Host) -> None:
    start = words(tiny, "emma adams")
    with tiny.training() as denoiser, torch.no_grad():
        known = tensors(denoiser.encode_prompt(["a photo of emma adams, smiling"], {}))
        written = tensors(denoiser.encode_prompt(["a photo of zz-cb, smiling"], {"zz-cb": start}))
    embedding = Embedding("zz-cb", {encoder: value.numpy() for encoder, value in start.items()})
    tiny.publish(save_embedding(embedding, tiny.embeddings_dir))
    with tiny.training() as denoiser, torch.no_grad():
        from_file = tensors(denoiser.encode_prompt(["a photo of zz-cb, smiling"], {}))
    for one, other, third in zip(known, written, from_file, strict=True):
        assert torch.equal(one, other) and torch.equal(one, third)


def test_gradients_of_other_families(tiny: A1111Host, monkeypatch: pytest.MonkeyPatch) -> None:
    sd = tiny.loaded.sd
    trainable = [parameter.requires_grad for parameter in sd.parameters()]
    weights = {key: value.clone() for key, value in sd.state_dict().items()}
    start = words(tiny, "emma adams")
    with tiny.training() as denoiser:
        assert denoiser.encode_image(torch.zeros(1, 3, 64, 64)).shape == (1, 4, 8, 8)
        found = gradients(denoiser, start)
        slope = sum(float(g.double().square().sum()) for g in found.values())
        step = 3e-2 / slope**0.5
        with torch.no_grad():
            above, below = (float(loss(denoiser, {e: start[e] + s * step * found[e] for e in start})) for s in (1, -1))
        monkeypatch.setattr(sd, "lowvram", True)
        again = gradients(denoiser, start)
    assert slope == pytest.approx((above - below) / (2 * step), rel=5e-2)
    assert all(torch.allclose(again[e], found[e], rtol=1e-3, atol=1e-6) for e in found)
    assert [parameter.requires_grad for parameter in sd.parameters()] == trainable
    assert all(parameter.grad is None for parameter in sd.parameters())
    assert all(torch.equal(value, weights[key]) for key, value in sd.state_dict().items())


def test_every_attention_option_gives_the_same_gradient(a1111: A1111Host, webui_workshop: Workshop) -> None:
    from modules import sd_hijack, shared

    vectors = vectors_of(webui_workshop, "emma adams")
    options = ["None", *(option.title() for option in sd_hijack.optimizers)]
    try:
        found = {}
        for option in options:
            sd_hijack.model_hijack.apply_optimizations(option)
            found[option] = gradient(a1111, vectors)
    finally:
        sd_hijack.model_hijack.apply_optimizations(shared.opts.cross_attention_optimization)
    assert len(found) >= 6
    for option, value in found.items():
        assert torch.allclose(value, found["None"], rtol=1e-3, atol=1e-4), option


def test_conditioning_is_what_the_webui_samples_with(a1111: A1111Host) -> None:
    from modules import prompt_parser, shared

    prompt = "a (photo:1.3) of emma adams, " + "smiling, at the beach, " * 20
    before = shared.opts.CLIP_stop_at_last_layers
    try:
        for skip in (1, 2):
            shared.opts.data["CLIP_stop_at_last_layers"] = skip
            with a1111.training() as denoiser, torch.no_grad():
                ours = flat(denoiser.encode_prompt([prompt], {}))
                wanted = prompt_parser.SdConditioning([prompt], width=96, height=96)
                ((theirs,),) = prompt_parser.get_learned_conditioning(a1111.loaded.sd, wanted, 20)
            assert ours.shape[1] > 77
            assert torch.equal(ours[0], theirs.cond), f"clip skip {skip}"
    finally:
        shared.opts.data["CLIP_stop_at_last_layers"] = before


def test_a_checkpoint_really_switched_ends_the_job_and_saves(
    a1111: A1111Host, webui_workshop: Workshop, tmp_path: Path
) -> None:
    from modules import sd_models, shared

    source, selected, before = Path(a1111.loaded.info.filename), shared.opts.sd_model_checkpoint, text_to_image(a1111)
    other = tmp_path / "other.safetensors"
    shutil.copyfile(source, other)
    shutil.copyfile(source.with_suffix(".yaml"), other.with_suffix(".yaml"))
    info = sd_models.CheckpointInfo(str(other))
    info.register()
    config = TrainConfig(steps=20, batch=2, views=2)
    try:
        switch = Switched(lambda: sd_models.reload_model_weights(info=info))
        with pytest.raises(CheckpointChanged, match="other"):
            list(train_people(webui_workshop, Order((PORTRAIT,), ("zz-cb",), config), switch))
        assert (a1111.embeddings_dir / "zz-cb.safetensors").exists()
    finally:
        back_to_the_miniature(a1111, selected)
    for path in a1111.embeddings_dir.glob("zz-cb.*"):
        path.unlink()
    a1111.publish(other)
    assert same([text_to_image(a1111)], [before])


def random_lora(host: A1111Host) -> Lora:
    rng = np.random.default_rng(0)
    layers = {
        name: LowRank(
            rng.standard_normal((4, linear.in_features)).astype(np.float32) * 0.1,
            rng.standard_normal((linear.out_features, 4)).astype(np.float32) * 0.1,
        )
        for name, linear in host.cross_attention().items()
    }
    return Lora("zz-lora", layers)


@contextmanager
def written(host: A1111Host, lora: Lora) -> Iterator[None]:
    """Its file is in the WebUI's folder meanwhile."""
    path = save_lora(lora, host.lora_dir)
    try:
        yield
    finally:
        path.unlink()
        sys.modules["networks"].list_available_networks()


def test_the_webuis_own_loader_predicts_what_our_layers_predict(a1111: A1111Host) -> None:
    assert_same_prediction(a1111)


def test_so_it_does_for_other_families(tiny: A1111Host) -> None:
    assert_same_prediction(tiny)


def assert_same_prediction(host: A1111Host) -> None:
    networks: Any = sys.modules["networks"]  # of the Lora extension, which is part of the WebUI
    lora, linears = random_lora(host), host.cross_attention()
    assert len(linears) >= 8
    x_t = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with host.training() as denoiser, torch.no_grad(), written(host, lora):

        def predicted() -> Tensor:
            return denoiser.predict(x_t, torch.tensor([300, 700]), denoiser.encode_prompt([PROMPT] * 2, {}))

        plain = predicted()
        with applied(linears, [(lora, 0.8)]):
            ours = predicted()
        networks.load_networks([lora.name], [0.8], [0.8], [None])
        assert len(networks.loaded_networks[0].modules) == len(linears)
        theirs = predicted()
        networks.load_networks([])
        assert torch.equal(predicted(), plain)
    assert (ours - plain).abs().max() > 1e-2
    assert (ours - theirs).abs().max() < 1e-4


def test_a_lora_in_a_prompt_draws_what_our_layers_draw(a1111: A1111Host) -> None:
    from modules import extra_networks

    if "lora" not in extra_networks.extra_network_registry:  # a WebUI without a page
        extra_networks.register_extra_network(sys.modules["extra_networks_lora"].ExtraNetworkLora())
    lora, plain = random_lora(a1111), text_to_image(a1111)
    with applied(a1111.cross_attention(), [(lora, 1.0)]):
        ours = text_to_image(a1111)
    with written(a1111, lora):
        theirs = text_to_image(a1111, f"{PROMPT} <lora:zz-lora:1>")
    assert np.abs(ours.astype(int) - plain).max() > 8
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    assert same([text_to_image(a1111)], [plain])
