"""Photos that cannot be used, at the command line: one sentence, a next step, status 2, and nothing written or lost."""

from __future__ import annotations

import functools
import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from celebbasis_ext.cli import main
from celebbasis_ext.errors import NoFaceFound
from celebbasis_ext.files.photo import read_photo
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.miniature.drawing import Look, draw, draw_pair
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets, open_faces, open_workshop
from celebbasis_ext.types import Image


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return open_workshop(Path("embeddings"))


@pytest.fixture(autouse=True)
def one_workshop(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is opened once and not by every command: these tests are about photos."""

    def opened(embeddings_dir: Path, **_: object) -> Workshop:
        workshop.host.embeddings_dir = embeddings_dir  # type: ignore[misc]
        return workshop

    monkeypatch.setattr("celebbasis_ext.miniature.workshop.open_workshop", opened)


ANNA, BEN = strangers(2, 99)
FAST = ["--steps", "2", "--batch", "2", "--views", "2", "--pictures", "0"]


def saved(image: Image, path: Path) -> Path:
    pillow.fromarray(image).save(path)
    return path


def portrait(folder: Path, name: str = "anna.png") -> Path:
    return saved(draw(ANNA, Look()).image, folder / name)


def pair(folder: Path, name: str = "pair.png") -> Path:
    image = pillow.fromarray(draw_pair((ANNA, BEN), (Look(), Look())).image).resize((192, 192))
    return saved(np.asarray(image), folder / name)


def no_image(path: Path) -> None:
    path.write_text("This is a letter and no photo.")


def truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    memory = io.BytesIO()
    pillow.fromarray(noise).save(memory, "JPEG")
    path.write_bytes(memory.getvalue()[: len(memory.getvalue()) // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def bomb(path: Path) -> None:
    """A whole, valid PNG of 20,000 x 20,000 grey pixels: 400 MB in 400 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", black(20_000)) + chunk(b"IEND", b""))


@functools.cache
def black(side: int) -> bytes:
    """Rows of a black, grey PNG, packed."""
    packer, row = zlib.compressobj(1), bytes(side + 1)
    return b"".join([packer.compress(row * 100) for _ in range(side // 100)] + [packer.flush()])


def no_face(path: Path) -> None:
    saved(np.full((200, 200, 3), 120, np.uint8), path)


def tiny_face(path: Path) -> None:
    image = pillow.new("RGB", (96, 96), (120, 160, 120))
    image.paste(pillow.fromarray(draw(ANNA, Look()).image).resize((54, 54)), (20, 30))
    image.save(path)


def missing(path: Path) -> None:
    assert not path.exists()


def folder(path: Path) -> None:
    path.mkdir()


Spoil = Callable[[Path], None]
BAD: dict[Spoil, str] = {
    no_image: "not an image",
    truncated: "damaged or cut short",
    empty: "empty (0 bytes)",
    bomb: "far too many pixels, expected at most 120 megapixels",
    no_face: "No face was found",
    tiny_face: "expected at least 32",
    missing: "does not exist",
    folder: "is a folder",
}


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said: one line, with a next step behind the sentence; and the status is 2."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("celebbasis: ") and captured.err.count("\n") == 1
    assert "Traceback" not in captured.err and captured.err.rstrip().endswith(".")
    assert captured.err.count(". ") >= 1
    return captured.err


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_one_sentence_and_status_2(spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "photo.jpg")
    out = tmp_path / "out"
    said = refused(["train", str(tmp_path / "photo.jpg"), "--name", "x-cb", "--out", str(out), *FAST], capsys)
    assert BAD[spoil] in said
    assert not out.exists()


@pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)
def test_one_bad_photo_in_a_list_is_named_and_nothing_is_written(
    spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(tmp_path / "second.jpg")
    out = tmp_path / "out"
    out.mkdir()
    (out / "anna-cb.safetensors").write_bytes(b"what was here before")
    photos = [str(portrait(tmp_path)), str(tmp_path / "second.jpg"), str(portrait(tmp_path, "third.png"))]
    command = ["train", *photos, "--name", "anna-cb", "ben-cb", "cleo-cb", "--out", str(out), "--overwrite", *FAST]
    said = refused([*command, "--save-crop"], capsys)
    assert BAD[spoil] in said
    assert "second.jpg" in said or "ben-cb: " in said
    assert "anna" not in said.removeprefix("celebbasis: ").replace(str(tmp_path), "")
    assert [path.name for path in out.iterdir()] == ["anna-cb.safetensors"]
    assert (out / "anna-cb.safetensors").read_bytes() == b"what was here before"


@pytest.mark.parametrize("spoil", [no_image, bomb, no_face], ids=lambda spoil: spoil.__name__)
def test_the_same_for_faces(spoil: Spoil, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil(tmp_path / "photo.jpg")
    assert BAD[spoil] in refused(["faces", str(tmp_path / "photo.jpg"), "--faces", "miniature"], capsys)


def test_debug_shows_where_it_happened(tmp_path: Path) -> None:
    no_face(tmp_path / "photo.png")
    with pytest.raises(NoFaceFound):
        main(["train", str(tmp_path / "photo.png"), "--name", "x-cb", "--out", str(tmp_path), "--debug", *FAST])


# --- several faces


def test_several_faces_are_numbered_in_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    photos = [str(portrait(tmp_path)), str(pair(tmp_path))]
    said = refused(["train", *photos, "--name", "anna-cb", "ben-cb", "--out", str(out), *FAST], capsys)
    sheet = out / "pair.faces.png"
    assert "ben-cb: The photo shows 2 faces" in said and str(sheet) in said and "--face largest" in said
    assert [path.name for path in out.iterdir()] == ["pair.faces.png"]
    assert read_photo(sheet).shape[0] > 400


def test_a_sheet_that_cannot_be_written_hides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "out"
    said = refused(["train", str(pair(tmp_path)), "--name", "x-cb", "--out", str(out), *FAST], capsys)
    assert "shows 2 faces" in said and "Choose one by its number" in said


def identity(out: Path) -> np.ndarray:
    """Whose face was trained on, by the crop of it that --save-crop writes."""
    return open_faces(Assets()).identify(np.asarray(pillow.open(out / "x-cb.crop.png")))


def test_the_numbers_and_the_largest_can_be_chosen(tmp_path: Path) -> None:
    photo = str(pair(tmp_path))
    found = {}
    for choice in ("1", "2", "largest"):
        out = tmp_path / choice
        command = ["train", photo, "--name", "x-cb", "--face", choice, "--out", str(out), "--save-crop", *FAST]
        assert main(command) == 0
        found[choice] = identity(out)
    assert any(np.array_equal(found["largest"], found[number]) for number in ("1", "2"))
    assert not np.allclose(found["1"], found["2"], atol=0.05)


@pytest.mark.parametrize("choice", ["3", "0", "-1"])
def test_a_number_that_nobody_has(choice: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [
        "train",
        str(pair(tmp_path)),
        "--name",
        "x-cb",
        f"--face={choice}",
        "--out",
        str(tmp_path / "out"),
        *FAST,
    ]
    assert "shows 2" in refused(command, capsys)


def test_a_choice_that_is_no_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["train", "p.png", "--name", "x-cb", "--face", "left"])
    assert caught.value.code == 2 and "left" in capsys.readouterr().err


# --- what is seen of a photo


def test_crop_and_square_can_be_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, crops = tmp_path / "out", tmp_path / "crops"
    command = ["train", str(portrait(tmp_path)), "--name", "anna-cb", "--out", str(out), *FAST]
    assert main([*command, "--save-crop", str(crops)]) == 0
    printed = capsys.readouterr().out
    assert sorted(path.name for path in crops.iterdir()) == ["anna-cb.crop.png", "anna-cb.square.png"]
    assert str(crops / "anna-cb.crop.png") in printed
    assert read_photo(crops / "anna-cb.crop.png").shape == (112, 112, 3)
    square, photo = read_photo(crops / "anna-cb.square.png"), read_photo(tmp_path / "anna.png")
    assert square.shape == (96, 96, 3)
    # The head keeps its colours; the corner is faint, and still to be seen.
    assert np.array_equal(square[48, 48], photo[48, 48])
    assert 255 > square[2, 2].mean() > photo[2, 2].mean()


def test_crops_go_to_the_output_folder_where_none_is_named(tmp_path: Path) -> None:
    assert main(["train", str(portrait(tmp_path)), "--name", "a-cb", "--save-crop", "--out", str(tmp_path), *FAST]) == 0
    assert {"a-cb.crop.png", "a-cb.square.png", "a-cb.safetensors"} < {path.name for path in tmp_path.iterdir()}


def test_crops_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    command = ["train", str(portrait(tmp_path)), "--name", "a-cb", "--out", str(tmp_path / "out"), *FAST]
    assert main([*command, "--save-crop", str(tmp_path / "file" / "crops")]) == 2
    assert "a-cb.crop.png cannot be written" in capsys.readouterr().err


def test_warnings_are_shown_and_the_training_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dark = saved((draw(ANNA, Look()).image * 0.45).astype(np.uint8), tmp_path / "dark.png")
    assert main(["train", str(dark), "--name", "a-cb", "--out", str(tmp_path / "out"), *FAST]) == 0
    assert "a-cb: warning: The face is dark (mean brightness" in capsys.readouterr().err


# --- celebbasis faces


def test_faces_shows_what_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, sheet = pair(tmp_path), tmp_path / "sheets" / "pair.png"
    command = ["faces", str(photo), "--faces", "miniature", "--resolution", "96", "--out", str(sheet)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"{photo}: 2 faces" in printed and "  1: " in printed and "  2: " in printed
    assert str(sheet) in printed and read_photo(sheet).shape[1] > 260


def test_faces_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(portrait(tmp_path)), str(pair(tmp_path))]
    assert main(["faces", *photos, "--faces", "miniature", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["photo"] for row in report] == photos
    assert [[face["number"] for face in row["faces"]] for row in report] == [[1], [1, 2]]
    left, right = report[1]["faces"]
    assert left["box"][0] < right["box"][0]
    # At 512 pixels, which is the default, drawn people are small.
    assert "small" in [warning["kind"] for warning in left["warnings"]]
    assert set(left["quality"]) >= {"brightness", "sharpness", "yaw", "size"}


def test_one_sheet_is_of_one_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [str(portrait(tmp_path)), str(pair(tmp_path))]
    assert "2 photos" in refused(["faces", *photos, "--out", str(tmp_path / "sheet.png")], capsys)


def test_faces_in_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" / "sheet.png"
    said = refused(["faces", str(portrait(tmp_path)), "--faces", "miniature", "--out", str(out)], capsys)
    assert str(out.parent) in said and os.sep in said
