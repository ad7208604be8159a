"""What the tab shows, as HTML in the page's own colours. Pure functions: values in, text out."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from celebbasis_ext.types import Scores
from celebbasis_ext.ui.loss_curve import loss_curve
from celebbasis_ext.ui.pictures import card_uri, data_uri, drawings, picture_uri, sheet_link

if TYPE_CHECKING:
    from celebbasis_ext.errors import CelebBasisError
    from celebbasis_ext.files.people import TrainedPerson
    from celebbasis_ext.gallery_job import EncoderOutcome, Outlook
    from celebbasis_ext.job_queue import Job
    from celebbasis_ext.training_job import Outcome
    from celebbasis_ext.types import Encoder, Face, Image, Understood

FORETOLD = " What is expected was said before anything was drawn, of plain photos; sketches and hats are harder."
STATES = {"queued": "Waiting", "running": "Running", "done": "Done", "stopped": "Stopped", "failed": "Failed"}


def error_box(error: CelebBasisError) -> str:
    """What is wrong, and what to do."""
    hint = f"<p>{escape(error.hint)}</p>" if error.hint else ""
    return f'<div class="cb-box cb-error" role="alert"><p><strong>{escape(error.message)}</strong></p>{hint}</div>'


def note_box(text: str) -> str:
    return f'<div class="cb-box" role="status"><p>{escape(text)}</p></div>'


def notices(texts: Iterable[str]) -> str:
    return "".join(f'<div class="cb-box cb-warning"><p>{escape(text)}</p></div>' for text in texts)


def hint_line(text: str, good: bool = False) -> str:
    """A line below a field; empty text leaves no line."""
    return f'<p class="cb-hint {"cb-good" if good else "cb-bad"}" role="status">{escape(text)}</p>' if text else ""


def quiet_line(text: str) -> str:
    """A line that explains a field."""
    return f'<p class="cb-hint">{escape(text)}</p>'


def name_hint(name: str, complaint: str, surprises: Sequence[str] = (), again: bool = False) -> str:
    """The lines below a name; they say which name they are about, so that the page can tell when they are old.

    Args:
        name: What was typed.
        complaint: Why it cannot be given.
        surprises: What else is to be said.
        again: Whether a photo before has this name too.
    """
    praise = f"Another photo of {name}." if again else f"Write {name} in a prompt."
    lines = hint_line(complaint) if complaint else hint_line(praise, good=True)
    more = "".join(hint_line(surprise, good=True) for surprise in surprises)
    return f'<div class="cb-name-hint" data-name="{escape(name, quote=True)}">{lines}{more}</div>'


def portrait(photo: Image, faces: Sequence[Face], chosen: int | None) -> str:
    """The photo with its faces framed, and numbered where there are several; the chosen one, whom the page reads too,
    stands out.
    """
    height, width = photo.shape[:2]
    unit = max(height, width) / 100
    frames = "".join(_frame(face, i, unit, len(faces) > 1, i == chosen) for i, face in enumerate(faces, start=1))
    count = f"{len(faces)} face{'s' * (len(faces) != 1)} found"
    return (
        f'<figure class="cb-portrait" data-face="{chosen or ""}"><div>'
        f'<img src="{picture_uri(photo, "JPEG")}" alt="The photo: {count}">'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{frames}</svg></div>'
        f"<figcaption>{count}</figcaption></figure>"
    )


def _frame(face: Face, number: int, unit: float, several: bool, chosen: bool) -> str:
    left, top, right, bottom = (float(v) for v in face.box)
    kind = "cb-chosen" if chosen or not several else ""
    frame = (
        f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}" '
        f'rx="{unit:.1f}" stroke-width="{unit:.2f}"/>'
    )
    if not several:
        return frame
    return (
        f'{frame}<circle class="{kind}" cx="{left:.1f}" cy="{top:.1f}" r="{5 * unit:.1f}"/>'
        f'<text x="{left:.1f}" y="{top + 2.4 * unit:.1f}" font-size="{7 * unit:.1f}">{number}</text>'
    )


def known_people(people: Mapping[str, int]) -> str:
    """Who is there, for the page to look at; see `files.people.versions`. Answers also say when they were given."""
    return f'data-people="{escape(json.dumps(people), quote=True)}"'


def _now() -> str:
    return f'data-at="{time.time():.2f}"'


def progress_panel(job: Job | None, ahead: int, own_bar: bool, people: Mapping[str, int] | None = None) -> str:
    """A job under way, or how it ended.

    Args:
        job: The training that is shown; None before the first.
        ahead: Jobs that come before it.
        own_bar: Whether to draw a bar; the WebUI has its own.
        people: Everybody, where that has changed.
    """
    known = f"{known_people(people)} {_now()}" if people is not None else _now()
    if job is None:
        return f'<div class="cb-job" data-active="false" {known}></div>'
    active = "false" if job.over else "true"
    parts = [_headline(job, ahead), _bar(job) if own_bar and not job.over else "", *_pictures(job)]
    return (
        f'<div class="cb-job" data-active="{active}" data-job="{job.id}" data-state="{job.state}" {known}>'
        f"{''.join(parts)}</div>"
    )


def _headline(job: Job, ahead: int) -> str:
    progress = job.progress
    if job.state == "queued":
        text = f"Waiting, {ahead} ahead" if ahead else "Waiting for the checkpoint"
    elif job.state == "running":
        text = "Stopping after this step" if job.stopping else progress.text or "Starting"
        if progress.steps and not job.stopping:
            text += f" · step {progress.step} of {progress.steps}"
        if progress.seconds_left is not None and not job.stopping:
            text += f" · {duration(progress.seconds_left)} left"
    else:
        text = STATES[job.state] + (f" after {duration(job.ended - job.started)}" if job.started and job.ended else "")
    return f'<p class="cb-headline"><strong>{escape(job.title)}</strong> <span>{escape(text)}</span></p>'


def duration(seconds: float) -> str:
    """A time as people say it: "45 s", "3 min", "1 h 5 min"."""
    if seconds < 90:
        return f"{max(0, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _bar(job: Job) -> str:
    done, steps = job.progress.step, job.progress.steps
    share = 100 * done / steps if steps else 0
    return (
        f'<div class="cb-bar" role="progressbar" aria-label="Training" aria-valuemin="0" aria-valuemax="{steps}" '
        f'aria-valuenow="{done}"><div style="width:{share:.1f}%"></div></div>'
    )


def _pictures(job: Job) -> list[str]:
    progress = job.progress
    parts = []
    if progress.losses:
        parts.append(loss_curve(progress.losses, progress.step, progress.steps))
    if progress.preview is not None and not (job.state == "done" and job.result):
        uri = picture_uri(progress.preview, "JPEG")
        parts.append(
            f'<figure class="cb-preview"><img src="{uri}" alt="Preview after step {progress.preview_step}">'
            f"<figcaption>after step {progress.preview_step}</figcaption></figure>"
        )
    return [f'<div class="cb-watch">{"".join(parts)}</div>'] if parts else []


def outcome_panel(outcome: Outcome, in_webui: bool) -> str:
    """The words to use, the scores beside those of anybody, and the contact sheet."""
    named = [embedding.name for embedding in outcome.saved.embeddings]
    words = "".join(word_line(name, in_webui) for name in named)
    loras = outcome.loras.loras if outcome.loras else ()
    with_loras = "".join(word_line(lora_word(lora.name), in_webui, drawn=in_webui) for lora in loras)
    rows = list(zip(named, outcome.scores, strict=False))
    rows += [(lora_word(lora.name), scores) for lora, scores in zip(loras, outcome.lora_scores, strict=False)]
    expected = dict(zip(named, outcome.understood, strict=False))
    scores = score_table(rows, expected) if rows else "".join(_expected_line(*entry) for entry in expected.items())
    said = f"{words}{with_loras}{_stopped(outcome)}{scores}{drawings(outcome)}"
    return f'<div class="cb-outcome"><h3>The trigger word</h3>{said}</div>'


def _stopped(outcome: Outcome) -> str:
    if not outcome.saved.finished:
        return '<p class="cb-hint">Stopped early. What was learned is saved; Resume goes on from here.</p>'
    if outcome.loras and not outcome.loras.finished:
        return '<p class="cb-hint">Stopped while a LoRA was learned, which is not saved. The words are whole.</p>'
    return ""


def lora_word(name: str) -> str:
    """What stands in a prompt of the WebUI for a person with their LoRA."""
    return f"{name} <lora:{name}:1>"


def expected_likeness(person: Understood) -> str:
    """What the encoder says of itself: "0.55 ± 0.07"."""
    if math.isnan(person.expected_likeness):
        return "unknown"
    return f"{person.expected_likeness:.2f} ± {person.doubt:.2f}"


def _expected_line(name: str, person: Understood) -> str:
    return hint_line(f"{name}: expected likeness {expected_likeness(person)}", good=True)


def outlook_box(outlook: Outlook, in_webui: bool) -> str:
    """Why nobody can be inserted yet, and what is to be done for it, once.

    Args:
        outlook: What that takes.
        in_webui: Whether pictures that somebody wants meanwhile come first.
    """
    assumed = "" if outlook.measured else " on a graphics card, and many times that without one"
    return note_box(
        f"This checkpoint has to be looked at once before Instant can work: it draws its {outlook.names:,} "
        f"celebrities, {outlook.pictures:,} pictures, in about {duration(outlook.seconds)}{assumed}. "
        f"{'You may go on drawing meanwhile. ' if in_webui else ''}Stopped, it goes on later where it ended."
    )


def encoder_panel(outcome: EncoderOutcome) -> str:
    """How sure the encoder is, and some of the celebrities that it learned from."""
    if outcome.encoder is None:
        said = quiet_line("Stopped early. What was drawn is kept; the same button goes on from here.")
    else:
        said = "".join(f"<p>{escape(line)}</p>" for line in encoder_lines(outcome.encoder))
    drawn = outcome.drawn
    sheet = sheet_link(drawn.sheet, "Contact sheet: celebrities") if drawn.sheet is not None else ""
    return f'<div class="cb-outcome"><h3>The checkpoint’s celebrities</h3>{said}{sheet}</div>'


def encoder_lines(encoder: Encoder) -> tuple[str, str]:
    """What it can do now, and how sure it is."""
    explained = float(encoder.facts.get("explained on held-out names", "nan"))
    learned = f"Learned from {encoder.facts.get('pairs', 'its')} pictures: Instant works now, and Train begins there."
    if math.isnan(encoder.doubt):
        return learned, "It was not looked at long enough to say how sure it is."
    return learned, (
        f"It explains {explained:.0%} of what sets celebrities apart whom it was not shown, and foretells the likeness "
        f"of somebody new to ± {encoder.doubt:.2f}."
    )


def word_line(name: str, in_webui: bool, drawn: bool = True) -> str:
    """A trigger word with what can be done with it.

    Args:
        name: The word.
        in_webui: Whose page is drawn with.
        drawn: Whether that page understands it.
    """
    word = escape(name, quote=True)
    where = "Send to txt2img" if in_webui else "Draw with it"
    send = f'<button type="button" class="cb-button" data-cb-send="{word}">{where}</button>' if drawn else ""
    return (
        f'<p class="cb-word"><code>{word}</code>'
        f'<button type="button" class="cb-button" data-cb-copy="{word}" aria-label="Copy {word}">Copy</button>'
        f"{send}</p>"
    )


def score_table(rows: Sequence[tuple[str, Scores]], understood: Mapping[str, Understood]) -> str:
    """Likeness and obedience of each person, and of "a person" below; beside them what was expected of whom."""
    judged = any(scores.obedience is not None for _, scores in rows)
    titles = ["", *(["expected"] if understood else []), "likeness", *(["obedience"] if judged else [])]
    head = "".join(f"<th scope='col'>{title}</th>" for title in titles)
    expected = {name: expected_likeness(person) for name, person in understood.items()}
    chance = [scores for _, scores in rows]
    likeness = sum(s.impostors for s in chance) / len(chance)
    anybody = Scores(likeness, likeness, 1.0, chance[0].impostors_obedience)

    def row(name: str, scores: Scores, kind: str = "") -> str:
        foretold = [expected.get(name, "-")] if understood else []
        obeyed = [f"{scores.obedience:.0%}" if scores.obedience is not None else "-"] if judged else []
        return _row(name, [*foretold, f"{scores.likeness:.2f}", *obeyed], kind)

    body = "".join(row(name, scores) for name, scores in rows)
    return (
        f'<table class="cb-scores"><thead><tr>{head}</tr></thead><tbody>{body}'
        f"{row('anybody (“a person”)', anybody, 'cb-quiet')}</tbody></table>"
        '<p class="cb-hint">Likeness is the recogniser’s cosine with the photo'
        f"{'; obedience the share of prompts that were followed' if judged else ''}. A number means little alone: "
        f"compare it with anybody’s.{FORETOLD if understood else ''}</p>"
    )


def _row(name: str, cells: Sequence[str], kind: str) -> str:
    values = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr class="{kind}"><th scope="row">{escape(name)}</th>{values}</tr>'


def queue_line(jobs: Sequence[Job], shown: Job | None) -> str:
    """The other jobs that wait or run."""
    others = [job for job in jobs if not job.over and (shown is None or job.id != shown.id)]
    if not others:
        return ""
    items = "".join(f"<li>{escape(job.title)} <span>{STATES[job.state].lower()}</span></li>" for job in others)
    return f'<div class="cb-queue"><p>Also in line:</p><ul>{items}</ul></div>'


def cards(people: Sequence[TrainedPerson], chosen: str | None, everybody: Mapping[str, int]) -> str:
    """The people as cards that can be pressed.

    Args:
        people: They.
        chosen: The name of the one whose card is pressed.
        everybody: See `known_people`.
    """
    shown = '<div class="cb-box"><p>Nobody has been learned yet. Go to Train and give a photo.</p></div>'
    if people:
        listed = "".join(_card(person, person.name == chosen) for person in people)
        shown = f'<div class="cb-cards" role="list">{listed}</div>'
    return f"<div {known_people(everybody)} {_now()}>{shown}</div>"


def _card(person: TrainedPerson, chosen: bool) -> str:
    name = escape(person.name, quote=True)
    face = f'<span class="cb-blank" aria-hidden="true">{escape(person.name[:1].upper())}</span>'
    if person.preview is not None and (picture := card_uri(person.preview)):
        face = f'<img src="{picture}" alt="">'
    scores = person.facts.get("scores") or {}
    likeness = f"likeness {scores['likeness']:.2f} · anybody {scores['impostors']:.2f}" if scores else "not scored"
    unfinished = '<span class="cb-tag">unfinished</span>' if person.resumable else ""
    return (
        f'<div role="listitem"><button type="button" class="cb-card" data-cb-person="{name}" '
        f'aria-pressed="{"true" if chosen else "false"}">{face}<strong>{name}</strong>{unfinished}'
        f"<span>{likeness}</span><span>{escape(checkpoint_of(person))} · <time>{date_of(person)}</time></span>"
        "</button></div>"
    )


def checkpoint_of(person: TrainedPerson) -> str:
    checkpoint = person.facts.get("checkpoint")
    return str(checkpoint.get("name", "")) if isinstance(checkpoint, dict) else ""


def date_of(person: TrainedPerson) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(person.changed))


def details(person: TrainedPerson, facts: Sequence[tuple[str, str]], in_webui: bool) -> str:
    """All that is known of a person, and a link that saves the file."""
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts)
    uri = data_uri(person.path.read_bytes(), "application/octet-stream")
    export = f'<a class="cb-button" download="{escape(person.path.name)}" href="{uri}">Export</a>'
    return f'<div class="cb-details">{word_line(person.name, in_webui)}<p>{export}</p><dl>{rows}</dl></div>'


def settings_text(settings: Any) -> str:
    """Settings as one line: "steps 100, batch 8 ..."."""
    return ", ".join(f"{key} {value}" for key, value in settings.items()) if isinstance(settings, dict) else ""
