"""Where face weights come from: people's own folders, else the server; and what the doors say before they fetch."""

from __future__ import annotations

import hashlib
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

import pytest

from celebbasis_ext.cli import main
from celebbasis_ext.cli.faces_options import add_face_options, faces_from
from celebbasis_ext.errors import CelebBasisError, InvalidSettings, MissingModel, MissingPackage
from celebbasis_ext.faces import weights
from celebbasis_ext.faces.base import FaceBackend
from celebbasis_ext.faces.weights import default_faces, find_pack
from celebbasis_ext.files.download import RemoteFile, Transfer
from celebbasis_ext.miniature.workshop import Assets
from tests.test_download import Server, names, server
from tests.test_faces import DETECTOR, RECOGNISER, needs_weights

__all__ = ["server"]  # the fixture


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, so that nothing of whoever runs the tests is found or changed."""
    folder = tmp_path / "home"
    monkeypatch.setattr(Path, "home", lambda: folder)
    monkeypatch.setenv("CELEBBASIS_MODELS", str(tmp_path / "models"))
    monkeypatch.delenv("CELEBBASIS_WEBUI", raising=False)
    yield folder


@pytest.fixture
def remote(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The two files at a server on this computer: the miniature's weights under the names of the real ones.

    The recogniser's name says "sface", which OpenCV would run in another way, so it goes by a plainer one here.
    """
    files = {"yunet.onnx": Assets().detector.read_bytes(), "recogniser.onnx": Assets().recogniser.read_bytes()}
    for constant, (name, content) in zip(("YUNET", "SFACE"), files.items(), strict=True):
        digest = hashlib.sha256(content).hexdigest()
        url = server.url.replace("model.onnx", name)
        monkeypatch.setattr(weights, constant, RemoteFile(name, (url,), len(content), digest, "MIT"))
    answer = server.answer

    def by_name(request: object) -> None:
        server.behaviour.content = files[getattr(request, "path").removeprefix("/")]  # noqa: B009
        answer(request)  # type: ignore[arg-type]

    monkeypatch.setattr(server, "answer", by_name)
    return files


def test_both_files_are_fetched_once_and_work(remote: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    told: list[Transfer] = []
    assert default_faces(progress=told.append).name == "opencv:yunet+recogniser"
    assert {t.file.name for t in told} == remote.keys()
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == sorted(remote)
    default_faces("yunet-sface", offline=True)
    assert len(server.behaviour.asked) == 2


def test_offline_nothing_is_asked_for(remote: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match=r"yunet\.onnx") as caught:
        default_faces(offline=True)
    assert str(tmp_path / "models") in caught.value.message and server.url.rpartition("/")[0] in caught.value.hint
    assert not server.behaviour.asked and not (tmp_path / "models").exists()


@pytest.mark.parametrize("place", ["models/insightface", "models/insightface/models"])
@pytest.mark.parametrize("by_environment", [False, True])
def test_files_in_a_webui_are_used(
    place: str, by_environment: bool, remote: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "webui" / place
    folder.mkdir(parents=True)
    for name, content in remote.items():
        (folder / name).write_bytes(content)
    if by_environment:
        monkeypatch.setenv("CELEBBASIS_WEBUI", str(tmp_path / "webui"))
    assert default_faces(offline=True, webui=None if by_environment else tmp_path / "webui")
    assert not (tmp_path / "models").exists()


def test_a_file_of_another_size_is_not_taken(remote: dict[str, bytes], home: Path) -> None:
    folder = home / ".insightface" / "models"
    folder.mkdir(parents=True)
    (folder / "yunet.onnx").write_bytes(b"half")
    with pytest.raises(MissingModel):
        default_faces(offline=True)


@pytest.mark.parametrize(
    "place",
    ["models/{}", "webui/models/insightface/{}", "webui/models/insightface/models/{}", "home/.insightface/models/{}"],
)
def test_packs_are_found_where_people_have_them(place: str, tmp_path: Path) -> None:
    shelves = weights._shelves(tmp_path / "webui")
    with pytest.raises(MissingModel, match="buffalo_l") as caught:
        find_pack("buffalo_l", shelves)
    assert all(str(shelf) in caught.value.message for shelf in shelves)
    assert "non-commercial research only" in caught.value.hint
    folder = tmp_path / place.format("buffalo_l")
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(b"x")
    assert find_pack("buffalo_l", shelves) == folder == find_pack(str(folder), ())


def test_insightface_is_used_only_where_it_is_named(
    remote: dict[str, bytes], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(b"x")
    opened: list[Path] = []
    monkeypatch.setattr("celebbasis_ext.faces.insight.InsightFaces", opened.append)
    assert default_faces().name.startswith("opencv:") and not opened
    default_faces("insightface")
    default_faces("auto", pack="buffalo_l")
    assert opened == [folder, folder]


def test_a_pack_that_cannot_be_opened_is_explained(home: Path) -> None:
    folder = home / ".insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    (folder / "det_10g.onnx").write_bytes(b"x")
    with pytest.raises((MissingModel, MissingPackage)):
        default_faces("insightface")


# --- as options of a command


def opened(*arguments: str) -> FaceBackend:
    command = ArgumentParser()
    add_face_options(command)
    return faces_from(command.parse_args(arguments))


@needs_weights
def test_single_files_can_be_named() -> None:
    assert "mobilefacenet" in opened("--face-detector", str(DETECTOR), "--face-recogniser", str(RECOGNISER)).name


def test_one_file_alone_is_refused() -> None:
    with pytest.raises(InvalidSettings, match="--face-recogniser"):
        opened("--face-detector", "x.onnx")


def test_the_miniatures_faces_can_be_named() -> None:
    assert opened("--faces", "miniature").name == "opencv:detector+recogniser"


def test_what_is_fetched_is_said_first(
    remote: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened()
    said = capsys.readouterr().err
    for file in (weights.YUNET, weights.SFACE):
        for part in (file.name, file.urls[0], file.sha256, "licence MIT", f"{file.size / 1e6:.1f} MB"):
            assert part in said
        assert str(tmp_path / "models" / file.name) in said
    opened()
    assert capsys.readouterr().err == ""


def test_a_bar_is_drawn_at_a_terminal(
    remote: dict[str, bytes], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    opened()
    said = capsys.readouterr().err
    assert "\r[" + "-" * 30 + "] 0.0" in said and "#" * 30 in said


def test_offline_is_an_error_with_status_2(
    remote: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image as pillow

    pillow.new("RGB", (64, 64)).save(tmp_path / "a.png")
    assert main(["faces", str(tmp_path / "a.png"), "--offline"]) == 2
    said = capsys.readouterr().err
    assert "yunet.onnx" in said and "offline" in said and said.count("\n") == 1


def test_a_damaged_download_leaves_nothing(remote: dict[str, bytes], server: Server, tmp_path: Path) -> None:
    remote["yunet.onnx"] = b"\0" + remote["yunet.onnx"][1:]
    with pytest.raises(CelebBasisError, match="sha256"):
        default_faces()
    assert names(tmp_path / "models") == []
