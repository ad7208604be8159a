"""The command line: a thin door to `jobs`."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celebbasis_ext import __version__
from celebbasis_ext.errors import CelebBasisError
from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.types import Prepared, Saved, StepDone, TrainConfig

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Order, Workshop

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns the exit status: 0 done, 2 bad input, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except CelebBasisError as error:
        if options.debug:
            raise
        print(f"celebbasis: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("celebbasis: interrupted", file=sys.stderr)
        return INTERRUPTED


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="celebbasis", description="One photo of a face becomes a word for Stable Diffusion."
    )
    top.add_argument("--version", action="version", version=f"celebbasis {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_demo(commands)
    _add_names(commands)
    _add_lab(commands)
    _add_miniature(commands)
    for command in commands.choices.values():
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return top


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="learn people from one photo each")
    train.add_argument("photos", nargs="+", type=Path, metavar="PHOTO", help="one photo for each person")
    train.add_argument("--name", nargs="+", required=True, metavar="NAME", help="their trigger words, such as anna-cb")
    train.add_argument(
        "--out", type=Path, default=Path("embeddings"), help="folder for the files (default: %(default)s)"
    )
    train.add_argument("--face", type=int, metavar="N", help="which face, from the left, where a photo shows several")
    train.add_argument("--describe", nargs="+", metavar="WORDS", help="what is in each photo beside the person")
    train.add_argument("--describer", choices=("tagger", "clip", "none"), default="tagger", help="who else says it")
    train.add_argument("--overwrite", action="store_true", help="replace existing embeddings of these names")
    train.add_argument("--resume", action="store_true", help="go on with an interrupted run")
    train.add_argument("--pictures", type=int, default=4, metavar="N", help="pictures to score at the end (default: 4)")
    train.set_defaults(command=_train)
    _add_config(train)


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser("demo", help="learn a drawn stranger in the miniature and show the result")
    demo.add_argument("--out", type=Path, default=Path("demo"), help="folder for the files (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=1, help="which stranger (default: %(default)s)")
    demo.set_defaults(command=_demo)


def _add_names(commands: Any) -> None:
    names = commands.add_parser("names", help="show which celebrity names are used, and why the rest is not")
    names.add_argument("--rejected", action="store_true", help="list every name that is not used")
    names.set_defaults(command=_names)


def _add_lab(commands: Any) -> None:
    lab = commands.add_parser("lab", help="measure likeness, obedience and leak on drawn strangers")
    lab.add_argument("--people", type=int, default=8, help="how many strangers (default: %(default)s)")
    lab.add_argument("--seed", type=int, default=0, help="which strangers (default: %(default)s)")
    lab.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    lab.add_argument("--out", type=Path, default=Path("lab"), help="folder for the page (default: %(default)s)")
    lab.add_argument("--methods", nargs="+", metavar="METHOD", help="only these methods")
    lab.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: %(default)s")
    lab.set_defaults(command=_lab)


def _add_miniature(commands: Any) -> None:
    miniature = commands.add_parser("miniature", help="copy the miniature's checkpoint to where a WebUI loads it")
    miniature.add_argument("folder", type=Path, metavar="FOLDER", help="such as models/Stable-diffusion")
    miniature.set_defaults(command=_miniature)


def _add_config(command: argparse.ArgumentParser) -> None:
    """Every field of `TrainConfig` as an option; what is not given comes from the recipe."""
    command.add_argument("--recipe", choices=sorted(RECIPES), default="default", help="settings to start from")
    group = command.add_argument_group("training options (default: the recipe's)")
    hints = typing.get_type_hints(TrainConfig)
    for field in dataclasses.fields(TrainConfig):
        flag = "--" + field.name.replace("_", "-")
        default = f"default: {field.default}"
        if hints[field.name] is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, default=None, help=default)
        elif typing.get_origin(hints[field.name]) is typing.Literal:
            group.add_argument(flag, choices=typing.get_args(hints[field.name]), help=default)
        else:
            group.add_argument(flag, type=float if hints[field.name] is float else int, metavar="X", help=default)


def config_from(options: argparse.Namespace) -> TrainConfig:
    """The recipe with what was said on the command line in its place."""
    given = {f.name: getattr(options, f.name) for f in dataclasses.fields(TrainConfig)}
    return dataclasses.replace(RECIPES[options.recipe], **{k: v for k, v in given.items() if v is not None})


def _train(options: argparse.Namespace) -> int:
    from celebbasis_ext.describe import GivenWords
    from celebbasis_ext.files.photo import read_photo
    from celebbasis_ext.jobs import Order
    from celebbasis_ext.miniature.workshop import open_workshop

    photos = tuple(read_photo(path) for path in options.photos)
    descriptions = tuple(GivenWords(words).phrases for words in options.describe or ())
    order = Order(
        photos, tuple(options.name), config_from(options), options.face, descriptions, options.overwrite, options.resume
    )
    workshop = _with_describer(open_workshop(options.out), options.describer)
    saved = run(workshop, order)
    for embedding, path in zip(saved.embeddings, saved.paths, strict=True):
        print(f"{embedding.name}: {path}")
    if options.pictures and saved.finished:
        _score(workshop, order, saved, options.pictures)
    return 0 if saved.finished else INTERRUPTED


def _with_describer(workshop: Workshop, name: str) -> Workshop:
    """The workshop with another describer: CLIP for real photos, or none; the tagger is the miniature's own."""
    if name == "clip":
        from celebbasis_ext.describe_clip import OpenClipDescriber

        return dataclasses.replace(workshop, describer=OpenClipDescriber())
    if name == "none":
        from celebbasis_ext.describe import NoWords

        return dataclasses.replace(workshop, describer=NoWords())
    return workshop


def run(workshop: Workshop, order: Order) -> Saved:
    """Runs an order with a progress bar; the first Ctrl-C ends it after the step, and keeps what was learned."""
    from celebbasis_ext.jobs import train_people

    saved = None
    with _stop_on_interrupt() as stop:
        for event in train_people(workshop, order, stop):
            if isinstance(event, Prepared):
                for subject in event.subjects:
                    print(f"{subject.name}: face found; beside it: {', '.join(subject.description) or 'nothing said'}")
            elif isinstance(event, StepDone):
                _show_progress(event)
            else:
                saved = event
    assert saved is not None  # train_people always ends with Saved
    if not saved.finished:
        print("Stopped. What was learned is saved; go on with --resume.")
    return saved


def _show_progress(done: StepDone) -> None:
    """One line that is drawn over itself; a line every tenth of the way where the output is no terminal."""
    terminal = sys.stderr.isatty()
    if not terminal and done.step % max(1, done.steps // 10):
        return
    filled = round(30 * done.step / done.steps)
    bar = "#" * filled + "-" * (30 - filled)
    end = "\n" if not terminal or done.step == done.steps else ""
    text = f"[{bar}] {done.step}/{done.steps}  loss {done.loss:.4f}  {done.seconds_left:4.0f} s left"
    print(("\r" if terminal else "") + text, end=end, file=sys.stderr, flush=True)


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a question: was Ctrl-C pressed? The second time it interrupts at once."""
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _score(workshop: Workshop, order: Order, saved: Saved, pictures: int) -> None:
    """Draws a few pictures of each person, says how like the photo they are, and keeps the first as preview."""
    from celebbasis_ext.evaluate.score import score_pictures
    from celebbasis_ext.faces.base import find_face
    from celebbasis_ext.jobs import add_scores

    seeds = list(range(pictures))
    impostors = workshop.host.generate(["a photo of a person"] * pictures, seeds)
    for photo, embedding, path in zip(order.photos, saved.embeddings, saved.paths, strict=True):
        drawn = workshop.host.generate([f"a photo of {embedding.name}"] * pictures, seeds, [embedding])
        identity = find_face(workshop.faces, photo, order.face).identity
        scores = score_pictures(workshop.faces, identity, drawn, impostors)
        add_scores(path, scores, drawn[0])
        print(
            f"{embedding.name}: likeness {scores.likeness:.2f} (anybody: {scores.impostors:.2f}), "
            f"a face in {scores.faces_found:.0%} of {pictures} pictures"
        )


def _demo(options: argparse.Namespace) -> int:
    from celebbasis_ext.miniature.demo import run_demo

    run_demo(options.out, options.seed, run)
    return 0


def _names(options: argparse.Namespace) -> int:
    from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
    from celebbasis_ext.names import load_names, select_names

    tokenizer = clip_tokenizer()
    report = select_names(
        load_names(),
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        describe_token=lambda i: str(tokenizer.convert_ids_to_tokens(i)).removesuffix("</w>"),
    )
    print(
        f"{len(report.usable)} names are used: two tokens each, "
        f"{report.distinct(0)} first and {report.distinct(1)} last ones."
    )
    print(f"{len(report.rejected)} are not" + (":" if options.rejected else " (--rejected lists them):"))
    for rejected in report.rejected if options.rejected else report.rejected[:8]:
        print(f"  {rejected.name}: {rejected.reason}")
    return 0


def _miniature(options: argparse.Namespace) -> int:
    from celebbasis_ext.miniature.webui import install_miniature

    print(install_miniature(options.folder))
    return 0


def _lab(options: argparse.Namespace) -> int:
    from celebbasis_ext.evaluate.lab_report import run_lab

    run_lab(options.people, options.seed, options.out, options.json, options.methods, options.precision)
    return 0


if __name__ == "__main__":
    sys.exit(main())
