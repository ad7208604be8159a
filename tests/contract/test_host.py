"""What every host promises: `hosts/base.py`, on the miniature's weights."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from celebbasis_ext.errors import CelebBasisError
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.jobs import Order, Workshop, basis_of, prepare, train_people
from celebbasis_ext.lora import LowRankLayers, applied
from celebbasis_ext.lora_job import learn_people
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.train import Training
from celebbasis_ext.types import Embedding, Image, Lora, LoraConfig, LoraSaved, LowRank, Saved, TrainConfig
from tests.contract.conftest import networks

pytestmark = pytest.mark.usefixtures("tidy")

PORTRAIT = draw(strangers(1, 808)[0], Look(background="red", hat="blue")).image
CONFIG = TrainConfig(steps=3, batch=2, views=2)
KNOWN = "emma adams"
PROMPTS, SEEDS = ["a photo of emma adams", "emma adams, at the beach"], [1, 2]


def words_of(workshop: Workshop, text: str) -> dict[str, np.ndarray]:
    """{encoder: [T, D]} the token embeddings of a text."""
    ids = workshop.host.tokenize(text)
    return {encoder: table[ids] for encoder, table in workshop.host.token_tables().items()}


def vectors_of(workshop: Workshop, text: str) -> dict[str, Tensor]:
    return {encoder: torch.from_numpy(rows.copy()) for encoder, rows in words_of(workshop, text).items()}


def flat(conditioning: Any) -> Tensor:
    """The tensor of a host's own conditioning."""
    conditioning = getattr(conditioning, "states", conditioning)
    while not isinstance(conditioning, Tensor):
        conditioning = next(iter(conditioning.values() if isinstance(conditioning, dict) else conditioning))
    return conditioning


def pictures(workshop: Workshop) -> list[Image]:
    return workshop.host.generate(PROMPTS, SEEDS, steps=3)


def same(left: list[Image], right: list[Image]) -> bool:
    return len(left) == len(right) and all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


def fingerprint(workshop: Workshop) -> str:
    digest = hashlib.sha256()
    for network in networks(workshop.host):
        for name, value in sorted(network.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()


def test_the_checkpoint_is_the_miniature(workshop: Workshop) -> None:
    checkpoint = workshop.host.checkpoint
    assert (checkpoint.family, checkpoint.prediction_type, checkpoint.resolution) == ("sd1", "epsilon", 96)
    assert len(checkpoint.sha256) == 64


def test_tokens_are_clips_own(workshop: Workshop) -> None:
    ids = workshop.host.tokenize("a photo of a cat")
    assert ids == [320, 1125, 539, 320, 2368]
    assert [workshop.host.describe_token(id_) for id_ in ids] == "a photo of a cat".split()
    assert {table.shape for table in workshop.host.token_tables().values()} == {(49408, 96)}


def test_the_noise_schedule_is_stable_diffusions(workshop: Workshop) -> None:
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=np.float64) ** 2
    with workshop.host.training() as denoiser:
        schedule = denoiser.alphas_cumprod
    assert schedule.dtype == torch.float32
    assert np.allclose(schedule.numpy(), np.cumprod(1 - betas), rtol=1e-4)


def test_vectors_that_are_somebodys_tokens_mean_that_somebody(workshop: Workshop) -> None:
    words = {"zz-cb": vectors_of(workshop, KNOWN)}
    for prompt in ("a photo of {}", "{}, at the beach, smiling", "a sketch of bob with {}"):
        with workshop.host.training() as denoiser, torch.no_grad():
            written = flat(denoiser.encode_prompt([prompt.format("zz-cb")], words))
            known = flat(denoiser.encode_prompt([prompt.format(KNOWN)], {}))
        assert torch.allclose(written, known, atol=1e-6), prompt


def test_pictures_of_an_embedding_that_is_in_no_file(workshop: Workshop) -> None:
    double = Embedding("zz-cb", words_of(workshop, KNOWN))
    prompts = [prompt.replace(KNOWN, "zz-cb") for prompt in PROMPTS]
    unknown = workshop.host.generate(prompts, SEEDS, steps=3)
    known = workshop.host.generate(prompts, SEEDS, [double], steps=3)
    assert same(known, pictures(workshop))
    assert not same(known, unknown)
    assert same(workshop.host.generate(prompts, SEEDS, steps=3), unknown), "the embedding stayed behind"


def test_latents_are_scaled_as_the_unet_has_them(workshop: Workshop) -> None:
    pixels = torch.from_numpy(PORTRAIT.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with workshop.host.training() as denoiser:
        latents = denoiser.encode_image(pixels.repeat(3, 1, 1, 1))
    assert latents.shape == (3, 4, 12, 12) and latents.dtype == torch.float32
    assert not latents.requires_grad
    assert 0.3 < latents.std().item() < 3
    assert torch.allclose(latents[0], latents[2], atol=1e-5)


def test_the_layers_that_read_the_prompt_by_their_names_in_files(workshop: Workshop) -> None:
    linears = workshop.host.cross_attention()
    assert len(linears) == 2 * 7  # on two levels, on the way down, at the turn, and on the way up
    assert "lora_unet_input_blocks_3_1_transformer_blocks_0_attn2_to_k" in linears
    assert all(linear.in_features == 96 for linear in linears.values())


def test_a_lora_is_in_what_is_predicted(workshop: Workshop) -> None:
    """Against weights that have the LoRA added in."""
    linears = workshop.host.cross_attention()
    rng = np.random.default_rng(0)
    layers = {
        name: LowRank(
            rng.standard_normal((3, linear.in_features)).astype(np.float32) * 0.1,
            rng.standard_normal((linear.out_features, 3)).astype(np.float32) * 0.1,
        )
        for name, linear in linears.items()
    }
    x_t = torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    with workshop.host.training() as denoiser, torch.no_grad():

        def predicted() -> Tensor:
            return denoiser.predict(x_t, torch.tensor([300, 700]), denoiser.encode_prompt(PROMPTS, {}))

        plain = predicted()
        with applied(linears, [(Lora("zz-cb", layers), 0.7)]):
            found = predicted()
        kept = {name: linear.weight.clone() for name, linear in linears.items()}
        try:
            for name, layer in layers.items():
                linears[name].weight += torch.from_numpy(0.7 * layer.up @ layer.down)
            expected = predicted()
        finally:
            for name, weight in kept.items():
                linears[name].weight.copy_(weight)
        assert (found - plain).abs().max() > 1e-2
        assert torch.allclose(found, expected, atol=1e-4)
        assert torch.equal(predicted(), plain)


def test_gradients_agree_with_finite_differences(workshop: Workshop) -> None:
    """Along the gradient itself, where the loss changes fastest: single precision allows no single coordinates."""
    generator = torch.Generator().manual_seed(0)
    x_t, target = torch.randn(2, 2, 4, 12, 12, generator=generator)
    timesteps = torch.tensor([300, 700])
    start = vectors_of(workshop, KNOWN)

    with workshop.host.training() as denoiser:

        def loss(vectors: dict[str, Tensor]) -> Tensor:
            prompts = ["a photo of zz-cb", "zz-cb, smiling"]
            predicted = denoiser.predict(x_t, timesteps, denoiser.encode_prompt(prompts, {"zz-cb": vectors}))
            return (predicted - target).square().sum()

        leaves = {encoder: value.clone().requires_grad_() for encoder, value in start.items()}
        loss(leaves).backward()
        gradients = {encoder: leaf.grad for encoder, leaf in leaves.items()}
        slope = sum(float(g.double().square().sum()) for g in gradients.values() if g is not None)
        assert slope > 0
        step = 3e-3 / slope**0.5
        with torch.no_grad():
            above, below = (
                float(loss({e: start[e] + sign * step * g for e, g in gradients.items() if g is not None}).double())
                for sign in (1, -1)
            )
    assert slope == pytest.approx((above - below) / (2 * step), rel=2e-2)


def ends_well(workshop: Workshop) -> None:
    list(train_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True)))


def is_stopped(workshop: Workshop) -> None:
    events = list(train_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True), stop=lambda: True))
    assert isinstance(events[-1], Saved) and not events[-1].finished


def is_dropped(workshop: Workshop) -> None:
    """As a page does that is reloaded: nobody asks for the next event."""
    running = train_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True))
    next(running), next(running)
    running.close()  # type: ignore[attr-defined]


def learns_a_lora(workshop: Workshop) -> None:
    config = LoraConfig(steps=2, pairs=1, kept=1)
    *_, saved = learn_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True, lora=config))
    assert isinstance(saved, LoraSaved) and saved.finished
    saved.paths[0].unlink()


def fails_with_a_lora_on(workshop: Workshop) -> None:
    linears = workshop.host.cross_attention()
    layers = LowRankLayers(linears, 2, seed=0)
    with pytest.raises(ZeroDivisionError), layers.attached(linears):
        broken(workshop, ZeroDivisionError())
        raise ZeroDivisionError


def fails(workshop: Workshop) -> None:
    with pytest.raises(ZeroDivisionError):
        broken(workshop, ZeroDivisionError())


def runs_out_of_memory(workshop: Workshop) -> None:
    with pytest.raises((CelebBasisError, torch.cuda.OutOfMemoryError)):
        broken(workshop, torch.cuda.OutOfMemoryError("simulated"))


def broken(workshop: Workshop, error: Exception) -> None:
    subjects = prepare(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True))
    with workshop.host.training() as denoiser:
        next(iter(Training(denoiser, basis_of(workshop), subjects, CONFIG)))
        raise error


@pytest.mark.parametrize(
    "ending",
    [ends_well, is_stopped, is_dropped, learns_a_lora, fails_with_a_lora_on, fails, runs_out_of_memory],
)
def test_afterwards_the_host_is_what_it_was(workshop: Workshop, ending: Callable[[Workshop], None]) -> None:
    parameters = [p for network in networks(workshop.host) for p in network.parameters()]
    before, weights, trainable = pictures(workshop), fingerprint(workshop), [p.requires_grad for p in parameters]
    generator = torch.get_rng_state()
    ending(workshop)
    assert torch.equal(torch.get_rng_state(), generator), "somebody else's random numbers were used"
    assert torch.is_grad_enabled()
    assert [p.requires_grad for p in parameters] == trainable
    assert all(p.grad is None for p in parameters)
    assert fingerprint(workshop) == weights
    assert same(pictures(workshop), before)


def test_memory_returns(workshop: Workshop) -> None:
    def held() -> int:
        gc.collect()
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors()}
        return sum(storages.values())

    def tensors() -> list[Tensor]:
        return [found for found in gc.get_objects() if type(found) in (Tensor, torch.nn.Parameter)]

    ends_well(workshop)
    before = held()
    ends_well(workshop)
    is_stopped(workshop)
    assert held() == pytest.approx(before, rel=0.01)


def test_the_same_seed_gives_the_same_numbers(workshop: Workshop) -> None:
    files = []
    for _ in range(2):
        *_, saved = train_people(workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG, overwrite=True))
        assert isinstance(saved, Saved)
        files.append(load_embedding(saved.paths[0]))
    (one,), (other,) = (own.vectors.values() for own in files)
    assert one.tobytes() == other.tobytes()


@pytest.mark.usefixtures("tidy")
def test_an_interrupted_run_goes_on_where_it_was(workshop: Workshop) -> None:
    """Also where the host has put its own check before `torch.load`."""
    config = TrainConfig(steps=4, batch=2, views=2)
    stops = iter([False, True, True])
    *_, stopped = train_people(workshop, Order((PORTRAIT,), ("zz-cb",), config), lambda: next(stops))
    assert isinstance(stopped, Saved) and not stopped.finished
    *_, resumed = train_people(workshop, Order((PORTRAIT,), ("zz-cb",), config, resume=True, overwrite=True))
    *_, whole = train_people(workshop, Order((PORTRAIT,), ("zy-cb",), config))
    assert isinstance(resumed, Saved) and resumed.finished and isinstance(whole, Saved)
    assert np.allclose(resumed.embeddings[0].vectors["clip_l"], whole.embeddings[0].vectors["clip_l"], atol=1e-6)
