"""Galleries: drawn in batches, stored in shards, stopped and gone on with; on a host that draws noise, and for real."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from celebbasis_ext.cli import main
from celebbasis_ext.describe import NoWords
from celebbasis_ext.errors import CannotWrite, CheckpointChanged, InvalidGallery, InvalidSettings
from celebbasis_ext.evaluate.gallery_sheet import COLUMNS, gallery_sheet, names_sheet
from celebbasis_ext.files.gallery import NOTE, add_shots, plans_in, read_gallery, read_plan, read_shots
from celebbasis_ext.gallery import BATCH, PROMPTS, drawable_names, gather, look_at, plan_of
from celebbasis_ext.gallery_job import GalleryOutcome, GalleryWish, run_gallery
from celebbasis_ext.job_queue import FreeTurn, Job, JobQueue, Report
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.types import Drawn, Embedding, Face, Gallery, Gathered, Image, Shot
from tests.test_jobs import NAMES, OneFace, ScriptedHost

IMAGES = 3


class NoisyHost(ScriptedHost):
    """Draws noise from the seed; black for the name that nobody knows."""

    def __init__(self, folder: Path, pause: float = 0.0) -> None:
        super().__init__(folder)
        self.asked: list[tuple[str, int]] = []
        self.pause, self.at_most = pause, 1000

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], embeddings: Sequence[Embedding] = (), steps: int = 20
    ) -> list[Image]:
        time.sleep(self.pause)
        self.asked += zip(prompts, seeds, strict=True)
        return [self._picture(p, s) for p, s in zip(prompts, seeds, strict=True)][: self.at_most]

    def _picture(self, prompt: str, seed: int) -> Image:
        pixels = np.random.default_rng(seed).integers(1, 256, (100, 100, 3), dtype=np.uint8)
        return np.zeros_like(pixels) if NAMES[2] in prompt else pixels


def open_noisy(folder: Path, pause: float = 0.0) -> Workshop:
    return Workshop(NoisyHost(folder / "embeddings", pause), OneFace(), NoWords(), NAMES)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return open_noisy(tmp_path)


def host_of(workshop: Workshop) -> NoisyHost:
    assert isinstance(workshop.host, NoisyHost)
    return workshop.host


def gathered(workshop: Workshop, folder: Path, stop: Callable[[], bool] = lambda: False) -> Gathered:
    *_, last = gather(workshop, NAMES, IMAGES, folder, stop)
    assert isinstance(last, Gathered)
    return last


def same(left: Gallery, right: Gallery) -> bool:
    pairs = zip(left.shots, right.shots, strict=True)
    return left == right and all(np.array_equal(a.crop, b.crop) for a, b in pairs if a.crop is not None)


def test_every_name_is_drawn_under_every_prompt_and_faces_are_kept(workshop: Workshop, tmp_path: Path) -> None:
    events = list(gather(workshop, NAMES, IMAGES, tmp_path))
    last = events.pop()
    assert isinstance(last, Gathered) and last.finished
    shots = last.gallery.shots
    assert [(s.name, s.prompt) for s in shots] == [(name, PROMPTS[i]) for name in NAMES for i in range(IMAGES)]
    assert len({s.seed for s in shots}) == len(shots)
    assert [s.faces for s in shots] == [0 if s.name == NAMES[2] else 1 for s in shots]
    for shot in shots:
        if shot.faces:
            picture = host_of(workshop)._picture("", shot.seed)
            again = look_at(workshop.faces, picture, dataclasses.replace(shot, crop=None), 64)
            assert np.array_equal(shot.crop, again.crop) and np.allclose(shot.identity, again.identity, atol=1e-6)  # type: ignore[arg-type]
            assert 0 < shot.quality <= 1
        else:
            assert (shot.crop, shot.identity, shot.quality) == (None, None, 0)
    done = [event.done for event in events if isinstance(event, Drawn)]
    assert done == [8, 16, 24, 30] and BATCH == 8


def test_what_is_stored_is_not_drawn_again(workshop: Workshop, tmp_path: Path) -> None:
    first = gathered(workshop, tmp_path)
    host_of(workshop).asked.clear()
    again = gathered(workshop, tmp_path)
    assert host_of(workshop).asked == [] and again.finished
    assert same(first.gallery, again.gallery) and again.folder == first.folder


def test_a_stopped_gallery_goes_on_and_is_the_one_that_was_not_stopped(workshop: Workshop, tmp_path: Path) -> None:
    stops = iter([False, True])
    half = gathered(workshop, tmp_path / "stopped", lambda: next(stops))
    assert not half.finished and len(half.gallery.shots) == BATCH
    assert len(host_of(workshop).asked) == BATCH
    rest = gathered(workshop, tmp_path / "stopped")
    assert len(host_of(workshop).asked) == len(NAMES) * IMAGES and rest.finished
    assert same(rest.gallery, gathered(workshop, tmp_path / "whole").gallery)


def test_leaving_the_iteration_keeps_what_was_drawn(workshop: Workshop, tmp_path: Path) -> None:
    drawing = gather(workshop, NAMES, IMAGES, tmp_path)
    next(drawing)
    drawing.close()  # type: ignore[attr-defined]
    (folder,) = tmp_path.glob(f"*/{NOTE}")
    assert len(read_gallery(folder.parent).shots) == BATCH


KILLED = """
import sys
from pathlib import Path
from celebbasis_ext.gallery import gather
from tests.test_gallery import IMAGES, NAMES, open_noisy
list(gather(open_noisy(Path(sys.argv[1]), pause=0.3), NAMES, IMAGES, Path(sys.argv[1])))
"""


def test_a_killed_process_loses_at_most_a_batch(workshop: Workshop, tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=Path(__file__).parents[1])
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*/shots-*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    (folder,) = (note.parent for note in tmp_path.glob(f"*/{NOTE}"))
    before = len(read_gallery(folder).shots)
    assert before >= 2 * BATCH
    done = gathered(workshop, tmp_path)
    assert done.finished and len(host_of(workshop).asked) == len(NAMES) * IMAGES - before


def damages() -> Iterator[tuple[str, Callable[[bytes], bytes]]]:
    yield "cut short", lambda content: content[: len(content) // 2]
    yield "empty", lambda content: b""
    yield "no safetensors", lambda content: b"\x80\x04" + content
    yield "a broken picture", lambda content: content.replace(b"IDAT", b"XXXX")
    yield "a missing tensor", lambda content: content.replace(b'"seeds"', b'"SEEDS"')
    yield "words that are no JSON", lambda content: content.replace(b'"prompt":"[', b'"prompt":"{')
    yield "too few words", lambda content: content.replace(b'"name":"[\\"fa la\\", ', b'"name":"[            ')


@pytest.mark.parametrize("damage", [d for _, d in damages()], ids=[name for name, _ in damages()])
def test_a_damaged_shard_is_dropped_with_a_word_and_drawn_again(
    damage: Callable[[bytes], bytes], workshop: Workshop, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = gathered(workshop, tmp_path)
    shards = {path: path.read_bytes() for path in whole.folder.glob("shots-*")}
    (path,) = (path for path, content in shards.items() if b"fa la" in content)
    changed = damage(shards[path])
    assert changed != shards[path]
    path.write_bytes(changed)
    host_of(workshop).asked.clear()
    again = gathered(workshop, tmp_path)
    assert len(host_of(workshop).asked) == BATCH
    assert "will be drawn again" in caplog.text and path.name in caplog.text
    assert same(whole.gallery, again.gallery)


def test_what_came_before_an_interrupt_is_kept(workshop: Workshop, tmp_path: Path) -> None:
    host_of(workshop).at_most = 3
    *_, drawn, last = gather(workshop, NAMES[:2], IMAGES, tmp_path)
    assert isinstance(drawn, Drawn) and len(drawn.shots) == 3
    assert isinstance(last, Gathered) and not last.finished and len(last.gallery.shots) == 3
    host_of(workshop).at_most = 0
    (last,) = gather(workshop, NAMES[:2], IMAGES, tmp_path)
    assert isinstance(last, Gathered) and not last.finished


def test_the_fingerprint_is_of_all_that_decides_what_is_drawn(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(workshop)
    before = plan_of(workshop, NAMES, IMAGES).fingerprint
    assert plan_of(open_noisy(tmp_path / "elsewhere"), NAMES, IMAGES).fingerprint == before
    others = [plan_of(workshop, NAMES[1:], IMAGES), plan_of(workshop, NAMES, 4), plan_of(workshop, NAMES, IMAGES, 11)]
    with monkeypatch.context() as patch:
        patch.setattr(host, "checkpoint", dataclasses.replace(host.checkpoint, sha256="1" * 64))
        others.append(plan_of(workshop, NAMES, IMAGES))
    with monkeypatch.context() as patch:
        patch.setattr(workshop.faces, "name", "other")
        others.append(plan_of(workshop, NAMES, IMAGES))
    with monkeypatch.context() as patch:
        tables = {encoder: table + 1 for encoder, table in host.token_tables().items()}
        patch.setattr(host, "token_tables", lambda: tables)
        others.append(plan_of(workshop, NAMES, IMAGES))
    assert len({before, *(plan.fingerprint for plan in others)}) == len(others) + 1


def test_a_picture_of_a_name_is_the_same_in_every_list(workshop: Workshop) -> None:
    keys = plan_of(workshop, NAMES, IMAGES).keys
    assert set(plan_of(workshop, NAMES[::2], IMAGES).keys) < set(keys)
    assert keys[: 2 * IMAGES] == plan_of(workshop, NAMES[:2], IMAGES).keys


@pytest.mark.parametrize(("names", "images", "steps"), [((), 4, 10), (NAMES, 0, 10), (NAMES, 4, 0)])
def test_nothing_to_draw_is_refused(workshop: Workshop, names: tuple[str, ...], images: int, steps: int) -> None:
    with pytest.raises(InvalidSettings, match="at least one"):
        plan_of(workshop, names, images, steps)


def test_galleries_are_found_by_their_checkpoint(workshop: Workshop, tmp_path: Path) -> None:
    folder = gathered(workshop, tmp_path).folder
    plan = read_plan(folder)
    assert plan == plan_of(workshop, NAMES, IMAGES)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / NOTE).write_text("{}")
    assert plans_in(tmp_path) == (plan,) and plans_in(tmp_path / "nowhere") == ()
    with pytest.raises(InvalidGallery, match="no gallery"):
        read_gallery(tmp_path / "broken")
    with pytest.raises(InvalidGallery, match="no gallery"):
        read_gallery(tmp_path / "nowhere")
    folder.rename(tmp_path / "0123456789abcdef")
    with pytest.raises(InvalidGallery, match="describes the gallery"):
        read_gallery(tmp_path / "0123456789abcdef")


def shot(seed: int, face: bool) -> Shot:
    rng = np.random.default_rng(seed)
    crop, identity = rng.integers(0, 256, (112, 112, 3), dtype=np.uint8), rng.standard_normal(7).astype(np.float32)
    return Shot("Zoë O'Neill", PROMPTS[1], seed, 2 * face, crop if face else None, identity if face else None, 0.5)


@pytest.mark.parametrize("faces", [(True, False, True), (False, False), (True,)])
def test_shots_come_back_as_they_were(faces: tuple[bool, ...], tmp_path: Path) -> None:
    shots = [shot(seed, face) for seed, face in enumerate(faces)]
    add_shots(tmp_path, shots)
    back = list(read_shots(tmp_path))
    assert back == shots
    for before, after in zip(shots, back, strict=True):
        assert (before.crop is None) == (after.crop is None) == (after.identity is None)
        if before.crop is not None:
            assert np.array_equal(before.crop, after.crop) and np.array_equal(before.identity, after.identity)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_made_is_an_error(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite):
        gathered(workshop, tmp_path / "file")


class TwoFaces(OneFace):
    """A large face, one of comparable size, and a passer-by."""

    def detect(self, image: Image) -> tuple[Face, ...]:
        (face,) = super().detect(image)
        other = dataclasses.replace(face, box=np.array([0, 30, 30, 70], np.float32))
        small = dataclasses.replace(face, box=np.array([0, 0, 8, 8], np.float32))
        flat = dataclasses.replace(face, landmarks=np.zeros((5, 2), np.float32))
        return (flat,) if image.mean() > 200 else (face, other, small)


def test_faces_are_counted_without_passers_by() -> None:
    empty = Shot("a", "{}", 1, 0, None, None, 0.0)
    assert look_at(TwoFaces(), np.full((100, 100, 3), 9, np.uint8), empty, 64).faces == 2
    assert look_at(TwoFaces(), np.full((100, 100, 3), 240, np.uint8), empty, 64) == empty


class PolitelyCounted(FreeTurn):
    def __init__(self) -> None:
        self.pauses = 0

    def let_others(self) -> None:
        self.pauses += 1


def run_in_queue(open_workshop: Callable[[], Workshop], turn: PolitelyCounted) -> Job:
    queue = JobQueue(lambda job: nullcontext(turn))

    def work(report: Report) -> GalleryOutcome:
        return run_gallery(open_workshop, GalleryWish(IMAGES), report)

    return queue.wait(queue.order("Gallery", "gallery", work).id, 60)


def test_as_a_job_it_lets_others_go_first_between_batches(workshop: Workshop) -> None:
    turn = PolitelyCounted()
    job = run_in_queue(lambda: workshop, turn)
    assert isinstance(job.result, GalleryOutcome), job.error
    assert job.result.gathered.finished and job.result.sheet is not None
    assert turn.pauses == 3, "three gaps between four batches"
    assert (job.progress.step, job.progress.steps, job.progress.preview_step) == (30, 30, 30)
    assert job.progress.preview is not None and job.progress.preview.shape == (112, 6 * 112, 3)


def test_a_job_ends_where_another_checkpoint_was_loaded_meanwhile(workshop: Workshop, tmp_path: Path) -> None:
    opened: list[Workshop] = []

    def open_workshop() -> Workshop:
        opened.append(open_noisy(tmp_path))
        host = host_of(opened[-1])
        digit = "7" if len(opened) == 3 else "9"
        host.checkpoint = dataclasses.replace(host.checkpoint, sha256=digit * 64)
        return opened[-1]

    job = run_in_queue(open_workshop, PolitelyCounted())
    assert isinstance(job.error, CheckpointChanged) and "kept" in job.error.hint
    assert [len(host_of(w).asked) for w in opened] == [BATCH, BATCH, 0]
    opened.extend([workshop] * 3)
    job = run_in_queue(open_workshop, PolitelyCounted())
    assert isinstance(job.result, GalleryOutcome) and job.result.gathered.finished
    assert sum(len(host_of(w).asked) for w in opened[6:]) == len(NAMES) * IMAGES - 2 * BATCH


def test_a_sheet_shows_names_from_the_whole_list() -> None:
    def of(count: int) -> Gallery:
        return Gallery(tuple(dataclasses.replace(shot(i, True), name=f"n{i}") for i in range(count)), "", "")

    sheet = gallery_sheet(of(7))
    assert sheet is not None and sheet.shape[0] < 4 * 112, "three rows of names in three columns"
    large, larger = gallery_sheet(of(60)), gallery_sheet(of(70))
    assert large is not None and larger is not None and large.shape[0] == larger.shape[0]
    assert gallery_sheet(of(0)) is None
    assert names_sheet(of(3), ["n2"], "One").shape[1] < sheet.shape[1] and COLUMNS == 3


def test_the_miniature_draws_its_celebrities_as_somebody_each(miniature: Workshop, tmp_path: Path) -> None:
    names = drawable_names(miniature)[::160]
    *_, last = gather(miniature, names, 2, tmp_path)
    assert isinstance(last, Gathered) and last.finished
    assert [shot.faces for shot in last.gallery.shots] == [1] * 8
    assert min(shot.quality for shot in last.gallery.shots) > 0.8
    vectors = np.stack([shot.identity for shot in last.gallery.shots if shot.identity is not None]).reshape(4, 2, -1)
    cosines = vectors[:, 0] @ vectors[:, 1].T
    assert np.diag(cosines).min() > 0.5 > (cosines - np.eye(4)).max()


def test_the_command_draws_shows_and_goes_on(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    command = ["gallery", "--first", "5", "--images", "2", "--steps", "2", "--out", str(tmp_path / "sheet.png")]
    assert main(command) == 0
    printed = capsys.readouterr()
    (folder,) = (tmp_path / "cache" / "galleries").iterdir()
    assert "10 pictures" in printed.out and folder.name in printed.out and "sheet.png" in printed.out
    assert "] 10/10  " in printed.err
    with Pillow.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 500
    assert main(command) == 0
    again = capsys.readouterr()
    assert "10 pictures" in again.out and "] " not in again.err, "nothing was drawn"


def test_ctrl_c_keeps_what_was_drawn(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def add_and_press(folder: Path, shots: Sequence[Shot]) -> Path:
        signal.raise_signal(signal.SIGINT)
        return add_shots(folder, shots)

    monkeypatch.setenv("CELEBBASIS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("celebbasis_ext.gallery.add_shots", add_and_press)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        command = ["gallery", "--first", "5", "--steps", "2", "--out", str(tmp_path / "sheet.png")]
        assert main(command) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert "8 pictures" in (said := capsys.readouterr().out) and "goes on" in said
    (folder,) = (tmp_path / "cache" / "galleries").iterdir()
    assert len(read_gallery(folder).shots) == BATCH


@pytest.mark.parametrize("wrong", ["--images", "--first", "--steps"])
def test_a_gallery_of_nothing_is_refused(wrong: str, out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gallery", wrong, "0"]) == 2
    assert "at least one" in capsys.readouterr().err
