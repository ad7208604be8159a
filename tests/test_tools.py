"""People out of people at the command line, and what is said of them, in the real miniature."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.numpy import load_file, save_file

from celebbasis_ext.basis import word_vectors
from celebbasis_ext.blend import mix, sample
from celebbasis_ext.cli import main
from celebbasis_ext.cli.mix import parent
from celebbasis_ext.files.embedding import load_embedding, stored_coefficients, stored_fact
from celebbasis_ext.jobs import Workshop, add_scores, basis_of
from celebbasis_ext.miniature.workshop import Assets
from celebbasis_ext.tools import Parent, embeddings_named_in
from celebbasis_ext.types import CelebBasis, Floats, Scores


@pytest.fixture(scope="module")
def basis(miniature: Workshop) -> CelebBasis:
    return basis_of(miniature)


def coefficients(path: Path) -> Floats:
    stored = stored_coefficients(load_embedding(path))
    assert stored is not None
    return stored


@pytest.mark.parametrize(
    ("text", "who", "weight"),
    [
        ("anna-cb.safetensors:0.6", "anna-cb.safetensors", 0.6), ("Marilyn Monroe:0.4", "Marilyn Monroe", 0.4),
        ("anna-cb", "anna-cb", 1), (r"C:\people\anna.safetensors:0.6", r"C:\people\anna.safetensors", 0.6),
        (r"C:\people\anna.safetensors", r"C:\people\anna.safetensors", 1), ("sample:7", "sample:7", 1),
        ("sample:7:-0.5", "sample:7", -0.5), ("a:b", "a:b", 1), ("anna:1e-1", "anna", 0.1),
    ],
)  # fmt: skip
def test_people_and_weights_are_read_from_the_right(text: str, who: str, weight: float) -> None:
    expected = Path(who) if who.endswith(".safetensors") else who
    assert parent(text) == Parent(expected, weight)


@pytest.mark.parametrize("text", ["anna:nan", "anna:inf"])
def test_a_weight_is_a_number(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["mix", text, "--name", "x-cb"])
    assert "expected a number" in capsys.readouterr().err


def test_a_fictional_person_is_written(out: Path, basis: CelebBasis, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--seed", "7", "--count", "2", "--out", str(out), "--also", "pt"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"fiction-{s}-cb: {out / f'fiction-{s}-cb.safetensors'}" for s in (7, 8)
    ]
    embedding = load_embedding(out / "fiction-7-cb.safetensors")
    assert np.allclose(coefficients(out / "fiction-7-cb.safetensors"), sample(basis, 7), rtol=1e-5)
    assert np.allclose(embedding.vectors["clip_l"], word_vectors(basis, sample(basis, 7))["clip_l"], atol=1e-6)
    assert "made up, nobody's photo" in embedding.metadata["celebbasis.made_by"]
    assert stored_fact(embedding, "sample") == {"seed": 7}
    old = load_embedding(out / "fiction-7-cb.pt")
    assert np.array_equal(old.vectors["clip_l"], embedding.vectors["clip_l"])


def test_people_of_all_kinds_are_mixed(
    out: Path, basis: CelebBasis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of ours by its name, anybody's file by its path, a celebrity in capitals, and a fictional person."""
    assert main(["sample", "--seed", "1", "--name", "one-cb", "--out", str(out)]) == 0
    foreign = word_vectors(basis, sample(basis, 2))["clip_l"]
    torch.save({"string_to_param": {"*": torch.from_numpy(foreign)}}, tmp_path / "two.pt")
    people = ["one-cb:0.4", f"{tmp_path / 'two.pt'}:0.3", f"{basis.names[5].upper()}:0.2", "sample:3:0.1"]
    assert main(["mix", *people, "--name", "blend-cb", "--out", str(out)]) == 0
    everybody = np.stack([sample(basis, 1), sample(basis, 2), basis.coefficients[5], sample(basis, 3)])
    expected = mix(everybody, [0.4, 0.3, 0.2, 0.1])
    assert np.allclose(coefficients(out / "blend-cb.safetensors"), expected, atol=1e-4)
    recorded = stored_fact(load_embedding(out / "blend-cb.safetensors"), "mix")
    assert recorded["route"] == "sphere"
    assert [(p["who"], p["weight"]) for p in recorded["parents"]] == [
        ("one-cb", 0.4), ("two.pt", 0.3), (basis.names[5].upper(), 0.2), ("sample:3", 0.1),
    ]  # fmt: skip
    assert main(["mix", *people, "--straight", "--name", "straight-cb", "--out", str(out)]) == 0
    expected = mix(everybody, [0.4, 0.3, 0.2, 0.1], "straight")
    assert np.allclose(coefficients(out / "straight-cb.safetensors"), expected, atol=1e-4)


def test_a_surprising_name_is_written_and_noted(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--name", "cb_01", "--out", str(out)]) == 0
    assert main(["sample", "--name", "cb_012", "--out", str(out)]) == 0
    assert "note: The existing cb_01 fires inside cb_012" in capsys.readouterr().err


def other_checkpoint(folder: Path, noise: float) -> Path:
    """A fine-tuned miniature: the same words, a little elsewhere."""
    tensors = load_file(Assets().checkpoint)
    key = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    table = tensors[key].astype(np.float32)
    known = table.any(axis=1)
    change = np.random.default_rng(0).standard_normal(table.shape) * table[known].std() * noise
    tensors[key] = np.where(known[:, None], table + change, 0).astype(np.float16)
    path = folder / "other.safetensors"
    save_file(tensors, path)
    return path


def test_a_person_moves_to_a_related_checkpoint(
    out: Path, basis: CelebBasis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "--seed", "7", "--name", "anna-cb", "--out", str(out)]) == 0
    there = ["--checkpoint", str(other_checkpoint(tmp_path, 0.1)), "--out", str(tmp_path / "there")]
    capsys.readouterr()
    assert main(["move", str(out / "anna-cb.safetensors"), "--name", "anna-cb", *there]) == 0
    said = capsys.readouterr().err
    assert "same combination of celebrities" in said and "the same person" in said
    before, after = (load_embedding(f / "anna-cb.safetensors") for f in (out, tmp_path / "there"))
    assert stored_fact(after, "checkpoint")["name"] == "other"
    assert stored_fact(after, "moved")["from"]["name"] == "miniature"
    assert stored_fact(after, "basis") != stored_fact(before, "basis") == basis.fingerprint
    a, b = (e.vectors["clip_l"] - basis.mean["clip_l"] for e in (before, after))
    assert np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.95


def test_a_prompt_is_drawn_with_the_people_it_names(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sample", "--seed", "3", "--count", "2", "--out", str(out)]) == 0
    pictures = tmp_path / "pictures"
    prompt = "a photo of Fiction-3-CB, at the beach"
    command = ["generate", prompt, "--embeddings", str(out), "--out", str(pictures), "--steps", "4"]
    assert main([*command, "--seed", "5", "--count", "2"]) == 0
    said = capsys.readouterr()
    assert "people: fiction-3-cb\n" in said.err
    assert sorted(p.name for p in pictures.iterdir()) == ["00001-5.png", "00001-sheet.png", "00002-6.png"]
    assert str(pictures / "00001-sheet.png") in said.out
    with Pillow.open(pictures / "00002-6.png") as picture:
        assert picture.size == (96, 96)
        text = picture.text["parameters"]  # type: ignore[attr-defined]
    assert text.splitlines()[0] == prompt
    assert "Steps: 4, Seed: 6, Size: 96x96, Model: miniature" in text
    assert main([*command, "--count", "1"]) == 0
    assert "00003-0.png" in {p.name for p in pictures.iterdir()}, "nothing is written over"


def test_people_are_found_in_prompts_as_whole_words(out: Path) -> None:
    out.mkdir()
    for name in ("anna-cb.safetensors", "ann.pt", "cb.bin", "ben-cb.safetensors", "notes.txt"):
        (out / name).write_bytes(b"")
    found = embeddings_named_in("a photo of ANNA-CB, (annabel) and notes", out)
    assert [p.name for p in found] == ["anna-cb.safetensors"]


def test_inspect_tells_people_what_a_file_is(out: Path, basis: CelebBasis, capsys: pytest.CaptureFixture[str]) -> None:
    celebrity = basis.names[11]
    assert main(["mix", f"{celebrity}:0.9", "sample:1:0.1", "--name", "blend-cb", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(out / "blend-cb.safetensors")]) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    assert "mixed from other people" in said and f"{celebrity} x 0.9" in " ".join(said.split())
    assert "the miniature" in said
    assert main(["inspect", str(out / "blend-cb.safetensors"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["ours"] and found["compared_with"] == "miniature"
    assert found["nearest"][0][0] == celebrity and found["nearest"][0][1] > 0.9
    assert found["distances"] == pytest.approx([1, 1], abs=0.15)
    assert found["outside"] < 0.01
    own, names = found["norms"][0]["own"], found["norms"][0]["names"]
    assert len(own) == len(names) == 2
    assert all(low < mean < high for low, mean, high in names)
    assert found["facts"]["mix"]["parents"][0] == {"who": celebrity, "weight": 0.9}


def test_inspect_shows_only_scores_that_were_judged(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--name", "anna-cb", "--out", str(out)]) == 0
    path = out / "anna-cb.safetensors"
    add_scores(path, Scores(likeness=0.71, impostors=0.1, faces_found=1.0), None)
    assert main(["inspect", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "likeness 0.71" in printed and "obedience" not in printed


def test_inspect_needs_no_checkpoint_for_other_families(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In a process where nothing could be opened: the fixture that opens the miniature is not used."""
    save_file(
        {"clip_l": np.ones((8, 768), np.float32), "clip_g": np.ones((8, 1280), np.float32)}, tmp_path / "xl.safetensors"
    )
    torch.save({"string_to_param": {"*": torch.ones(1, 768)}, "step": 500}, tmp_path / "old.pt")
    assert main(["inspect", str(tmp_path / "xl.safetensors"), str(tmp_path / "old.pt")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "SDXL: word vectors 8 x 768 (clip_l) and 8 x 1280 (clip_g)" in said
    assert "Stable Diffusion 1" in said and "step 500" in said
    assert said.count("Give --checkpoint") == 2


def test_inspect_measures_what_celebrities_cannot_explain(
    out: Path, basis: CelebBasis, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = np.random.default_rng(0).standard_normal((2, 96)).astype(np.float32)
    save_file({"emb_params": outside}, tmp_path / "far.safetensors")
    assert main(["inspect", str(tmp_path / "far.safetensors"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert not found["ours"]
    assert max(found["norms"][0]["own"]) > 3 * found["norms"][0]["names"][0][2]
    assert min(found["distances"]) > 3
