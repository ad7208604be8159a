"""Bad names, bad files and bad disks at the command line: one sentence, a next step, status 2, nothing lost."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from safetensors.torch import save_file

from celebbasis_ext.cli import main, parser
from celebbasis_ext.cli.options import config_from
from celebbasis_ext.files.embedding import load_embedding, pack_metadata, save_embedding
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.types import Embedding


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said; one line, no traceback, status 2."""
    assert main(arguments) == 2
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if not line.startswith(("people:", "note:"))]
    assert len(lines) == 1, said
    assert "Traceback" not in said
    assert said.count(". ") >= 1 or said.count("? ") >= 1, "a sentence and a next step"
    return said


NAMES = {
    "empty": ("", "is empty"),
    "path parts": ("../anna", "paths or prompts"),
    "a folder": ("people/anna-cb", "paths or prompts"),
    "control characters": ("an\x07na", "control characters"),
    "reserved": ("COM1", "reserved by Windows"),
    "reserved with an ending": ("nul.txt", "reserved by Windows"),
    "300 characters": ("x" * 300, "300 characters"),
    "an ordinary word": ("cat", "ordinary word"),
    "prompt syntax": ("anna:1.2", "paths or prompts"),
    "a command": ("a-AND-b", "AND"),
    "a trailing dot": ("anna.", "letter or a digit"),
    "taken": ("taken-cb", "exists already"),
    "taken in another case": ("Taken-CB", "exists already"),
}


@pytest.mark.parametrize("kind", NAMES)
def test_bad_names(kind: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, said = NAMES[kind]
    out.mkdir()
    (out / "taken-cb.pt").write_bytes(b"somebody else's")
    assert said in refused(["sample", "--name", name, "--out", str(out)], capsys)
    assert [p.name for p in out.iterdir()] == ["taken-cb.pt"]
    assert (out / "taken-cb.pt").read_bytes() == b"somebody else's"


def bad_embedding(kind: str, folder: Path) -> Path:
    path = folder / "given.safetensors"
    if kind == "of another width":
        save_file({"emb_params": torch.zeros(2, 768)}, path)
    elif kind == "with other vectors":
        save_file({"emb_params": torch.zeros(5, 96)}, path)
    elif kind == "truncated":
        save_file({"emb_params": torch.zeros(2, 96)}, path)
        path.write_bytes(path.read_bytes()[:-7])
    elif kind == "empty":
        path.touch()
    elif kind == "a folder":
        path.mkdir()
    elif kind == "with NaN":
        save_file({"emb_params": torch.full((2, 96), torch.nan)}, path)
    elif kind == "that carries code":
        path = folder / "given.pt"
        torch.save({"string_to_param": {"*": print}}, path)
    elif kind == "with a damaged header":
        save_file({"emb_params": torch.zeros(2, 96)}, path, {"celebbasis.coefficients": "[[1, NaN]]"})
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "No such file"), ("a folder", "directory"), ("empty", "damaged"), ("truncated", "damaged"),
        ("with NaN", "NaN"), ("of another width", "expected vectors 96 wide"), ("with other vectors", "got 5"),
        ("that carries code", "was not run"), ("with a damaged header", "damaged"),
    ],
)  # fmt: skip
def test_bad_embeddings(kind: str, said: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bad_embedding(kind, tmp_path)
    assert said in refused(["mix", f"{path}:1", "--name", "x-cb", "--out", str(out)], capsys)
    assert not out.exists()
    if kind not in ("of another width", "with other vectors"):
        assert said in refused(["inspect", str(path)], capsys)
    if kind != "with a damaged header":
        command = ["generate", "a photo of x", "--embedding", str(path), "--out", str(tmp_path / "pictures")]
        if kind == "with other vectors":
            return  # hosts take any number of vectors
        assert said in refused(command, capsys)
        assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize(
    ("people", "said"),
    [
        (["Marylin Monro"], "Nobody is known"), (["adam careyy:1"], "Did you mean adam carey"),
        (["sample:1:0"], "add up to 0"), (["sample:1:1", "sample:1:-1"], "add up to 0"),
        (["sample:1:2", "sample:1:-1", "missing.safetensors"], "missing.safetensors"),
    ],
)  # fmt: skip
def test_bad_mixes(people: list[str], said: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refused(["mix", "--name", "x-cb", "--out", str(out), "--", *people], capsys)
    assert not out.exists()


def test_bad_numbers(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["sample", "--seed", "-1", "--out", str(out)], capsys)
    refused(["sample", "--count", "2", "--name", "a-cb", "--out", str(out)], capsys)
    refused(["generate", "a photo", "--count", "0", "--out", str(out)], capsys)
    refused(["generate", "a photo", "--steps", "0", "--out", str(out)], capsys)
    assert not out.exists()


def test_a_person_of_another_family_is_not_moved(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sd2 = {"name": "sd2", "sha256": "", "family": "sd2"}
    header = pack_metadata(np.ones((2, 9), np.float32), checkpoint=sd2, basis="0" * 16)
    path = save_embedding(Embedding("anna-cb", {"clip_h": np.ones((2, 1024), np.float32)}, header), tmp_path)
    command = ["move", str(path), "--name", "x-cb", "--out", str(out)]
    assert "trained apart" in refused(command, capsys)
    assert main([*command, "--force"]) == 0
    assert "taken as they are" in capsys.readouterr().err
    save_file({"emb_params": torch.zeros(2, 96)}, tmp_path / "plain.safetensors")
    command[1] = str(tmp_path / "plain.safetensors")
    assert "no coefficients" in refused(command, capsys)


def test_a_folder_that_is_a_file(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    assert "cannot be written" in refused(["sample", "--out", str(tmp_path / "file")], capsys)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("of another checkpoint", "has other basis"), ("damaged", "is damaged"), ("missing", "no interr")],
)
def test_bad_resume_files(kind: str, said: str, out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "anna.png"
    Pillow.fromarray(draw(strangers(1, 99)[0], Look()).image).save(photo)
    train = ["train", str(photo), "--name", "anna-cb", "--out", str(out), "--steps", "4", "--batch", "2"]
    out.mkdir()
    resume = out / "anna-cb.resume"
    if kind == "damaged":
        resume.write_bytes(b"half")
    elif kind == "of another checkpoint":
        settings = dataclasses.asdict(config_from(parser().parse_args(train))) | {"steps": 0}
        run = {"basis": "0" * 16, "names": "anna-cb", "settings": json.dumps(settings, sort_keys=True)}
        torch.save({"run": run, "state": {}}, resume)
    before = resume.read_bytes() if resume.exists() else b""
    assert said in refused([*train, "--resume"], capsys)
    assert not list(out.glob("*.safetensors"))
    assert (resume.read_bytes() if resume.exists() else b"") == before


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own with room for 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    tool = shutil.which("mount")
    made = tool and subprocess.run(
        [tool, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk(out: Path, mounted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sample", "--name", "anna-cb", "--out", str(mounted)]
    assert main(command) == 0
    before = (mounted / "anna-cb.safetensors").read_bytes()
    with pytest.raises(OSError, match="No space"):
        (mounted / "filling").write_bytes(bytes(1 << 20))
    said = refused([*command, "--seed", "2", "--overwrite"], capsys)
    assert "no space left" in said and "Make room" in said
    assert (mounted / "anna-cb.safetensors").read_bytes() == before
    assert sorted(p.name for p in mounted.iterdir()) == ["anna-cb.safetensors", "filling"]


def test_a_read_only_disk(out: Path, mounted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--name", "anna-cb", "--out", str(mounted)]) == 0
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    said = refused(["sample", "--name", "anna-cb", "--seed", "2", "--out", str(mounted), "--overwrite"], capsys)
    assert "read-only file system" in said
    assert [p.name for p in mounted.iterdir()] == ["anna-cb.safetensors"]


def test_a_folder_without_permission(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("whoever runs this may write everywhere")
    assert "permission denied" in refused(["sample", "--out", str(folder)], capsys)


PERSON = {seed: np.random.default_rng(seed).standard_normal((2, 768)).astype(np.float32) for seed in (0, 1)}


def save_for_ever(folder: Path) -> None:
    preview = np.zeros((64, 64, 3), np.uint8)
    for turn in range(1_000_000):
        person = Embedding("anna-cb", {"clip_l": PERSON[turn % 2]})
        save_embedding(person, folder, preview, overwrite=True, also_pt=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_at_any_moment_of_saving_leaves_whole_files(tmp_path: Path) -> None:
    """Old file or new file; what is left behind has no ending that a host loads, and goes at the next save."""
    chance = random.Random(1)
    save_embedding(Embedding("anna-cb", {"clip_l": PERSON[0]}), tmp_path, np.zeros((64, 64, 3), np.uint8), also_pt=True)
    killed_while_writing = 0
    for _ in range(30):
        child = os.fork()
        if child == 0:
            try:
                save_for_ever(tmp_path)
            finally:
                os._exit(1)
        time.sleep(0.004 + 0.03 * chance.random())
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
        for suffix in (".safetensors", ".pt"):
            vectors = load_embedding(tmp_path / f"anna-cb{suffix}").vectors["clip_l"]
            assert any(np.array_equal(vectors, whole) for whole in PERSON.values())
        killed_while_writing += len(list(tmp_path.glob("*.unfinished")))
        assert {p.suffix for p in tmp_path.iterdir()} <= {".safetensors", ".pt", ".png", ".txt", ".unfinished"}
        for left in tmp_path.glob("*.unfinished"):
            os.utime(left, (0, 0))  # an hour later
        save_embedding(Embedding("anna-cb", {"clip_l": PERSON[0]}), tmp_path, overwrite=True)
        assert not list(tmp_path.glob("*.unfinished"))
    assert killed_while_writing > 0, "else the moments were not the interesting ones"


def test_a_real_command_shows_no_traceback(tmp_path: Path) -> None:
    """The whole program once, from the shell."""
    run = [sys.executable, "-m", "celebbasis_ext.cli", "inspect", str(tmp_path / "nothing.pt")]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("celebbasis: ") and done.stderr.count("\n") == 1
    debugged = subprocess.run([*run, "--debug"], capture_output=True, text=True, check=False)
    assert "Traceback" in debugged.stderr
