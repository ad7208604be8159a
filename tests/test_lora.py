"""LoRAs: attached and taken off, learned, saved and read, and by whole commands in the miniature."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.numpy import load_file, save_file
from torch import nn

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.cli import main
from celebbasis_ext.errors import InvalidLora, InvalidName, NameTaken, NoFaceFound, TrainingDiverged, WrongEncoder
from celebbasis_ext.files.lora import load_lora, lora_folder, pack_metadata, save_lora
from celebbasis_ext.jobs import Order, Workshop, basis_of, prepare
from celebbasis_ext.lora import LowRankLayers, applied, check_fit
from celebbasis_ext.lora_job import adapt_checkpoint, learn_people
from celebbasis_ext.lora_training import Known, LoraTraining
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.types import (
    Checkpoint,
    Encoder,
    Lora,
    LoraConfig,
    LoraSaved,
    LoraStepDone,
    LowRank,
    Saved,
    StepDone,
    TrainConfig,
)

PORTRAIT = draw(strangers(1, 808)[0], Look(background="red")).image
FAST = TrainConfig(steps=2, batch=2, views=2)
LORA = LoraConfig(steps=4, pairs=1, kept=1, learning_rate=1e-2)
CHECKPOINT = Checkpoint("tiny", "ab" * 32, "sd1", "epsilon", 96)


def two_linears() -> dict[str, nn.Linear]:
    torch.manual_seed(0)
    return {"lora_unet_a": nn.Linear(3, 5), "lora_unet_b": nn.Linear(4, 6, bias=False)}


def some_lora(linears: dict[str, nn.Linear], name: str = "anna-cb", rank: int = 2) -> Lora:
    rng = np.random.default_rng(1)
    layers = {
        key: LowRank(
            rng.standard_normal((rank, linear.in_features)).astype(np.float32),
            rng.standard_normal((linear.out_features, rank)).astype(np.float32),
        )
        for key, linear in linears.items()
    }
    return Lora(name, layers)


def test_what_is_applied_is_the_formula_and_comes_off_again() -> None:
    linears = two_linears()
    linear, lora, other = linears["lora_unet_a"], some_lora(linears), some_lora(linears, "ben-cb", rank=3)
    x = torch.randn(7, 2, 3)
    before = linear(x)
    with applied(linears, [(lora, 0.5), (other, 2.0)]):
        during = linear(x)
    matrix = linear.weight.detach().numpy().copy()
    for one, weight in ((lora, 0.5), (other, 2.0)):
        matrix += weight * one.layers["lora_unet_a"].up @ one.layers["lora_unet_a"].down
    expected = x.numpy() @ matrix.T + linear.bias.detach().numpy()
    assert np.allclose(during.detach().numpy(), expected, atol=1e-5)
    assert torch.equal(linear(x), before)
    assert not linear._forward_hooks


def test_layers_come_off_whatever_happens() -> None:
    linears = two_linears()
    before = {name: linear(torch.ones(linear.in_features)) for name, linear in linears.items()}
    with pytest.raises(ZeroDivisionError), applied(linears, [(some_lora(linears), 1.0)]):
        raise ZeroDivisionError
    good, bad = some_lora(linears), Lora("far-cb", {"lora_unet_c": LowRank(np.ones((1, 3)), np.ones((5, 1)))})
    with pytest.raises(InvalidLora, match="no layer lora_unet_c"), applied(linears, [(good, 1.0), (bad, 1.0)]):
        raise AssertionError
    assert all(torch.equal(linear(torch.ones(linear.in_features)), before[name]) for name, linear in linears.items())


def test_a_lora_of_another_width_is_refused() -> None:
    linears = two_linears()
    lora = some_lora({"lora_unet_a": nn.Linear(8, 5)})
    with pytest.raises(InvalidLora, match=r"expected \(5, 3\).*got \(5, 8\)"):
        check_fit(linears, lora)


def test_new_layers_change_nothing_until_they_learn() -> None:
    linears = two_linears()
    layers = LowRankLayers(linears, 4, seed=3)
    x = torch.randn(2, 3)
    before = linears["lora_unet_a"](x)
    with layers.attached(linears):
        assert torch.equal(linears["lora_unet_a"](x), before)
    assert all(down.abs().max() > 0 for down in layers.down)
    assert torch.equal(LowRankLayers(linears, 4, seed=3).down[1], layers.down[1])


def test_the_file_is_kohyas(tmp_path: Path) -> None:
    lora = some_lora(two_linears())
    header = pack_metadata(lora, CHECKPOINT, "learned", trigger="anna-cb", settings={"steps": 3})
    path = save_lora(dataclasses.replace(lora, metadata=header), tmp_path / "loras")
    tensors = load_file(path)
    assert path.name == "anna-cb.safetensors"
    assert {key: value.shape for key, value in tensors.items()} == {
        "lora_unet_a.lora_down.weight": (2, 3), "lora_unet_a.lora_up.weight": (5, 2), "lora_unet_a.alpha": (),
        "lora_unet_b.lora_down.weight": (2, 4), "lora_unet_b.lora_up.weight": (6, 2), "lora_unet_b.alpha": (),
    }  # fmt: skip
    assert tensors["lora_unet_a.alpha"] == 2
    read = load_lora(path)
    assert read.name == "anna-cb" and read.metadata == header
    for name, layer in lora.layers.items():
        assert np.array_equal(read.layers[name].down, layer.down) and np.array_equal(read.layers[name].up, layer.up)
    assert header["ss_output_name"] == "anna-cb" and header["ss_network_dim"] == "2" and header["ss_v2"] == "False"
    assert json.loads(header["ss_tag_frequency"]) == {"anna-cb": {"anna-cb": 1}}
    assert json.loads(header["celebbasis.checkpoint"])["sha256"] == "ab" * 32
    assert json.loads(header["celebbasis.settings"]) == {"steps": 3}


@pytest.mark.parametrize(
    ("family", "key", "value"), [("sdxl", "ss_base_model_version", "sdxl_"), ("sd2", "ss_v2", "True")]
)
def test_hosts_see_the_family(family: Any, key: str, value: str) -> None:
    checkpoint = dataclasses.replace(CHECKPOINT, family=family)
    assert pack_metadata(some_lora(two_linears()), checkpoint, "learned")[key].startswith(value)


def test_other_peoples_alpha_is_heeded(tmp_path: Path) -> None:
    down, up = np.ones((4, 3), np.float16), np.ones((5, 4), np.float16)
    tensors = {"x.lora_down.weight": down, "x.lora_up.weight": up, "x.alpha": np.array(1, np.float16)}
    save_file(tensors, tmp_path / "theirs.safetensors")
    layer = load_lora(tmp_path / "theirs.safetensors").layers["x"]
    assert np.allclose(layer.up @ layer.down, 4 * np.ones((5, 3)) * 0.25)


BROKEN: dict[str, dict[str, np.ndarray]] = {
    "nothing": {"emb_params": np.ones((2, 96), np.float32)},
    "more": {"x.lora_down.weight": np.ones((4, 3)), "x.lora_up.weight": np.ones((5, 4)), "x.dora_scale": np.ones(1)},
    "half": {"x.lora_down.weight": np.ones((4, 3))},
    "a convolution": {"x.lora_down.weight": np.ones((4, 3, 3, 3)), "x.lora_up.weight": np.ones((5, 4, 1, 1))},
    "ranks": {"x.lora_down.weight": np.ones((4, 3)), "x.lora_up.weight": np.ones((5, 2))},
    "nan": {"x.lora_down.weight": np.full((4, 3), np.nan), "x.lora_up.weight": np.ones((5, 4))},
}


@pytest.mark.parametrize("kind", [*BROKEN, "cut off", "text", "missing", "a folder"])
def test_what_is_no_lora_is_refused_with_a_sentence(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file({k: v.astype(np.float32) for k, v in BROKEN.get(kind, BROKEN["nothing"]).items()}, path)
    if kind == "cut off":
        path.write_bytes(path.read_bytes()[:-8])
    elif kind == "text":
        path.write_text("a poem")
    elif kind == "missing":
        path.unlink()
    elif kind == "a folder":
        path = tmp_path
    with pytest.raises(InvalidLora, match="cannot be read as a LoRA") as caught:
        load_lora(path)
    assert caught.value.hint


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    lora = some_lora(two_linears())
    path = save_lora(lora, tmp_path)
    before = path.read_bytes()
    changed = dataclasses.replace(lora, metadata={"a": "b"})
    for name in ("anna-cb", "Anna-CB"):
        with pytest.raises(NameTaken, match="overwrite it"):
            save_lora(dataclasses.replace(changed, name=name), tmp_path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    save_lora(changed, tmp_path, overwrite=True)
    assert load_lora(path).metadata == {"a": "b"}
    (tmp_path / "others").mkdir()
    path.rename(tmp_path / "others" / path.name)
    with pytest.raises(NameTaken, match="Move that file away"):
        save_lora(changed, tmp_path, overwrite=True)
    with pytest.raises(InvalidName):
        save_lora(dataclasses.replace(lora, name="a:b"), tmp_path)


def test_loras_go_where_the_host_looks_for_them(tmp_path: Path) -> None:
    assert lora_folder(tmp_path / "embeddings") == tmp_path / "loras"
    (tmp_path / "models" / "Lora").mkdir(parents=True)
    assert lora_folder(tmp_path / "embeddings") == tmp_path / "models" / "Lora"


def trained(workshop: Workshop, config: LoraConfig) -> LoraTraining:
    (subject,) = prepare(workshop, Order((PORTRAIT,), ("zz-cb",), FAST, overwrite=True))
    basis = basis_of(workshop)
    vectors = word_vectors(basis, basis.coefficients[:1])
    own = {encoder: rows[0] for encoder, rows in vectors.items()}
    linears = workshop.host.cross_attention()
    with workshop.host.training() as denoiser:
        training = LoraTraining(denoiser, linears, [Known(subject, own)], basis.names, FAST, config)
        training.losses = [done.loss for done in training]  # type: ignore[attr-defined]
    return training


def test_a_lora_learns_and_the_same_seed_learns_the_same(miniature: Workshop) -> None:
    first, second = trained(miniature, LORA), trained(miniature, LORA)
    layers, again = first.stored("zz-cb").layers, second.stored("zz-cb").layers
    assert len(layers) == len(miniature.host.cross_attention()) > 0
    assert all(np.abs(layer.up).max() > 0 for layer in layers.values())
    assert all(np.array_equal(layers[name].up, again[name].up) for name in layers)


def test_what_has_no_trigger_word_holds_the_lora_back(miniature: Workshop) -> None:
    """The same steps with and without: celebrities change less in the pictures of the one that has to keep them."""

    def change(config: LoraConfig) -> float:
        training = trained(miniature, config)
        linears = miniature.host.cross_attention()
        x_t, timesteps = torch.randn(4, 4, 12, 12, generator=torch.Generator().manual_seed(0)), torch.full((4,), 500)
        with miniature.host.training() as denoiser, torch.no_grad():
            conditioning = denoiser.encode_prompt([f"a photo of {name}" for name in basis_of(miniature).names[:4]], {})
            before = denoiser.predict(x_t, timesteps, conditioning)
            with training.layers.attached(linears):
                return float((denoiser.predict(x_t, timesteps, conditioning) - before).square().mean())

    config = dataclasses.replace(LORA, steps=25, kept=3, keep_weight=10.0)
    assert change(config) < 0.5 * change(dataclasses.replace(config, kept=0))


def test_a_loss_that_is_no_number_ends_the_lora(miniature: Workshop) -> None:
    with pytest.raises(TrainingDiverged, match="LoRA"):
        trained(miniature, dataclasses.replace(LORA, learning_rate=1e30))


@pytest.fixture
def workshop(miniature: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    monkeypatch.setattr(miniature.host, "embeddings_dir", tmp_path / "embeddings")
    return miniature


def order(**more: Any) -> Order:
    return Order((PORTRAIT,), ("zz-cb",), FAST, lora=LORA, **more)


def test_people_and_their_loras(workshop: Workshop, tmp_path: Path) -> None:
    events = list(learn_people(workshop, order()))
    kinds = [type(event) for event in events]
    assert kinds[1:] == [StepDone, StepDone, Saved, *[LoraStepDone] * 4, LoraSaved]
    saved = events[-1]
    assert isinstance(saved, LoraSaved) and saved.finished
    assert saved.paths == (tmp_path / "loras" / "zz-cb.safetensors",)
    header = load_lora(saved.paths[0]).metadata
    assert header["modelspec.trigger_phrase"] == "zz-cb"
    assert json.loads(header["celebbasis.settings"]) == dataclasses.asdict(LORA)
    with pytest.raises(NameTaken):
        next(learn_people(workshop, order()))


def test_a_taken_lora_name_is_found_before_any_work(workshop: Workshop, tmp_path: Path) -> None:
    save_lora(some_lora(two_linears(), "zz-cb"), tmp_path / "loras")
    with pytest.raises(NameTaken, match="LoRA"):
        next(learn_people(workshop, order()))
    assert not (tmp_path / "embeddings").exists()


def stopped_after(count: int) -> Callable[[], bool]:
    asked = iter(range(1000))
    return lambda: next(asked) >= count


def test_stop_keeps_the_embedding_and_leaves_no_half_lora(workshop: Workshop, tmp_path: Path) -> None:
    before = workshop.host.generate(["a photo of emma adams"], [1], steps=2)
    *_, last = learn_people(workshop, order(), stopped_after(3))
    assert isinstance(last, LoraSaved) and not last.finished and not last.paths
    assert [path.name for path in (tmp_path / "embeddings").iterdir()] == ["zz-cb.safetensors"]
    assert not (tmp_path / "loras").exists()
    assert not any(linear._forward_hooks for linear in workshop.host.cross_attention().values())
    assert np.array_equal(workshop.host.generate(["a photo of emma adams"], [1], steps=2)[0], before[0])


def test_a_stopped_training_begins_no_lora(workshop: Workshop, tmp_path: Path) -> None:
    *_, last = learn_people(workshop, order(), lambda: True)
    assert isinstance(last, Saved) and not last.finished
    assert not (tmp_path / "loras").exists()


@pytest.fixture
def encoded(workshop: Workshop) -> Workshop:
    """With an encoder that takes everybody for a mixture of two celebrities."""
    basis = basis_of(workshop)
    rows = basis.coefficients.reshape(len(basis.names), -1)
    width, none = len(prepare(workshop, order(overwrite=True))[0].identity), np.zeros(0, np.float32)
    encoder = Encoder(
        np.outer(np.ones(width), rows[0]).astype(np.float32), rows[1], (), basis.radius, none, none, none, 0.0,
        basis.fingerprint, workshop.host.checkpoint.key, workshop.faces.name,
    )  # fmt: skip
    return dataclasses.replace(workshop, encoder=encoder)


def test_a_checkpoints_lora_of_many_people(encoded: Workshop, tmp_path: Path) -> None:
    photos = [draw(person, Look(background="red")).image for person in strangers(3, 77)]
    photos.insert(1, np.full((96, 96, 3), 128, np.uint8))
    *steps, saved = adapt_checkpoint(encoded, photos, "many-cb", LORA)
    assert [step.step for step in steps if isinstance(step, LoraStepDone)] == [1, 2, 3, 4]
    assert isinstance(saved, LoraSaved) and saved.paths == (tmp_path / "loras" / "many-cb.safetensors",)
    read = load_lora(saved.paths[0])
    assert "modelspec.trigger_phrase" not in read.metadata
    assert json.loads(read.metadata["celebbasis.photos"]) == 3
    assert all(np.abs(layer.up).max() > 0 for layer in read.layers.values())
    with pytest.raises(NameTaken):
        next(adapt_checkpoint(encoded, photos, "many-cb", LORA))
    with pytest.raises(NoFaceFound, match="None of 1"):
        next(adapt_checkpoint(encoded, photos[1:2], "none-cb", LORA))
    *_, stopped = adapt_checkpoint(encoded, photos, "half-cb", LORA, stop=lambda: True)
    assert isinstance(stopped, LoraSaved) and not stopped.finished
    assert not (tmp_path / "loras" / "half-cb.safetensors").exists()


def test_without_an_encoder_there_is_nothing_to_adapt_to(workshop: Workshop) -> None:
    with pytest.raises(WrongEncoder, match="No encoder"):
        next(adapt_checkpoint(dataclasses.replace(workshop, encoder=None), [PORTRAIT], "many-cb", LORA))


def test_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], out: Path) -> None:
    Pillow.fromarray(PORTRAIT).save(tmp_path / "anna.png")
    command = [
        "train",
        str(tmp_path / "anna.png"),
        "--name",
        "anna-cb",
        "--out",
        str(out),
        "--steps",
        "2",
        "--batch",
        "2",
    ]
    fast = ["--views", "2", "--pictures", "1", "--lora", "--lora-steps", "2", "--lora-rank", "2"]
    assert main([*command, *fast]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "loras" / "anna-cb.safetensors"
    assert str(file) in printed and "<lora:anna-cb:1>" in printed and "with its LoRA" in printed
    assert {len(layer.down) for layer in load_lora(file).layers.values()} == {2}
    draw_it = ["generate", "a photo of anna-cb", "--embeddings", str(out), "--out", str(tmp_path), "--count", "1"]
    assert main([*draw_it, "--steps", "2"]) == main([*draw_it, "--steps", "2", "--lora", f"{file}:5.5"]) == 0
    plain, with_lora = (Pillow.open(tmp_path / f"0000{i}-0.png") for i in (1, 2))
    assert np.abs(np.asarray(plain, int) - np.asarray(with_lora)).max() > 0
    assert with_lora.info["parameters"].startswith("a photo of anna-cb <lora:anna-cb:5.5>\n")
    assert main([*draw_it, "--lora", str(out / "anna-cb.safetensors")]) == 2
    assert "cannot be read as a LoRA" in capsys.readouterr().err
    assert main([*command, "--lora-steps", "3"]) == 2
    assert "Add --lora" in capsys.readouterr().err
