"""The loop: gradients against finite differences, what moves and what does not, chance, resuming, failing."""

from __future__ import annotations

import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch

from celebbasis_ext.coefficients import VectorsFromCoefficients, new_coefficients
from celebbasis_ext.errors import InvalidSettings, TrainingDiverged
from celebbasis_ext.schedule import add_noise, training_target
from celebbasis_ext.train import Training
from celebbasis_ext.types import CelebBasis, TrainConfig
from tests.conftest import TinyDenoiser, make_subject

CONFIG = TrainConfig(steps=12, batch=3, learning_rate=0.05, views=4, radius="celebrities", learn="coefficients")


def coefficients_after(basis: CelebBasis, config: TrainConfig, **subject: object) -> np.ndarray:
    training = Training(TinyDenoiser(), basis, [make_subject(**subject)], config)  # type: ignore[arg-type]
    for _ in training:
        pass
    return training.stored()


@pytest.mark.parametrize("learn", ["coefficients", "mapper"])
@pytest.mark.parametrize("radius", ["unit", "celebrities", "free"])
@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_gradients_agree_with_finite_differences(
    basis: CelebBasis, learn: str, radius: str, prediction_type: str
) -> None:
    config = dataclasses.replace(CONFIG, learn=learn, radius=radius)  # type: ignore[arg-type]
    training = Training(TinyDenoiser(prediction_type), basis, [make_subject()], config)
    training.coefficients.double(), training.vectors.double()
    training.denoiser.image.double()  # type: ignore[attr-defined]
    training.views = [
        dataclasses.replace(v, latents=v.latents.double(), weights=v.weights.double()) for v in training.views
    ]
    parameter = next(training.coefficients.parameters())
    loss = training._loss()
    loss.backward()
    assert parameter.grad is not None
    for index in [(0,) * parameter.ndim, tuple(s - 1 for s in parameter.shape)]:
        with torch.no_grad():
            before = parameter[index].item()
            parameter[index] = before + 1e-5
            above = training._loss().item()
            parameter[index] = before - 1e-5
            below = training._loss().item()
            parameter[index] = before
        assert parameter.grad[index].item() == pytest.approx((above - below) / 2e-5, rel=1e-4, abs=1e-9)


def test_only_the_coefficients_move(basis: CelebBasis) -> None:
    denoiser = TinyDenoiser()
    before = {name: p.clone() for name, p in denoiser.image.named_parameters()}
    training = Training(denoiser, basis, [make_subject()], CONFIG)
    start = training.stored()
    list(training)
    assert np.abs(training.stored() - start).max() > 1e-3
    for name, parameter in denoiser.image.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.grad is None


def test_the_loss_falls(basis: CelebBasis) -> None:
    config = dataclasses.replace(CONFIG, steps=150, batch=8, radius="free", learning_rate=0.05, average=0.0)
    losses = [done.loss for done in Training(TinyDenoiser(), basis, [make_subject()], config)]
    assert np.mean(losses[-30:]) < np.mean(losses[:30]) - 0.01


@pytest.mark.parametrize("learn", ["coefficients", "mapper"])
def test_the_same_seed_gives_the_same_numbers_and_another_seed_does_not(basis: CelebBasis, learn: str) -> None:
    config = dataclasses.replace(CONFIG, learn=learn)  # type: ignore[arg-type]
    assert np.array_equal(coefficients_after(basis, config), coefficients_after(basis, config))
    other = dataclasses.replace(config, seed=1)
    assert not np.array_equal(coefficients_after(basis, config), coefficients_after(basis, other))


@pytest.mark.parametrize("learn", ["coefficients", "mapper"])
def test_a_resumed_run_is_the_uninterrupted_one(basis: CelebBasis, learn: str) -> None:
    config = dataclasses.replace(CONFIG, learn=learn)  # type: ignore[arg-type]
    first = Training(TinyDenoiser(), basis, [make_subject()], config)
    list(islice(first, 5))
    resumed = Training(TinyDenoiser(), basis, [make_subject()], config, first.state_dict())
    assert resumed.step == 5
    assert [done.step for done in resumed] == list(range(6, 13))
    assert np.array_equal(resumed.stored(), coefficients_after(basis, config))


def test_the_sphere_has_the_radius_that_was_asked_for(basis: CelebBasis) -> None:
    for radius, expected in (("unit", np.ones(2)), ("celebrities", basis.radius)):
        config = dataclasses.replace(CONFIG, radius=radius, average=0.0)
        norms = np.linalg.norm(coefficients_after(basis, config)[0], axis=-1)
        assert np.allclose(norms, expected, rtol=1e-4)


def test_the_stored_numbers_are_the_average(basis: CelebBasis) -> None:
    config = dataclasses.replace(CONFIG, average=0.5)
    training = Training(TinyDenoiser(), basis, [make_subject()], config)
    expected = training.coefficients().detach()
    for done in training:
        decay = min(0.5, done.step / (done.step + 9))
        expected = decay * expected + (1 - decay) * training.coefficients().detach()
        assert np.allclose(done.coefficients, expected.numpy(), atol=1e-6)


def test_fewer_components_can_be_used_and_more_are_refused(basis: CelebBasis) -> None:
    assert coefficients_after(basis, dataclasses.replace(CONFIG, components=3)).shape == (1, 2, 3)
    with pytest.raises(InvalidSettings, match="between 1 and 8, got 9"):
        coefficients_after(basis, dataclasses.replace(CONFIG, components=9))


def test_several_people_are_learned_at_once(basis: CelebBasis) -> None:
    subjects = [make_subject("anna-cb", 1), make_subject("ben-cb", 2)]
    training = Training(TinyDenoiser(), basis, subjects, dataclasses.replace(CONFIG, learn="mapper"))
    steps = list(training)
    assert steps[-1].coefficients.shape == (2, *basis.shape)
    assert not np.allclose(steps[-1].coefficients[0], steps[-1].coefficients[1])


def test_the_description_stands_in_the_prompts_unless_switched_off(basis: CelebBasis) -> None:
    for explain in (True, False):
        denoiser = TinyDenoiser()
        config = dataclasses.replace(CONFIG, explain=explain, steps=2)
        list(Training(denoiser, basis, [make_subject(description=("red background", "smiling"))], config))
        assert all(("red background" in p and "smiling" in p) == explain for p in denoiser.seen_prompts)
        assert all("anna-cb" in p for p in denoiser.seen_prompts)


def test_the_mask_turns_the_loss_to_the_head(basis: CelebBasis) -> None:
    masked = Training(TinyDenoiser(), basis, [make_subject()], dataclasses.replace(CONFIG, background_weight=0.0))
    plain = Training(TinyDenoiser(), basis, [make_subject()], dataclasses.replace(CONFIG, face_mask=False))
    weights = masked.views[0].weights[0, 0]
    assert weights[0, 0] == 0
    assert weights[4, 4] > 1.5
    assert weights.mean() == pytest.approx(1, abs=1e-5)
    assert (plain.views[0].weights == 1).all()


def test_the_first_view_is_the_photo_and_mirrored_ones_are_mirrored(basis: CelebBasis) -> None:
    subject = make_subject()
    denoiser = TinyDenoiser()
    config = dataclasses.replace(CONFIG, views=2, zoom=0.0, flip=True)
    latents = Training(denoiser, basis, [subject], config).views[0].latents
    pixels = torch.from_numpy(subject.photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert torch.allclose(latents[0], denoiser.encode_image(pixels)[0], atol=1e-4)
    assert torch.allclose(latents[1], latents[0].flip(-1), atol=1e-4)


def test_a_loss_that_is_no_number_ends_the_run(basis: CelebBasis) -> None:
    denoiser = TinyDenoiser()
    denoiser.image.weight.data[:] = float("nan")
    with pytest.raises(TrainingDiverged, match="nan at step 1"):
        list(Training(denoiser, basis, [make_subject()], CONFIG))


def test_noise_and_targets_against_the_diffusers_scheduler() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(prediction_type="v_prediction")
    x_0, noise = torch.randn(2, 5, 4, 8, 8)
    timesteps = torch.tensor([0, 10, 400, 800, 999])
    alpha_bar = scheduler.alphas_cumprod[timesteps]
    assert torch.allclose(add_noise(x_0, noise, alpha_bar), scheduler.add_noise(x_0, noise, timesteps), atol=1e-6)
    expected = scheduler.get_velocity(x_0, noise, timesteps)
    assert torch.allclose(training_target("v_prediction", x_0, noise, alpha_bar), expected, atol=1e-6)
    assert training_target("epsilon", x_0, noise, alpha_bar) is noise


def test_word_vectors_are_differentiable_and_agree_with_the_plain_formula(basis: CelebBasis) -> None:
    from celebbasis_ext.basis import word_vectors

    coefficients = new_coefficients(basis, CONFIG, np.zeros((3, 16), np.float32))()
    vectors = VectorsFromCoefficients(basis)(coefficients)["clip_l"]
    assert np.allclose(vectors.detach(), word_vectors(basis, coefficients.detach().numpy())["clip_l"], atol=1e-6)
    assert vectors.requires_grad


@pytest.mark.parametrize("learn", ["coefficients", "mapper"])
def test_autocast_does_not_touch_what_is_learned(basis: CelebBasis, learn: str) -> None:
    config = dataclasses.replace(CONFIG, learn=learn)  # type: ignore[arg-type]
    with torch.autocast("cpu", torch.bfloat16):
        training = Training(TinyDenoiser(), basis, [make_subject()], config)
        start = training.stored()
        steps = [done.coefficients for done in training]
    assert training.coefficients().dtype == torch.float32
    assert all(np.abs(after - before).max() > 0 for before, after in zip([start, *steps], steps, strict=False))
