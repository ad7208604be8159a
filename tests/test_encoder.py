"""Faces to coefficients at once: against the truth of made-up worlds, scikit-learn, and the miniature's judge."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from celebbasis_ext.cli import main
from celebbasis_ext.coefficients import AnchoredCoefficients, new_coefficients
from celebbasis_ext.dataset import encode_views, pick_views
from celebbasis_ext.encoder import (
    Pairs,
    agreement,
    answers,
    check_encoder,
    learn_encoder,
    pairs_of,
    understand,
    with_sureness,
)
from celebbasis_ext.encoder_job import SHIPPED, Checked, encoder_path, insert_people, teach_encoder, with_encoder
from celebbasis_ext.errors import InvalidName, InvalidSettings, TooFewNames, WrongEncoder
from celebbasis_ext.files.embedding import load_embedding, stored_fact
from celebbasis_ext.files.encoder import load_encoder, save_encoder
from celebbasis_ext.gallery import gather
from celebbasis_ext.jobs import Order, basis_of, one_person, prepare, train_people
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.optimiser import WholeMatrixAdam
from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.train import Training
from celebbasis_ext.types import CelebBasis, Checkpoint, Encoder, Gallery, Gathered, Saved, Shot, TrainConfig
from tests.conftest import TinyDenoiser, make_basis, make_subject

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop

CHECKPOINT = Checkpoint("tiny", "0" * 64, "sd1", "epsilon", 64)
FACES = "drawn"
IDENTITY = 32


def world(basis: CelebBasis, noise: float = 0.05, bent: bool = False) -> Pairs:
    """Faces that are a fixed function of their names' coefficients, four pictures each, with noise."""
    rng = np.random.default_rng(0)
    flat = basis.coefficients.reshape(len(basis.names), -1)
    mixed = flat @ rng.standard_normal((flat.shape[1], IDENTITY)) / 3
    if bent:
        mixed = np.sign(mixed) * np.square(mixed)
    names = np.repeat(np.arange(len(flat)), 4)
    faces = mixed[names] + noise * rng.standard_normal((len(names), IDENTITY))
    return Pairs(faces.astype(np.float32), flat[names], names, np.ones(len(names), np.float32))


@pytest.fixture(scope="module")
def known() -> CelebBasis:
    return make_basis(names=200)


@pytest.fixture(scope="module")
def encoder(known: CelebBasis) -> Encoder:
    return learn_encoder(world(known), known, CHECKPOINT, FACES)


def test_the_answer_is_ridge_regression_on_the_celebrities_sphere(known: CelebBasis, encoder: Encoder) -> None:
    pairs = world(known)
    fitted = Ridge(float(encoder.facts["model"])).fit(pairs.identities, pairs.coefficients)
    expected = fitted.predict(pairs.identities[:5]).reshape(5, 2, -1)
    expected *= known.radius[:, None] / np.linalg.norm(expected, axis=-1, keepdims=True)
    np.testing.assert_allclose(answers(encoder, pairs.identities[:5]), expected, atol=1e-4)


def test_a_new_face_is_found_where_it_belongs(known: CelebBasis, encoder: Encoder) -> None:
    """People who were held out: their own coefficients are nearer than anybody else's."""
    pairs = world(known)
    seen = pairs.some(np.flatnonzero(pairs.names < 150))
    taught = learn_encoder(seen, known, CHECKPOINT, FACES)
    held_out = np.flatnonzero(pairs.names >= 150)[::4]
    given = answers(taught, pairs.identities[held_out]).reshape(50, -1)
    every = known.coefficients.reshape(200, -1)
    nearest = np.argmax(given @ (every / np.linalg.norm(every, axis=1, keepdims=True)).T, axis=1)
    assert np.mean(nearest == pairs.names[held_out]) > 0.9
    assert float(taught.facts["explained on held-out names"]) > 0.8


def test_a_network_is_taken_where_faces_are_bent(known: CelebBasis) -> None:
    """Roots and squares are no linear matter; the answers are the network's own."""
    many = make_basis(names=900, width=3)
    bent = learn_encoder(world(many, noise=0.0, bent=True), many, CHECKPOINT, FACES)
    assert bent.facts["model"] == "network"
    pairs = world(many, noise=0.0, bent=True)
    miss = answers(bent, pairs.identities) - pairs.coefficients.reshape(len(pairs.names), 2, -1)
    straight = learn_encoder(world(many), many, CHECKPOINT, FACES)
    worse = answers(straight, pairs.identities) - pairs.coefficients.reshape(len(pairs.names), 2, -1)
    assert np.square(miss).mean() < np.square(worse).mean()


def test_poor_pictures_and_strangers_teach_nothing(known: CelebBasis) -> None:
    good = [Shot(name, "{}", i, 1, None, np.eye(IDENTITY, dtype=np.float32)[i % IDENTITY], 0.9)
            for i, name in enumerate(known.names[:30])]  # fmt: skip
    bad = [dataclasses.replace(good[0], quality=0.2), dataclasses.replace(good[1], faces=2),
           dataclasses.replace(good[2], name="not known")]  # fmt: skip
    assert len(pairs_of(Gallery((*good, *bad), "g", FACES), known).names) == 30
    with pytest.raises(TooFewNames, match="Only 19 names"):
        pairs_of(Gallery(tuple(good[:19]), "g", FACES), known)


def test_files_come_back_and_damaged_ones_are_refused(encoder: Encoder, tmp_path: Path) -> None:
    path = tmp_path / "encoder.safetensors"
    save_encoder(encoder, path)
    read = load_encoder(path)
    for name, value in vars(encoder).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(read, name), value)
    assert (read.basis, read.checkpoint, read.faces, dict(read.facts)) == (
        encoder.basis, encoder.checkpoint, encoder.faces, dict(encoder.facts),
    )  # fmt: skip
    whole = path.read_bytes()
    for damaged in (whole[:-9], whole[: len(whole) // 2], b"", b"\0" * 64):
        path.write_bytes(damaged)
        with pytest.raises(WrongEncoder, match="no encoder"):
            load_encoder(path)
    save_encoder(dataclasses.replace(encoder, bias=encoder.bias[:-1]), path)
    with pytest.raises(WrongEncoder, match="bias has the shape"):
        load_encoder(path)


def test_an_encoder_serves_no_other_checkpoint_basis_or_face_models(known: CelebBasis, encoder: Encoder) -> None:
    check_encoder(encoder, known, CHECKPOINT, FACES)
    for basis, checkpoint, faces, said in (
        (dataclasses.replace(known, fingerprint="other"), CHECKPOINT, FACES, "basis"),
        (known, dataclasses.replace(CHECKPOINT, sha256="f" * 64), FACES, "ffffffffff"),
        (known, CHECKPOINT, "photographed", "photographed"),
    ):
        with pytest.raises(WrongEncoder, match=said):
            check_encoder(encoder, basis, checkpoint, faces)


def test_sureness_is_calibrated(known: CelebBasis, encoder: Encoder) -> None:
    """Where likeness follows the agreement, what is expected is what is measured, and doubt is the noise."""
    pairs, rng = world(known), np.random.default_rng(1)
    foretold = agreement(encoder, pairs.identities, answers(encoder, pairs.identities))
    likeness = 0.1 + 0.5 * foretold + 0.03 * rng.standard_normal(len(foretold))
    sure = with_sureness(encoder, foretold, likeness.astype(np.float32))
    assert sure.doubt == pytest.approx(0.03, rel=0.1)
    assert understand(sure, pairs.identities[0]).expected_likeness == pytest.approx(0.1 + 0.5 * foretold[0], abs=0.01)
    assert np.isnan(understand(encoder, pairs.identities[0]).expected_likeness)


def test_agreement_falls_with_what_was_never_seen(known: CelebBasis, encoder: Encoder) -> None:
    """Faces of the made-up world agree with what comes back of their coefficients; noise does not."""
    faces, rng = world(known).identities[:50], np.random.default_rng(2)
    strange = rng.standard_normal(faces.shape).astype(np.float32)
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (faces, strange)]
    own, other = (agreement(encoder, x, answers(encoder, x)).mean() for x in unit)
    assert own > 0.9
    assert other < own - 0.1


def test_several_photos_are_weighed_by_quality_in_any_order() -> None:
    first, second = make_subject(seed=1), make_subject(seed=2)
    good, poor = dataclasses.replace(first, quality=0.9), dataclasses.replace(second, quality=0.1)
    both = one_person([poor, good])
    assert both.photo is good.photo
    assert [other.photo is poor.photo for other in both.more] == [True]
    np.testing.assert_array_equal(both.identity, one_person([good, poor]).identity)
    mean = 0.9 * good.identity + 0.1 * poor.identity
    np.testing.assert_allclose(both.identity, mean / np.linalg.norm(mean), atol=1e-6)


def test_views_of_several_photos_keep_their_own_words(denoiser: TinyDenoiser) -> None:
    subject = one_person([make_subject(seed=1, description=("red",)), make_subject(seed=2, description=("blue",))])
    views = encode_views(denoiser, subject, TrainConfig(views=3))
    assert views.descriptions == (("red",),) * 3 + (("blue",),) * 3
    picked = pick_views(views, 6, torch.Generator().manual_seed(0))
    for latents, words in zip(picked.latents, picked.descriptions, strict=True):
        at = next(i for i, own in enumerate(views.latents) if torch.equal(own, latents))
        assert views.descriptions[at] == words
    assert sorted(picked.descriptions) == sorted(views.descriptions)


WARM = dataclasses.replace(RECIPES["warm"], steps=4, views=2)


def test_training_starts_at_the_answer_and_moves_as_far_as_the_encoder_errs(
    known: CelebBasis, encoder: Encoder
) -> None:
    identities = world(known).identities[:2]
    coefficients = new_coefficients(known, WARM, identities, encoder)
    assert isinstance(coefficients, AnchoredCoefficients)
    np.testing.assert_allclose(coefficients().detach().numpy(), answers(encoder, identities), atol=1e-5)
    values = torch.randn(20_000, coefficients.values.shape[1], generator=torch.Generator().manual_seed(0))
    moved = torch.einsum("tkn,pn->ptk", coefficients.root, values).flatten(1).numpy()
    np.testing.assert_allclose(np.cov(moved.T), encoder.spread @ encoder.spread.T, atol=0.05 * np.ptp(np.cov(moved.T)))


def test_the_pull_holds_people_at_the_answer(known: CelebBasis, encoder: Encoder, denoiser: TinyDenoiser) -> None:
    subject = dataclasses.replace(make_subject(), identity=world(known).identities[0])
    start = answers(encoder, subject.identity[None])[0]

    def distance(weight_decay: float) -> float:
        config = dataclasses.replace(WARM, steps=20, weight_decay=weight_decay)
        *_, last = Training(denoiser, known, (subject,), config, encoder=encoder)
        return float(np.linalg.norm(last.coefficients[0] - start))

    free, pulled = distance(0.0), distance(4.0)
    assert 0 < pulled < 0.7 * free


def test_weight_decay_is_that_of_adamw() -> None:
    parameter = torch.nn.Parameter(torch.ones(1, 3))
    optimiser = WholeMatrixAdam([parameter], lr=0.1, weight_decay=0.5)
    parameter.grad = torch.zeros(1, 3)
    optimiser.step()
    torch.testing.assert_close(parameter.detach(), torch.full((1, 3), 0.95))


def test_without_an_encoder_training_cannot_start_there(basis: CelebBasis, encoder: Encoder) -> None:
    with pytest.raises(InvalidSettings, match="there is none"):
        new_coefficients(basis, WARM, np.zeros((1, IDENTITY), np.float32))
    with pytest.raises(InvalidSettings, match="a mapper is learned"):
        mapper = dataclasses.replace(WARM, learn="mapper")
        new_coefficients(basis, mapper, np.zeros((1, IDENTITY), np.float32), encoder)


@pytest.fixture(scope="module")
def taught(miniature: Workshop) -> Workshop:
    """The miniature with the encoder that comes with it."""
    workshop = with_encoder(miniature)
    assert workshop.encoder is not None, f"{encoder_path(miniature, SHIPPED).name} is missing"
    return workshop


def portraits(seed: int, count: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    """The first stranger of a seed in different looks."""
    looks = [Look(background="red"), Look(shirt="green", expression="smiling"), Look(glasses=True), Look(hat="blue")]
    return [draw(strangers(1, seed)[0], look).image for look in looks[:count]]


def test_a_stranger_is_inserted_at_once_and_drawn_alike(taught: Workshop, tmp_path: Path) -> None:
    """Nearer to the portrait than another stranger is, and as sure as it says."""
    from celebbasis_ext.evaluate.score import score_pictures

    host = taught.host
    host.embeddings_dir = tmp_path  # type: ignore[misc]
    order = Order(tuple(portraits(71, 3)), ("instant-cb",) * 3)
    saved, (subject,), (person,) = insert_people(taught, order)
    seeds = list(range(4))
    drawn = host.generate(["a photo of instant-cb"] * 4, seeds, saved.embeddings)
    anybody = host.generate(["a photo of a person"] * 4, seeds)
    scores = score_pictures(taught.faces, subject.identity, drawn, anybody)
    assert scores.likeness > scores.impostors + 0.3
    assert abs(scores.likeness - person.expected_likeness) < 3 * person.doubt
    header = load_embedding(saved.paths[0])
    assert stored_fact(header, "photos") == 3
    assert "without training" in " ".join(header.metadata.values())


def test_an_instant_takes_an_instant(taught: Workshop) -> None:
    """All but the face and the file: basis from the cache, the answer, the word vectors."""
    from celebbasis_ext.basis import word_vectors

    subject = prepare(taught, Order((portraits(72, 1)[0],), ("quick-cb",), descriptions=((),)))[0]
    basis_of(taught)
    assert taught.encoder is not None
    started = time.process_time()
    person = understand(taught.encoder, subject.identity)
    word_vectors(basis_of(taught), person.coefficients)
    assert time.process_time() - started < 0.3


def test_a_warm_start_is_trained_and_saved(taught: Workshop, tmp_path: Path) -> None:
    taught.host.embeddings_dir = tmp_path  # type: ignore[misc]
    order = Order(tuple(portraits(73, 2)), ("warm-cb", "warm-cb"), WARM)
    *_, saved = train_people(taught, order)
    assert isinstance(saved, Saved)
    assert [path.stem for path in saved.paths] == ["warm-cb"]
    assert stored_fact(load_embedding(saved.paths[0]), "photos") == 2
    clash = dataclasses.replace(order, names=("warm-cb", "Warm-cb"), overwrite=True)
    with pytest.raises(InvalidName, match="capitals"):
        prepare(taught, clash)


def test_an_encoder_that_cannot_be_read_is_as_good_as_none(
    miniature: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("celebbasis_ext.encoder_job.SHIPPED", tmp_path)
    encoder_path(miniature, tmp_path).write_bytes(b"nothing")
    assert with_encoder(miniature).encoder is None
    assert "no encoder that can be read" in caplog.text
    with pytest.raises(WrongEncoder, match="No encoder was learned yet"):
        insert_people(miniature, Order((portraits(74, 1)[0],), ("nobody-cb",)))


def test_a_small_gallery_teaches_and_is_checked(miniature: Workshop, tmp_path: Path) -> None:
    """Thirty names with a picture each are few, but what they say of held-out faces is no chance."""
    *_, gathered = gather(miniature, miniature.names[:30], 1, tmp_path / "galleries", steps=4)
    assert isinstance(gathered, Gathered)
    path = tmp_path / "encoder.safetensors"
    *events, encoder = teach_encoder(miniature, gathered.gallery, path, checked=8)
    assert isinstance(encoder, Encoder)
    assert [event.done for event in events if isinstance(event, Checked)] == list(range(1, 9))
    assert np.isfinite(encoder.sureness).all()
    assert load_encoder(path).facts["gallery"] == gathered.gallery.fingerprint


def test_the_command_inserts_and_says_how_sure_it_is(
    taught: Workshop, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    paths = []
    for i, portrait in enumerate(portraits(76, 2)):
        paths.append(tmp_path / f"{i}.png")
        Image.fromarray(portrait).save(paths[-1])
    out = tmp_path / "out"
    assert main(["insert", *map(str, paths), "--name", "anna-cb", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert (out / "anna-cb.safetensors").exists()
    assert "understood from 2 photos; expected likeness 0." in printed
    assert main(["insert", str(paths[0]), "--name", "anna-cb", "--out", str(out)]) == 2
