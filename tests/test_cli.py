"""The command line: what it writes, what it says, and its exit status."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from celebbasis_ext.cli import main, parser
from celebbasis_ext.cli.options import config_from
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.miniature.drawing import Look, draw, draw_pair
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.recipes import RECIPES

ANNA, BEN = strangers(2, 99)
FAST = ["--steps", "3", "--batch", "2", "--views", "2", "--pictures", "0"]


def portrait(tmp_path: Path, name: str = "anna.png") -> str:
    path = tmp_path / name
    Pillow.fromarray(draw(ANNA if "anna" in name else BEN, Look(background="green", glasses=True)).image).save(path)
    return str(path)


def test_train_writes_a_file_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(out), *FAST]) == 0
    embedding = load_embedding(out / "anna-cb.safetensors")
    assert embedding.vectors["clip_l"].shape == (2, 96)
    printed = capsys.readouterr().out
    assert "anna-cb.safetensors" in printed
    assert "green background" in printed and "glasses" in printed
    assert json.loads(embedding.metadata["celebbasis.settings"])["steps"] == 3


def test_train_scores_and_keeps_a_preview(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(out), *FAST[:-1], "1"]) == 0
    assert "likeness" in capsys.readouterr().out
    scores = json.loads(load_embedding(out / "anna-cb.safetensors").metadata["celebbasis.scores"])
    assert set(scores) == {"likeness", "impostors", "faces_found", "obedience", "impostors_obedience"}
    assert Pillow.open(out / "anna-cb.preview.png").size == (96, 96)


def test_train_two_people_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    photos = [portrait(tmp_path), portrait(tmp_path, "ben.png")]
    assert main(["train", *photos, "--name", "anna-cb", "ben-cb", "--out", str(out), *FAST]) == 0
    assert sorted(p.name for p in out.iterdir()) == ["anna-cb.safetensors", "ben-cb.safetensors"]


def test_the_words_for_the_photo_can_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--describe", "blue background, in a red shirt"]
    assert main(["train", portrait(tmp_path), "--name", "a-cb", "--out", str(tmp_path), *words, *FAST]) == 0
    assert "blue background, in a red shirt" in capsys.readouterr().out


def test_nothing_is_said_where_that_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", portrait(tmp_path), "--name", "a-cb", "--out", str(tmp_path), "--describer", "none", *FAST]
    assert main(command) == 0
    assert "nothing said" in capsys.readouterr().out
    assert load_embedding(tmp_path / "a-cb.safetensors").metadata["celebbasis.describer"] == '"none"'


def bad_inputs(tmp_path: Path) -> dict[str, tuple[list[str], str]]:
    blank, text, pair = tmp_path / "blank.png", tmp_path / "text.png", tmp_path / "pair.png"
    Pillow.fromarray(np.full((200, 200, 3), 120, np.uint8)).save(blank)
    text.write_text("no image")
    Pillow.fromarray(draw_pair((ANNA, BEN), (Look(), Look())).image).resize((192, 192)).save(pair)
    return {
        "no face": ([str(blank), "--name", "x-cb"], "face"),
        "no image": ([str(text), "--name", "x-cb"], "text.png"),
        "missing": ([str(tmp_path / "nothing.png"), "--name", "x-cb"], "nothing.png"),
        "several faces": ([str(pair), "--name", "x-cb"], "2 faces"),
        "bad name": ([portrait(tmp_path), "--name", "../x"], "../x"),
        "too many components": ([portrait(tmp_path), "--name", "x-cb", "--components", "900"], "900"),
        "nothing to resume": ([portrait(tmp_path), "--name", "x-cb", "--resume"], "no interrupted run"),
    }


@pytest.mark.parametrize("case", [
    "no face", "no image", "missing", "several faces", "bad name", "too many components", "nothing to resume",
])  # fmt: skip
def test_bad_input_gives_one_sentence_and_status_2(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, said = bad_inputs(tmp_path)[case]
    out = tmp_path / "out"
    assert main(["train", *arguments, "--out", str(out), *FAST]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.err.count("\n") == 1
    assert not list(out.glob("*.safetensors"))


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from celebbasis_ext.errors import UnreadableImage

    with pytest.raises(UnreadableImage):
        main(["train", str(tmp_path / "nothing.png"), "--name", "x-cb", "--debug"])


def test_a_face_can_be_chosen(tmp_path: Path) -> None:
    arguments, _ = bad_inputs(tmp_path)["several faces"]
    assert main(["train", *arguments, "--face", "2", "--out", str(tmp_path / "out"), *FAST]) == 0


def test_an_existing_embedding_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(tmp_path), *FAST]
    assert main(command) == 0
    before = (tmp_path / "anna-cb.safetensors").read_bytes()
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "anna-cb.safetensors").read_bytes() == before


def test_options_replace_the_recipes_settings() -> None:
    options = parser().parse_args(["train", "p.png", "--name", "x", "--recipe", "paper", "--steps", "7", "--no-flip"])
    config = config_from(options)
    assert (config.steps, config.flip) == (7, False)
    assert (config.radius, config.learn) == (RECIPES["paper"].radius, "mapper")


def test_names_shows_what_is_used_and_why_the_rest_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["names"]) == 0
    printed = capsys.readouterr().out
    assert "two tokens each" in printed
    assert "splits into 3 tokens" in printed


def test_the_miniature_can_be_copied_for_a_webui(tmp_path: Path) -> None:
    from celebbasis_ext.miniature.workshop import Assets

    assert main(["miniature", str(tmp_path)]) == 0
    assert (tmp_path / "miniature.safetensors").read_bytes() == Assets().checkpoint.read_bytes()
    assert str((tmp_path / "miniature-text-encoder").resolve()) in (tmp_path / "miniature.yaml").read_text()
    assert (tmp_path / "miniature-text-encoder" / "vocab.json").exists()


def test_ctrl_c_keeps_what_was_learned_and_resume_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(out), "--batch", "2", "--views", "2"]
    run = [sys.executable, "-m", "celebbasis_ext.cli", *command, "--pictures", "0", "--steps"]
    with subprocess.Popen([*run, "400"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "40/400" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        printed, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in printed
    assert "Traceback" not in complaints
    assert sorted(p.name for p in out.iterdir()) == ["anna-cb.resume", "anna-cb.safetensors"]
    stopped = int(load_embedding(out / "anna-cb.safetensors").metadata["celebbasis.steps"])
    assert 40 <= stopped < 400
    resumed = subprocess.run(
        [*run, str(stopped + 5), "--resume", "--overwrite"], capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    assert int(load_embedding(out / "anna-cb.safetensors").metadata["celebbasis.steps"]) == stopped + 5
    assert [p.name for p in out.iterdir()] == ["anna-cb.safetensors"]


def test_ctrl_c_while_scoring_ends_at_once_and_keeps_the_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(out), *FAST[:-1], "400"]
    run = [sys.executable, "-u", "-m", "celebbasis_ext.cli", *command]
    listen = functools.partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        run, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=listen
    ) as process:  # fmt: skip
        assert process.stdout is not None
        while "anna-cb.safetensors" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=60)
    assert process.returncode == 130
    assert complaints.endswith("celebbasis: interrupted\n") and "Traceback" not in complaints
    assert [p.name for p in out.iterdir()] == ["anna-cb.safetensors"]


@pytest.mark.parametrize(
    "phase",
    [
        "celebbasis_ext.files.photo.read_photo",
        "celebbasis_ext.miniature.workshop.open_workshop",
        "celebbasis_ext.faces.opencv.OpenCVFaces.detect",
        "celebbasis_ext.jobs.basis_of",
        "celebbasis_ext.train.encode_views",
    ],
)
def test_ctrl_c_before_training_leaves_nothing(
    tmp_path: Path, phase: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    def press(*arguments: object, **options: object) -> None:
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    monkeypatch.setattr(phase, press)
    out = tmp_path / "out"
    assert main(["train", portrait(tmp_path), "--name", "anna-cb", "--out", str(out), *FAST]) == 130
    assert capsys.readouterr().err.endswith("celebbasis: interrupted\n")
    assert not out.exists() or not list(out.iterdir())
