"""The Train page: photos, names, settings; progress while it runs; words, scores and a sheet at the end.

Train learns from the photos; Instant writes at once what the checkpoint's encoder sees in them.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from celebbasis_ext.config_rules import FIELDS
from celebbasis_ext.describe import GivenWords
from celebbasis_ext.errors import CelebBasisError, InvalidSettings
from celebbasis_ext.files.people import versions
from celebbasis_ext.gallery_job import EncoderOutcome
from celebbasis_ext.job_queue import Job
from celebbasis_ext.jobs import Order
from celebbasis_ext.recipes import PRESETS, presets
from celebbasis_ext.studio import SeenPhoto, Studio
from celebbasis_ext.training_job import PLAIN, Outcome, PreviewWish
from celebbasis_ext.types import LoraConfig, TrainConfig
from celebbasis_ext.ui import markup
from celebbasis_ext.ui.config_fields import config_components, config_from, values_of
from celebbasis_ext.ui.gradio_versions import QUIET, plain_html, uploaded

MOST_PHOTOS = 4
CONSENT = "This is me, or somebody who has agreed to be learned."
SEVERAL = "Several photos of one person make a better likeness: give them the same name."
LORA = (
    f"A second file on top of the word, learned in {LoraConfig().steps} more steps; where it was measured, it added "
    "little. Instant makes none."
)
_BEFORE_SETTINGS = 7
"""Entries of the form: photos, consent, prompt, every, LoRA, preset, warm; then the settings, then the people."""


@dataclass(frozen=True)
class PersonRow:
    """The components of one photo: everything that belongs to one person."""

    group: Any
    portrait: Any
    face: Any
    look: Any
    name: Any
    hint: Any
    words: Any

    @property
    def all(self) -> list[Any]:
        return [self.group, self.portrait, self.face, self.name, self.hint, self.words]

    @property
    def inputs(self) -> list[Any]:
        return [self.face, self.name, self.words]


class TrainPage:
    """Lays the page out and connects it; made inside a `gr.Blocks`."""

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        with gr.Row():
            with gr.Column(scale=1, min_width=320):
                self._lay_out_people()
                self._lay_out_settings()
                self._lay_out_buttons()
            with gr.Column(scale=1, min_width=320, elem_id="celebbasis_results"):
                self._lay_out_results()
        self._connect_people()
        self._connect_settings()
        self._connect_buttons()

    def _lay_out_people(self) -> None:
        self.photos = gr.File(
            label="Photos: drop, choose or paste", file_count="multiple", file_types=["image"],
            elem_id="celebbasis_photos",
        )  # fmt: skip
        plain_html(markup.quiet_line(SEVERAL), elem_id="celebbasis_several")
        self.stranger = None
        if self.studio.context.draw_stranger is not None:
            self.stranger = gr.Button("Try with a drawn stranger", elem_id="celebbasis_stranger", size="sm")
        self.fetch = self._fetch_button()
        self.looked_at = gr.State(())
        self.rows = [self._person_row(i) for i in range(MOST_PHOTOS)]
        self.check = gr.Button("Check names", elem_id="celebbasis_check", elem_classes=["cb-hidden"])

    def _fetch_button(self) -> Any:
        """For what photos of real faces need once; never fetched unasked."""
        missing = self.studio.context.missing_models()
        size = sum(file.size for file in missing) / 1e6
        licences = " and ".join(sorted({file.licence for file in missing}))
        return gr.Button(
            f"Fetch the face models: {size:.0f} MB from OpenCV's model zoo, licence {licences}",
            visible=bool(missing), elem_id="celebbasis_fetch", size="sm",
        )  # fmt: skip

    def _person_row(self, index: int) -> PersonRow:
        with gr.Column(visible=False, elem_classes=["cb-person"]) as group, gr.Row():
            with gr.Column(scale=1, min_width=140):
                portrait = plain_html(elem_id=f"celebbasis_portrait_{index}")
            with gr.Column(scale=2, min_width=180):
                face = gr.Radio([], label="Which face", visible=False, elem_id=f"celebbasis_face_{index}")
                look = gr.Button("Look", elem_id=f"celebbasis_look_{index}", elem_classes=["cb-hidden"])
                name = gr.Textbox(
                    label="Name: the trigger word", placeholder="anna-cb", elem_id=f"celebbasis_name_{index}"
                )
                hint = plain_html(elem_id=f"celebbasis_hint_{index}")
                words = gr.Textbox(
                    label="In the photo, but not the person", placeholder="red background, wearing glasses",
                    info="Said while training, so that it does not become part of the person.",
                    elem_id=f"celebbasis_words_{index}",
                )  # fmt: skip
        return PersonRow(group, portrait, face, look, name, hint, words)

    def _lay_out_settings(self) -> None:
        self.preset = gr.Radio(
            list(PRESETS), value="Balanced", label="Preset", elem_id="celebbasis_preset",
            info="Where the checkpoint has learned from its celebrities, they start from what it sees in the face.",
        )  # fmt: skip
        self.warm = gr.State(False)  # whether the settings are those that start there
        self.lora = gr.Checkbox(False, label="Also a LoRA", info=LORA, elem_id="celebbasis_lora")
        with gr.Accordion("Advanced", open=False, elem_id="celebbasis_advanced"):
            self.settings = config_components(PRESETS["Balanced"])
        with gr.Accordion("Preview while training", open=False, elem_id="celebbasis_previews"):
            self.prompt = gr.Textbox(PLAIN, label="Prompt, with {} for the name", elem_id="celebbasis_prompt")
            self.every = gr.Number(
                20, label="Every so many steps (0 for never)", precision=0, elem_id="celebbasis_every"
            )

    def _lay_out_buttons(self) -> None:
        self.consent = gr.Checkbox(False, label=CONSENT, elem_id="celebbasis_consent")
        self.message = plain_html(elem_id="celebbasis_message")
        self.learn = gr.Button(
            "Learn from this checkpoint’s celebrities", visible=False, elem_id="celebbasis_learn", size="sm"
        )
        with gr.Row():
            self.train = gr.Button("Train", variant="primary", elem_id="celebbasis_train", min_width=130, scale=2)
            self.instant = gr.Button("Instant", elem_id="celebbasis_instant", min_width=90, scale=1)
            self.stop = gr.Button("Stop", interactive=False, elem_id="celebbasis_stop", min_width=90, scale=1)
            self.resume = gr.Button("Resume", interactive=False, elem_id="celebbasis_resume", min_width=90, scale=1)

    def _lay_out_results(self) -> None:
        with gr.Column(
            elem_classes=["cb-tight"]
        ):  # of its own: the WebUI puts its bar before the first element in here
            people = markup.known_people(versions(self.studio.context.embeddings_dir))
            self.progress = plain_html(f'<div class="cb-job" {people}></div>', elem_id="celebbasis_progress")
        self.outcome = plain_html(elem_id="celebbasis_outcome")
        self.queue = plain_html(elem_id="celebbasis_queue")
        self.watch = gr.Button("Watch", elem_id="celebbasis_watch", elem_classes=["cb-hidden"])
        self.shown = gr.State("")

    def _connect_people(self) -> None:
        rows = self.rows
        every_output = [self.looked_at, *(component for row in rows for component in row.all), self.message]
        every_input = [self.photos, self.looked_at, *(component for row in rows for component in row.inputs)]
        self.photos.change(self._photos_changed, every_input, every_output, queue=False)
        if self.stranger is not None:
            self.stranger.click(self._draw_stranger, None, self.photos, queue=False)
        self.check.click(self._name_hints, [row.name for row in rows], [row.hint for row in rows], **QUIET)
        for index, row in enumerate(rows):
            row.look.click(  # the page asks when another face is chosen than is framed
                lambda files, face, index=index: self._face_chosen(files, face, index),
                [self.photos, row.face], [row.portrait, row.words], **QUIET,
            )  # fmt: skip

    def _connect_settings(self) -> None:
        filled = [self.warm, *self.settings]
        self.preset.change(self._preset_chosen, self.preset, filled, **QUIET)
        for event in (self.photos.change, self.outcome.change):  # whenever there may be an encoder of late
            event(self._presets_again, [self.preset, *filled], filled, **QUIET)

    def _connect_buttons(self) -> None:
        buttons = [self.train, self.stop, self.resume, self.fetch, self.learn]
        shown = [self.shown, self.progress, self.outcome, self.queue, *buttons]
        people = [component for row in self.rows for component in row.inputs]
        before = [self.photos, self.consent, self.prompt, self.every, self.lora, self.preset, self.warm]
        form = [*before, *self.settings, *people]
        self.train.click(self._train, form, [self.message, *shown], **QUIET)
        self.instant.click(self._insert, form, [self.message, *shown], **QUIET)
        self.learn.click(self._learn, None, [self.message, *shown], **QUIET)
        self.fetch.click(self._fetch, None, [self.message, *shown], **QUIET)
        self.stop.click(self._stop, None, shown, **QUIET)
        self.resume.click(self._resume, form, [self.message, *shown], **QUIET)
        self.watch.click(self._watch, self.shown, shown, **QUIET)

    def _photos_changed(self, files: Any, before: Sequence[str], *entries: Any) -> list[Any]:
        """Looks at new photos; what was typed beside the others stays."""
        paths = uploaded(files)
        kept = [str(path) for path in paths[:MOST_PHOTOS]]
        typed = {path: entries[3 * i : 3 * i + 3] for i, path in enumerate(before)}
        names: list[str] = []
        updates: list[Any] = []
        for i, path in enumerate(kept):
            fresh = (None, entries[3 * i + 1], None) if i >= len(before) else None
            updates += self._filled_row(Path(path), typed.get(path, fresh), names)
        updates += [gr.update(visible=False), "", gr.update(value=None), "", "", ""] * (MOST_PHOTOS - len(kept))
        too_many = f"Only the first {MOST_PHOTOS} photos are used." if len(paths) > MOST_PHOTOS else ""
        return [tuple(kept), *updates, markup.note_box(too_many) if too_many else ""]

    def _filled_row(self, path: Path, typed: Sequence[Any] | None, names: list[str]) -> list[Any]:
        face, name, words = typed or (None, "", None)
        chosen = int(face) if face else None
        seen = self.studio.look_at(path, chosen)
        name = name or self.studio.proposal(path.stem, names)
        names.append(name)
        several = len(seen.faces) > 1
        return [
            gr.update(visible=True),
            _portrait(seen, chosen),
            gr.update(choices=[str(i + 1) for i in range(len(seen.faces))], value=face or None, visible=several),
            name,
            self._hint(name, names[:-1]),
            words or ", ".join(seen.words),
        ]

    def _face_chosen(self, files: Any, face: str | None, index: int) -> tuple[Any, Any]:
        paths = uploaded(files)
        if not face or index >= len(paths):
            return gr.update(), gr.update()
        seen = self.studio.look_at(paths[index], int(face))
        return _portrait(seen, int(face)), ", ".join(seen.words)

    def _name_hints(self, *names: str) -> list[str]:
        """For every name what is to be said of it; the page asks whenever one has changed."""
        return [self._hint(name, [other for other in names[:i] if other]) for i, name in enumerate(names)]

    def _hint(self, name: str, others: Sequence[str]) -> str:
        complaint = self.studio.complaint(name, others)
        if complaint is not None:
            return markup.name_hint(name, str(complaint))
        return markup.name_hint(name, "", self.studio.surprises(name), again=name in others)

    def _draw_stranger(self) -> list[str]:
        """A portrait of somebody new, as if it had been uploaded."""
        import random
        import tempfile

        from celebbasis_ext.evaluate.sheets import save_png

        assert self.studio.context.draw_stranger is not None
        seed = random.randrange(10_000)
        path = Path(tempfile.mkdtemp(prefix="celebbasis-")) / f"stranger-{seed}.png"
        save_png(self.studio.context.draw_stranger(seed), path)
        return [str(path)]

    def _has_encoder(self) -> bool:
        try:
            return self.studio.encoder() is not None
        except CelebBasisError:  # such as a checkpoint that nobody can be learned with; Train says so
            return False

    def _preset_chosen(self, name: str) -> list[Any]:
        warm = self._has_encoder()
        return [warm, *values_of(presets(warm)[name])]

    def _presets_again(self, name: str, warm: bool, *settings: Any) -> list[Any]:
        """The preset's settings for the checkpoint as it is now; somebody's own settings stay."""
        now, values = self._settings_now(name, warm, settings)
        return [now, *(values if values != list(settings) else [gr.update()] * len(settings))]

    def _settings_now(self, name: str, warm: bool, settings: Sequence[Any]) -> tuple[bool, list[Any]]:
        """Whether the checkpoint has an encoder, and what the page's settings are with that: any preset's are those of
        the chosen one, which the page may not have heard of yet.
        """
        now = self._has_encoder()
        untouched = list(settings) in [values_of(preset) for preset in presets(warm).values()]
        return now, values_of(presets(now)[name]) if untouched else list(settings)

    def _train(self, *form: Any) -> list[Any]:
        return self._ordered(lambda: self.studio.train(*self._order(form)))

    def _insert(self, *form: Any) -> list[Any]:
        """Needs no settings. Where there is no encoder it is said what is to be done, once."""
        try:
            if self.studio.encoder() is None:
                said = markup.outlook_box(self.studio.outlook(), self.studio.context.in_webui)
                return [said, *self._watch("")[:-1], gr.update(visible=True)]
        except CelebBasisError as error:
            return [markup.error_box(error), *self._watch("")]
        return self._ordered(lambda: self.studio.insert(self._people(form, TrainConfig())))

    def _learn(self) -> list[Any]:
        answer = self._ordered(self.studio.learn_celebrities)
        return [*answer[:-1], gr.update(visible=bool(answer[0]))]

    def _resume(self, *form: Any) -> list[Any]:
        return self._ordered(lambda: self.studio.resume(*self._unfinished(form)))

    def _fetch(self) -> list[Any]:
        return self._ordered(self.studio.fetch_models)

    def _stop(self) -> list[Any]:
        self.studio.stop()
        return self._watch("")

    def _ordered(self, give: Callable[[], Job]) -> list[Any]:
        """Gives an order; what is wrong with it is said beside the buttons."""
        try:
            give()
        except CelebBasisError as error:
            return [markup.error_box(error), *self._watch("")]
        return ["", *self._watch("")]

    def _order(self, form: Sequence[Any], unfinished: bool = False) -> tuple[Order, PreviewWish]:
        """The page's entries.

        Raises:
            CelebBasisError: See `_people`; or a setting makes no sense.
        """
        _, _, prompt, every, lora, preset, warm = form[:_BEFORE_SETTINGS]
        settings = form[_BEFORE_SETTINGS : _BEFORE_SETTINGS + len(FIELDS)]
        if not unfinished:  # the page may not have heard yet that there is an encoder
            _, settings = self._settings_now(preset, warm, settings)
        order = self._people(form, config_from(settings), unfinished)
        order = dataclasses.replace(order, lora=LoraConfig() if lora else None)
        return order, PreviewWish((prompt or "").strip() or PLAIN, max(0, int(every or 0)))

    def _people(self, form: Sequence[Any], config: TrainConfig, unfinished: bool = False) -> Order:
        """Who is to be learned.

        Raises:
            CelebBasisError: See `order_from`; or nobody has said that the person agrees.
        """
        files, consent = form[:2]
        if not consent:
            raise InvalidSettings("Nobody has said yet that the person agrees.", f"Tick the box “{CONSENT}”")
        order = order_from(uploaded(files), form[_BEFORE_SETTINGS + len(FIELDS) :], config)
        for i, name in enumerate(order.names):
            complaint = None if unfinished else self.studio.complaint(name, order.names[:i])
            if complaint is not None:
                raise complaint
        return order

    def _unfinished(self, form: Sequence[Any]) -> tuple[Order, PreviewWish]:
        """What to go on with: the page's entries, if they belong to an interrupted run, or the run stopped last.

        Raises:
            InvalidSettings: There is neither.
        """
        typed = form[_BEFORE_SETTINGS + len(FIELDS) + 1 :: 3][: len(uploaded(form[0]))]
        names = [str(name or "").strip() for name in typed]
        stopped = self.studio.stopped(names) or (None if names else self.studio.stopped())
        if stopped is not None:
            return stopped
        if names and self.studio.is_unfinished(names):
            return self._order(form, unfinished=True)
        raise InvalidSettings(
            "There is no interrupted run of these names." if names else "There is no interrupted run to go on with.",
            "Give the photo and the name that it was started with, or press Train.",
        )

    def _watch(self, shown: str) -> list[Any]:
        """How the current training stands; what has not changed since `shown` is not sent again."""
        job, context = self.studio.current(), self.studio.context
        people = versions(context.embeddings_dir)
        mark = zlib.crc32(repr(people).encode())
        now = f"{job.id} {job.state} {mark}" if job else f"nothing {mark}"
        busy = job is not None and not job.over
        changed = None if now == shown else people
        progress = markup.progress_panel(job, self.studio.ahead_of(job), not context.in_webui, changed)
        queue = markup.queue_line(context.queue.jobs(), job)
        if now == shown:
            return [now, progress if busy else gr.update(), gr.update(), queue, *[gr.update()] * 5]
        return [
            now,
            progress,
            self._ending(job),
            queue,
            gr.update(value="Train another" if busy else "Train"),
            gr.update(interactive=busy),
            gr.update(interactive=not busy and self.studio.anybody_unfinished()),
            gr.update(visible=bool(context.missing_models())),
            gr.update(visible=True) if _to_be_gone_on_with(job) else gr.update(),
        ]

    def _ending(self, job: Job | None) -> str:
        if job is not None and job.error is not None:
            return markup.error_box(job.error)
        if job is not None and isinstance(job.result, Outcome):
            return markup.outcome_panel(job.result, self.studio.context.in_webui)
        if job is not None and isinstance(job.result, EncoderOutcome):
            return markup.encoder_panel(job.result)
        return ""


def _to_be_gone_on_with(job: Job | None) -> bool:
    """Whether the checkpoint began to learn from its celebrities, and did not come to the end."""
    return job is not None and job.kind == "encoder" and job.state in ("stopped", "failed")


def _portrait(seen: SeenPhoto, chosen: int | None) -> str:
    picture = markup.portrait(seen.image, seen.faces, chosen) if seen.image is not None else ""
    return picture + markup.notices(seen.warnings) + (markup.error_box(seen.error) if seen.error else "")


def order_from(paths: Sequence[Path], people: Sequence[Any], config: TrainConfig) -> Order:
    """The page's entries as an order.

    Args:
        paths: The photos.
        people: For each row, also the empty ones: number of the face, name, words.
        config: How to train.

    Raises:
        InvalidSettings: There is no photo.
        UnreadableImage: See `read_photo`.
    """
    from celebbasis_ext.files.photo import read_photo

    if not paths:
        raise InvalidSettings("There is no photo yet.", "Drop one, choose one, or paste one.")
    rows = [people[3 * i : 3 * i + 3] for i in range(min(len(paths), MOST_PHOTOS))]
    return Order(
        tuple(read_photo(path) for path in paths[:MOST_PHOTOS]),
        tuple(str(name or "").strip() for _, name, _ in rows),
        config,
        faces=tuple(int(face) if face else None for face, _, _ in rows),
        descriptions=tuple(GivenWords(words or "").phrases for _, _, words in rows),
    )
