"""What the tab does and shows, without a browser: actions, HTML, settings as a form."""

from __future__ import annotations

import dataclasses
import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.context import Context
from celebbasis_ext.describe import GivenWords
from celebbasis_ext.errors import CelebBasisError, InvalidName, InvalidSettings, NameTaken, NoFaceFound, UnreadableImage
from celebbasis_ext.evaluate.sheets import SheetRow, save_png
from celebbasis_ext.files.embedding import save_embedding
from celebbasis_ext.files.people import TrainedPerson, list_people
from celebbasis_ext.job_queue import Job, Progress
from celebbasis_ext.jobs import Order, Workshop
from celebbasis_ext.studio import Studio
from celebbasis_ext.training_job import Outcome, PreviewWish
from celebbasis_ext.types import Embedding, Face, Saved, Scores, StepDone
from celebbasis_ext.ui import markup
from celebbasis_ext.ui.loss_curve import WIDTH, loss_curve, running_mean
from celebbasis_ext.ui.people_actions import PeopleActions
from celebbasis_ext.ui.pictures import gallery
from tests.test_jobs import CONFIG, NAMES, PHOTO, OneFace
from tests.test_training_job import DrawingHost

PATIENCE = 60.0


class SpellingHost(DrawingHost):
    """Also tokenizes what is no name: one token for each character."""

    def tokenize(self, text: str) -> list[int]:
        if all(word in self.words for word in text.split()):
            return super().tokenize(text)
        return [1000] if text == "cat" else [1000 + ord(c) for c in text.lower()]


class Twins(OneFace):
    """Finds the same face twice where a picture is wide."""

    def detect(self, image: np.ndarray) -> tuple[Face, ...]:
        faces = super().detect(image)
        if image.shape[1] < 150:
            return faces
        return tuple(Face(f.box + (s, 0, s, 0), f.landmarks + (s, 0), f.score) for f in faces for s in (0, 100))  # noqa: RUF005


@pytest.fixture
def context(tmp_path: Path) -> Context:
    folder = tmp_path / "embeddings"
    workshop = Workshop(SpellingHost(folder), Twins(), GivenWords("red background"), NAMES)
    return Context(lambda: workshop, folder)


@pytest.fixture
def studio(context: Context) -> Studio:
    return Studio(context)


def trained(studio: Studio, name: str = "anna-cb", steps: int = 3) -> Job:
    order = Order((PHOTO,), (name,), dataclasses.replace(CONFIG, steps=steps))
    return studio.context.queue.wait(studio.train(order, PreviewWish(every=0)).id, PATIENCE)


def test_a_photo_is_looked_at(studio: Studio, tmp_path: Path) -> None:
    save_png(PHOTO, tmp_path / "one.png")
    seen = studio.look_at(tmp_path / "one.png")
    assert (len(seen.faces), seen.words, seen.error) == (1, ("red background",), None)


def test_words_wait_for_the_choice_among_several_faces(studio: Studio, tmp_path: Path) -> None:
    save_png(np.tile(PHOTO, (1, 2, 1)), tmp_path / "two.png")
    unchosen, chosen = studio.look_at(tmp_path / "two.png"), studio.look_at(tmp_path / "two.png", 2)
    assert (len(unchosen.faces), unchosen.words) == (2, ())
    assert chosen.words == ("red background",)


def test_what_is_wrong_with_a_photo_is_shown_and_not_raised(studio: Studio, tmp_path: Path) -> None:
    save_png(np.zeros_like(PHOTO), tmp_path / "dark.png")
    (tmp_path / "text.png").write_text("no picture")
    assert isinstance(studio.look_at(tmp_path / "dark.png").error, NoFaceFound)
    assert isinstance(studio.look_at(tmp_path / "text.png").error, UnreadableImage)


def test_names_are_complained_about_and_proposed(studio: Studio) -> None:
    trained(studio)
    assert studio.complaint("ben-cb") is None
    taken = studio.complaint("ANNA-CB")
    assert isinstance(taken, NameTaken) and taken.hint == f"Choose another name, such as {studio.proposal('ANNA-CB')}."
    assert isinstance(studio.complaint("cat"), InvalidName)
    assert isinstance(studio.complaint("ben-cb", ("Ben-CB",)), InvalidName)
    assert studio.complaint("ben-cb", ("ben-cb",)) is None, "another photo of the same person"
    assert studio.complaint(studio.proposal("anna")) is None
    assert studio.proposal("anna", ()) != studio.proposal("anna", (studio.proposal("anna"),))


def test_the_current_training_is_the_running_one_else_the_last(studio: Studio) -> None:
    assert studio.current() is None
    go = threading.Event()
    first = trained(studio)
    studio.context.queue.order("Draw", "generate", lambda report: go.wait(PATIENCE))
    second = studio.train(Order((PHOTO,), ("ben-cb",), CONFIG), PreviewWish(every=0))
    current = studio.current()
    assert current is not None and current.id == second.id != first.id
    assert studio.ahead_of(current) == 1
    go.set()
    assert studio.context.queue.wait(second.id, PATIENCE).state == "done"


def test_resuming_gives_the_uninterrupted_result(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from celebbasis_ext import training_job

    real = training_job.learn_people

    def stopping(workshop: Workshop, order: Order, stop: object) -> object:
        done = 0

        def enough() -> bool:
            return done >= 2

        for event in real(workshop, order, enough):
            done += isinstance(event, StepDone)
            yield event

    monkeypatch.setattr(training_job, "learn_people", stopping)
    trained(studio, "anna-cb", steps=4)
    assert studio.is_unfinished(("anna-cb",))
    monkeypatch.setattr(training_job, "learn_people", real)
    stopped = studio.stopped(("anna-cb",))
    assert stopped is not None
    job = studio.context.queue.wait(studio.resume(*stopped).id, PATIENCE)
    assert job.state == "done", job.error
    assert not studio.is_unfinished(("anna-cb",))
    whole = trained(studio, "nina-cb", steps=4)
    assert isinstance(job.result, Outcome) and isinstance(whole.result, Outcome)
    one, other = (r.saved.embeddings[0].vectors["clip_l"] for r in (job.result, whole.result))
    assert np.array_equal(one, other)


def test_people_are_renamed_deleted_and_told_about(context: Context, studio: Studio) -> None:
    trained(studio)
    actions = PeopleActions(context)
    (person,) = actions.everybody()
    facts = dict(actions.facts(person))
    assert facts["Steps"] == "3" and facts["Beside the person"] == "red background"
    assert set(facts["Nearest celebrities"].replace("(", "").split()) & {name.split()[0] for name in NAMES}
    assert actions.rename("anna-cb", "maria-cb") == "maria-cb"
    with pytest.raises(InvalidName):
        actions.rename("maria-cb", "cat")
    actions.delete("maria-cb")
    assert actions.everybody() == ()


def test_mixing_and_making_up_write_people_with_pictures(context: Context, studio: Studio) -> None:
    trained(studio)
    actions = PeopleActions(context)
    assert actions.mix([("anna-cb", 0.5), (NAMES[0], 0.5), ("", 0.3)], "mix-cb") == "mix-cb"
    assert actions.make_up(7, "nobody-cb") == "nobody-cb"
    people = {person.name: person for person in actions.everybody()}
    assert people["mix-cb"].preview is not None and people["nobody-cb"].preview is not None
    with pytest.raises(InvalidSettings, match="at least two"):
        actions.mix([("anna-cb", 1.0), (NAMES[0], 0.0)], "other-cb")
    with pytest.raises(NameTaken):
        actions.make_up(8, "mix-cb")
    with pytest.raises(InvalidSettings, match="Nobody is known"):
        actions.mix([("anna-cb", 1.0), ("Nobody Atall", 1.0)], "other-cb")


def test_settings_are_known_for_interrupted_people_only(context: Context, studio: Studio) -> None:
    trained(studio)
    actions = PeopleActions(context)
    with pytest.raises(InvalidSettings, match="finished"):
        actions.config_of(actions.find("anna-cb"))
    (context.embeddings_dir / "anna-cb.resume").write_bytes(b"x")
    assert actions.config_of(actions.find("anna-cb")) == dataclasses.replace(CONFIG, steps=3)


class Balanced(HTMLParser):
    """Fails where a tag is not closed, or an attribute holds markup."""

    VOID = ("img", "rect", "circle", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said = ""
        self.feed(html)
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said += data


EVIL = "<img src=x onerror=\"alert('1')\">&"


def evil_person(folder: Path) -> TrainedPerson:
    path = folder / "a-cb.safetensors"
    save_embedding(Embedding("a-cb", {"clip_l": np.ones((2, 4), np.float32)}), folder)
    facts = {"checkpoint": {"name": EVIL}, "scores": {"likeness": 0.5, "impostors": 0.1}}
    return TrainedPerson("a-cb", path, None, True, 0.0, facts)


def job(**changes: object) -> Job:
    return dataclasses.replace(Job("1", EVIL, "train", "running", started=1.0), **changes)  # type: ignore[arg-type]


def outcome() -> Outcome:
    embedding = Embedding("anna-cb", {"clip_l": np.ones((2, 4), np.float32)})
    saved = Saved((embedding,), (Path("anna-cb.safetensors"),), finished=True)
    rows = (SheetRow("anna-cb", "", (PHOTO, PHOTO)), SheetRow("a person", "", (None, PHOTO)))
    return Outcome(saved, (Scores(0.71, 0.04, 1.0, 0.83, 0.5),), PHOTO, rows, ("photo", f"a photo of {EVIL}"))


def shown(folder: Path) -> dict[str, str]:
    """Every piece of HTML, with something nasty wherever text from outside gets in."""
    progress = Progress(EVIL, 3, 10, 61.0, (0.3, 0.2, 0.1), PHOTO, 2)
    face = OneFace().detect(PHOTO)[0]
    person = evil_person(folder)
    return {
        "error": markup.error_box(CelebBasisError(EVIL, EVIL)),
        "note": markup.note_box(EVIL),
        "notices": markup.notices([EVIL]),
        "name": markup.name_hint(EVIL, EVIL, [EVIL]),
        "portrait": markup.portrait(PHOTO, [face, face], 2),
        "progress": markup.progress_panel(job(progress=progress), 0, True),
        "failed": markup.progress_panel(job(state="failed", ended=9.0), 0, True),
        "none": markup.progress_panel(None, 0, True),
        "outcome": markup.outcome_panel(outcome(), True),
        "queue": markup.queue_line([job()], None),
        "cards": markup.cards([person], "a-cb", {EVIL: 1}),
        "details": markup.details(person, [(EVIL, EVIL)], False),
        "gallery": gallery([PHOTO], EVIL),
    }


def test_html_is_whole_and_text_stays_text(tmp_path: Path) -> None:
    for name, html in shown(tmp_path).items():
        parsed = Balanced(html)
        assert not [tag for tag, attributes in parsed.tags if "onerror" in attributes], name
        assert all(a.get("alt") is not None for tag, a in parsed.tags if tag == "img"), name


def test_progress_says_where_it_stands() -> None:
    progress = Progress("Learning", 3, 10, 200.0, (0.3, 0.2, 0.1))
    html = markup.progress_panel(job(progress=progress), 0, True)
    assert "step 3 of 10 · 3 min left" in Balanced(html).said
    (bar,) = [a for _, a in Balanced(html).tags if a.get("role") == "progressbar"]
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("3", "10")
    assert "progressbar" not in markup.progress_panel(job(progress=progress), 0, False)
    assert 'data-active="true"' in html
    assert 'data-active="false"' in markup.progress_panel(job(state="done", ended=3.0), 0, True)


def test_scores_stand_beside_those_of_anybody() -> None:
    said = Balanced(markup.outcome_panel(outcome(), True)).said
    assert re.search(r"anna-cb\s*0\.71\s*83%", said)
    assert re.search(r"anybody \(“a person”\)\s*0\.04\s*50%", said)
    pictures = [a["alt"] for tag, a in Balanced(markup.outcome_panel(outcome(), True)).tags if tag == "img"]
    assert pictures == ["anna-cb: photo", f"anna-cb: a photo of {EVIL}", f"a person: a photo of {EVIL}"]
    unjudged = dataclasses.replace(outcome(), scores=(Scores(0.71, 0.04, 1.0),))
    assert "obedience" not in markup.outcome_panel(unjudged, True)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (-3, "0 s"), (45, "45 s"), (100, "2 min"), (3900, "1 h 5 min")]
)
def test_durations(seconds: float, said: str) -> None:
    assert markup.duration(seconds) == said


def test_the_loss_curve_spans_the_planned_steps_and_is_thinned_out() -> None:
    assert loss_curve([0.5], 1, 10) == ""
    points = re.findall(r'points="([^"]+)"', loss_curve([0.5, 0.4, 0.3, 0.2, 0.1], 5, 10))
    assert len(points) == 2
    xs = [float(point.split(",")[0]) for point in points[0].split()]
    assert xs[-1] == pytest.approx(WIDTH / 2)
    resumed = re.search(r'points="([0-9.]+),', loss_curve([0.5, 0.4, 0.3], 10, 10))
    assert resumed and float(resumed.group(1)) == pytest.approx(0.8 * WIDTH)
    assert len(re.findall(r"\d,\d", loss_curve(list(np.linspace(1, 0, 5000)), 5000, 5000))) < 1000


def test_the_running_mean_has_no_bias_at_the_start() -> None:
    assert running_mean([2.0] * 5) == pytest.approx([2.0] * 5)
    weights = 0.9 ** np.arange(4)[::-1]
    assert running_mean([1.0, 2.0, 3.0, 4.0])[-1] == pytest.approx(np.average([1, 2, 3, 4], weights=weights))


def test_cards_come_from_the_folder(context: Context, studio: Studio) -> None:
    trained(studio)
    html = markup.cards(list_people(context.embeddings_dir), "anna-cb", {})
    (button,) = [a for tag, a in Balanced(html).tags if tag == "button"]
    assert (button["data-cb-person"], button["aria-pressed"]) == ("anna-cb", "true")
    assert "Nobody has been learned yet" in markup.cards([], None, {})


def test_a_hundred_cards_are_light_and_a_damaged_picture_is_a_letter(tmp_path: Path) -> None:
    large = np.random.default_rng(0).integers(0, 256, (512, 512, 3), np.uint8)
    save_png(large, preview := tmp_path / "anna-cb.preview.png")
    person = TrainedPerson("anna-cb", tmp_path / "anna-cb.safetensors", preview, False, 0.0, {})
    page = markup.cards([person] * 100, None, {})
    assert page.count("<img") == 100 and len(page) < 100 * preview.stat().st_size / 10
    preview.write_bytes(b"no picture")
    assert "<img" not in markup.cards([person], None, {}) and ">A</span>" in markup.cards([person], None, {})
