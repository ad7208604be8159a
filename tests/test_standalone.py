"""The standalone host on the real miniature: conditioning against diffusers, gradients, and a checkpoint left alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.errors import UnsupportedCheckpoint
from celebbasis_ext.files.embedding import load_embedding, save_embedding
from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.hosts.standalone_load import config_folder
from celebbasis_ext.jobs import Order, Workshop, basis_of, prepare, train_people
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets, open_workshop
from celebbasis_ext.train import Training
from celebbasis_ext.types import Embedding, TrainConfig

PORTRAIT = draw(strangers(1, 808)[0], Look(background="red", hat="blue")).image
CONFIG = TrainConfig(steps=3, batch=2, views=2)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return open_workshop(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="module")
def host(workshop: Workshop) -> StandaloneHost:
    assert isinstance(workshop.host, StandaloneHost)
    return workshop.host


@pytest.fixture(scope="module")
def anna(workshop: Workshop) -> Embedding:
    basis = basis_of(workshop)
    return Embedding("anna-cb", word_vectors(basis, basis.coefficients[11] * 1.1))


def fingerprint(host: StandaloneHost) -> str:
    digest = hashlib.sha256()
    for module in (host.pipeline.unet, host.pipeline.vae, host.pipeline.text_encoder):
        for name, value in module.state_dict().items():
            digest.update(name.encode())
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def test_conditioning_equals_diffusers_own_textual_inversion(
    host: StandaloneHost, anna: Embedding, tmp_path: Path
) -> None:
    from diffusers import StableDiffusionPipeline

    path = save_embedding(anna, tmp_path)
    config = config_folder("miniature")
    other: Any = StableDiffusionPipeline.from_single_file(
        str(Assets().checkpoint), config=str(config), local_files_only=True
    )
    other.load_textual_inversion(str(path), token="anna-cb", local_files_only=True)
    prompts = ["a photo of anna-cb", "anna-cb, at the beach, smiling", "a sketch of adam adams with anna-cb"]
    for prompt in prompts:
        theirs, _ = other.encode_prompt(prompt, "cpu", 1, False)
        ours = host.encode_texts([prompt], [anna]).states
        assert (ours - theirs).abs().max().item() < 1e-5


def test_words_around_the_trigger_are_the_tokenizers_own(host: StandaloneHost) -> None:
    tokens = host.pipeline.tokenizer("a photo of emma adams, at the beach", padding="max_length")["input_ids"]
    with torch.no_grad():
        expected = host.pipeline.text_encoder(input_ids=torch.tensor([tokens])).last_hidden_state
    assert torch.allclose(host.encode_texts(["a photo of emma adams, at the beach"]).states, expected, atol=1e-6)


def test_the_trigger_fires_in_any_case_but_not_inside_a_word(host: StandaloneHost, anna: Embedding) -> None:
    fired = host.encode_texts(["a photo of anna-cb", "a photo of ANNA-CB"], [anna]).states
    assert torch.allclose(fired[0], fired[1], atol=1e-6)
    without = host.encode_texts(["a photo of anna-cbx"]).states
    assert torch.allclose(host.encode_texts(["a photo of anna-cbx"], [anna]).states, without)
    assert not torch.allclose(host.encode_texts(["a photo of anna-cb"]).states, fired[:1], atol=1e-3)


def test_two_triggers_of_which_one_begins_like_the_other(host: StandaloneHost, anna: Embedding) -> None:
    longer = Embedding("anna-cb-2", {"clip_l": anna.vectors["clip_l"] * 0.5})
    both = host.encode_texts(["anna-cb and anna-cb-2"], [anna, longer]).states
    swapped = host.encode_texts(["anna-cb-2 and anna-cb"], [longer, anna]).states
    alone = host.encode_texts(["anna-cb and anna-cb"], [anna]).states
    assert not torch.allclose(both, swapped, atol=1e-3)
    assert not torch.allclose(both, alone, atol=1e-3)


def test_a_long_prompt_is_cut_not_refused(host: StandaloneHost, anna: Embedding) -> None:
    assert host.encode_texts(["a photo of anna-cb, " + "smiling, " * 80], [anna]).states.shape == (1, 77, 96)


def test_gradients_through_the_real_models_agree_with_finite_differences(workshop: Workshop) -> None:
    subject = prepare(workshop, Order((PORTRAIT,), ("anna-cb",)))
    host = open_workshop(workshop.host.embeddings_dir).host
    assert isinstance(host, StandaloneHost)
    host.pipeline.unet.double(), host.pipeline.text_encoder.double()
    config = TrainConfig(steps=3, batch=2, views=2, learn="coefficients")
    with host.training() as denoiser:
        denoiser.predict = lambda x, t, c: host.pipeline.unet(x, t, c.states).sample  # type: ignore[method-assign]
        training = Training(denoiser, basis_of(workshop), subject, config)
        training.coefficients.double(), training.vectors.double()
        training.views[0].latents.data = training.views[0].latents.double()
        loss = training._loss()
        loss.backward()
        values = training.coefficients.values
        assert values.grad is not None
        for index in [(0, 0, 0), (0, 1, 5), (0, 0, 90)]:
            with torch.no_grad():
                before = values[index].item()
                values[index] = before + 1e-4
                above = training._loss().item()
                values[index] = before - 1e-4
                below = training._loss().item()
                values[index] = before
            assert values.grad[index].item() == pytest.approx((above - below) / 2e-4, rel=1e-2, abs=1e-7)


def test_a_training_leaves_the_checkpoint_bit_for_bit(workshop: Workshop, host: StandaloneHost) -> None:
    before, picture = fingerprint(host), host.generate(["a photo of emma adams"], [1], steps=2)[0]
    list(train_people(workshop, Order((PORTRAIT,), ("left-alone-cb",), CONFIG)))
    assert fingerprint(host) == before
    assert np.array_equal(host.generate(["a photo of emma adams"], [1], steps=2)[0], picture)
    for module in (host.pipeline.unet, host.pipeline.vae, host.pipeline.text_encoder):
        assert all(p.grad is None and not p.requires_grad for p in module.parameters())


def test_the_same_seed_gives_the_same_numbers(workshop: Workshop) -> None:
    runs = []
    for _ in range(2):
        *_, saved = train_people(workshop, Order((PORTRAIT,), ("same-cb",), CONFIG, overwrite=True))
        runs.append(load_embedding(saved.paths[0]))  # type: ignore[union-attr]
    assert runs[0].vectors["clip_l"].tobytes() == runs[1].vectors["clip_l"].tobytes()
    assert runs[0].metadata == runs[1].metadata


def test_the_checkpoint_knows_who_it_is(host: StandaloneHost) -> None:
    assert host.checkpoint.sha256 == hashlib.sha256(Assets().checkpoint.read_bytes()).hexdigest()
    assert (host.checkpoint.family, host.checkpoint.prediction_type, host.checkpoint.resolution) == (
        "sd1",
        "epsilon",
        96,
    )
    assert Assets().checkpoint.stat().st_size <= 40_000_000


def test_other_files_are_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    garbage, foreign = tmp_path / "garbage.safetensors", tmp_path / "foreign.safetensors"
    garbage.write_bytes(b"no checkpoint")
    save_file({"weight": np.zeros(3, np.float32)}, foreign)
    for path in (garbage, foreign, tmp_path / "missing.safetensors"):
        with pytest.raises(UnsupportedCheckpoint, match=path.name):
            StandaloneHost.load(path, tmp_path)
