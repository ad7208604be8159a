"""Runs the examples of these pages in the miniature: what they print goes into the pages, and what they draw beside.

    python docs/pictures.py                     all pages, in order, since later ones use what earlier ones wrote
    python docs/pictures.py --keep FOLDER       and keep the photos, embeddings and pictures, to go on with
    python docs/pictures.py --keep FOLDER mix   only this picture anew, from a folder that was kept

A page's example is a block of console text. Each line after a `$` is run, in this process and in one folder for all
pages, and what stands below it is replaced. All people are drawn; all chance has a seed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow

from celebbasis_ext.cli import main
from celebbasis_ext.evaluate.sheets import SheetRow, contact_sheet
from celebbasis_ext.files.embedding import load_embedding
from celebbasis_ext.miniature.drawing import Look, draw, draw_pair
from celebbasis_ext.miniature.people import FIRST_NAMES, LAST_NAMES, celebrities, person_of, strangers
from celebbasis_ext.miniature.workshop import Assets, open_workshop

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host
    from celebbasis_ext.types import Embedding, Image

DOCS = Path(__file__).parent
PAGES = DOCS / "commands"
PICTURES = DOCS / "images" / "commands"
WIDEST = 1280

ANNA, BEN, CARLA = strangers(8, 502)[5], strangers(8, 501)[2], strangers(8, 502)[4]
SHEETS = {
    "a photo of {}": 4,
    "a photo of {}, at night, smiling": 5,
    "a photo of {}, at the beach": 8,
    "a sketch of {}": 3,
}
"""Prompts and their seeds."""
ALIKE = "a photo of {}, white background, in a blue shirt, smiling"
"""What is left to differ is the person."""


def draw_photos() -> None:
    """The photos that the pages speak of."""
    anna = draw(ANNA, Look(background="green", shirt="red", glasses=True, expression="smiling"), 256).image
    ben = draw(BEN, Look(background="city", shirt="white", hat="yellow"), 256).image
    party = draw_pair((BEN, CARLA), (Look(background="beach", shirt="red"), Look(shirt="green")), 384).image
    again = draw(ANNA, Look(background="beach", shirt="blue", expression="surprised"), 256).image
    photos = {"anna": anna, "anna2": again, "ben": ben, "party": party, "wall": np.full_like(anna, 150)}
    for name, photo in photos.items():
        Pillow.fromarray(photo).save(f"{name}.png")


def write_other() -> None:
    """An embedding for Stable Diffusion 1 as another trainer writes it."""
    import torch

    vectors = torch.randn(4, 768, generator=torch.Generator().manual_seed(1)) * 0.014
    torch.save(
        {"string_to_param": {"*": vectors}, "name": "other", "step": 3000, "sd_checkpoint_name": "v1-5"}, "other.pt"
    )


def write_tuned() -> None:
    """A checkpoint that stands for a fine-tune of the miniature: every weight is shaken a little."""
    import torch
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(1)
    weights = load_file(Assets().checkpoint)
    for name, weight in weights.items():
        if name.startswith(("model.diffusion_model.", "cond_stage_model.")) and weight.is_floating_point():
            own = weight.float()
            noise = torch.randn(own.shape, generator=generator) * own.std(unbiased=False) * 0.05
            weights[name] = (own + noise * (own != 0)).to(weight.dtype)
    save_file(weights, "tuned.safetensors")


class Run:
    """Commands that are run one after another, and how the last one ended."""

    def __init__(self) -> None:
        self.status = 0

    def __call__(self, line: str) -> str:
        """What a command line prints; `echo $?` too."""
        if line == "echo $?":
            return f"{self.status}\n"
        program, *arguments = shlex.split(line)
        assert program == "celebbasis", line
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                self.status = main(arguments)
            except SystemExit as ended:
                self.status = int(str(ended.code or 0))
        return _last_of_progress(printed.getvalue())


def _last_of_progress(text: str) -> str:
    """Of several bars below each other the last one; no blank line at the start."""
    return re.sub(r"(?m)^\[[#-]+\].*\n(?=\[[#-]+\])", "", text).lstrip("\n")


def refresh(page: Path, run: Run) -> None:
    """Runs a page's examples and writes what they print below them."""
    text = page.read_text(encoding="utf-8")

    def again(block: re.Match[str]) -> str:
        lines = [line for line in block[1].splitlines() if line.startswith("$ ")]
        return "```console\n" + "".join(f"{line}\n{_ended(run(line[2:]))}" for line in lines) + "```"

    page.write_text(re.sub(r"(?ms)^```console\n(.*?)^```", again, text), encoding="utf-8")


def _ended(printed: str) -> str:
    return printed if printed.endswith("\n") or not printed else f"{printed}\n"


def read(path: str | Path) -> Image:
    with Pillow.open(path) as image:
        return np.asarray(image.convert("RGB"))


def host_with(folder: str = "embeddings") -> Host:
    return open_workshop(Path(folder)).host


def embedding(name: str) -> Embedding:
    return load_embedding(Path("embeddings") / f"{name}.safetensors")


def drawn(host: Host, names: Sequence[str], prompt: str, people: Sequence[Embedding] = ()) -> tuple[Image, ...]:
    """The same noise for everybody."""
    return tuple(host.generate([prompt.format(name) for name in names], [4] * len(names), people))


def under_all(host: Host, person: Embedding) -> tuple[Image, ...]:
    return tuple(host.generate([prompt.format(person.name) for prompt in SHEETS], list(SHEETS.values()), [person]))


def demo() -> Image:
    return read("demo/contact-sheet.png")


def train() -> Image:
    """From the photo to the word: what is seen of it, and what is drawn for the word."""
    pictures = under_all(host_with(), embedding("anna-cb"))
    seen = [read(f"embeddings/anna-cb.{kind}.png") for kind in ("crop", "square")]
    captions = ["anna.png", "the face, aligned", "what is learned", *(p.replace("{}", "anna-cb") for p in SHEETS)]
    return contact_sheet([SheetRow("", "", (read("anna.png"), *seen, *pictures))], captions)


def insert() -> Image:
    """From one photo, from two, and with a training on top."""
    run = Run()
    run("celebbasis insert anna.png --name anna-one-cb")
    host = host_with()
    rows = [
        SheetRow(title, "", (photo, *under_all(host, embedding(name))))
        for title, name, photo in (
            ("one photo", "anna-one-cb", read("anna.png")),
            ("two photos", "anna-now-cb", read("anna2.png")),
            ("trained", "anna-cb", None),
        )
    ]
    return contact_sheet(rows, ["photos", *(p.replace("{}", "...") for p in SHEETS)])


def faces() -> Image:
    return read("party.faces.png")


def generate() -> Image:
    return read(next(Path("pictures").glob("*-sheet.png")))


def inspect() -> Image:
    """The person, and the celebrities whom `inspect` calls nearest."""
    printed = Run()("celebbasis inspect embeddings/anna-cb.safetensors --json")
    (found,) = json.loads(printed)
    near = found["nearest"][:5]
    pictures = drawn(host_with(), ["anna-cb", *(name for name, _ in near)], ALIKE, [embedding("anna-cb")])
    captions = ["anna-cb", *(f"{name} {cosine:.2f}" for name, cosine in near)]
    return contact_sheet([SheetRow("", "", pictures)], captions)


def mix() -> Image:
    """From Anna to Ben in a row."""
    from celebbasis_ext.tools import Parent, mix_people

    workshop = open_workshop(Path("embeddings"))
    shares = (1.0, 0.75, 0.5, 0.25, 0.0)
    people = []
    for share in shares:
        parents = [Parent("anna-cb", share), Parent("ben-cb", 1 - share)]
        people += mix_people(workshop, parents, f"row-{round(100 * share)}-cb", overwrite=True).embeddings
    names = [person.name for person in people]
    rows = [
        SheetRow("", "", drawn(workshop.host, names, prompt, people))
        for prompt in ("a photo of {}, at the beach, in a blue shirt, smiling", "a photo of {}, at night, with glasses")
    ]
    return contact_sheet(rows, ["anna-cb", *(f"{s:g} and {1 - s:g}" for s in shares[1:-1]), "ben-cb"])


def sample() -> Image:
    """Ten people, two rows of five."""
    run = Run()
    run("celebbasis sample --seed 20 --count 10 --out ten")
    people = [load_embedding(path) for path in sorted(Path("ten").glob("*.safetensors"))]
    pictures = drawn(host_with("ten"), [person.name for person in people], ALIKE, people)
    return contact_sheet([SheetRow("", "", pictures[:5]), SheetRow("", "", pictures[5:])], [])


def move() -> Image:
    """The same person on both checkpoints."""
    from celebbasis_ext.hosts.standalone import StandaloneHost

    moved = load_embedding(Path("moved/anna-tuned-cb.safetensors"))
    tuned = StandaloneHost.load(Path("tuned.safetensors"), Path("moved"))
    rows = [
        SheetRow("anna-cb", "miniature", under_all(host_with(), embedding("anna-cb"))),
        SheetRow(moved.name, "tuned", under_all(tuned, moved)),
    ]
    return contact_sheet(rows, [p.replace("{}", "...") for p in SHEETS])


def gallery() -> Image:
    return read("gallery.png")


def encoder() -> Image:
    """Six people who do not exist: portraits above, and below what comes of them."""
    from celebbasis_ext.basis import word_vectors
    from celebbasis_ext.encoder import answers
    from celebbasis_ext.encoder_job import with_encoder
    from celebbasis_ext.faces.base import find_face
    from celebbasis_ext.hosts.standalone import StandaloneHost
    from celebbasis_ext.jobs import basis_of
    from celebbasis_ext.types import Embedding

    tuned = StandaloneHost.load(Path("tuned.safetensors"), Path("embeddings"))
    workshop = with_encoder(replace(open_workshop(Path("embeddings")), host=tuned))
    assert workshop.encoder is not None  # the page's example has just learned it
    basis = basis_of(workshop)
    portraits = drawn(tuned, [person_of(7 * i, 11 * i + 3).name for i in range(6)], ALIKE)
    faces = np.stack([find_face(workshop.faces, portrait, "largest").identity for portrait in portraits])
    people = [
        Embedding(f"made-up-{i}-cb", word_vectors(basis, own)) for i, own in enumerate(answers(workshop.encoder, faces))
    ]
    inserted = drawn(tuned, [person.name for person in people], ALIKE, people)
    return contact_sheet([SheetRow("portrait", "", portraits), SheetRow("inserted", "", inserted)], [""] * 6)


def names() -> Image:
    """Two tokens, two columns: first names down, last names across."""
    firsts, lasts = (3, 40, 90), (8, 50, 77, 120)
    host = host_with()
    rows = [
        SheetRow(FIRST_NAMES[f], "", drawn(host, [person_of(f, last).name for last in lasts], ALIKE)) for f in firsts
    ]
    return contact_sheet(rows, [LAST_NAMES[last] for last in lasts])


def miniature() -> Image:
    """What the copied checkpoint draws for a name that it knows."""
    from celebbasis_ext.hosts.standalone import StandaloneHost

    host = StandaloneHost.load(Path("models/miniature.safetensors"), Path("embeddings"))
    prompts = (
        "a photo of {}", "a photo of {}, in the forest", "a photo of {}, at night", "a photo of {}, wearing a red hat",
        "a photo of {}, surprised", "a sketch of {}",
    )  # fmt: skip
    name = celebrities()[9].name
    pictures = host.generate([p.format(name) for p in prompts], list(range(4, 4 + len(prompts))))
    return contact_sheet([SheetRow("", "", tuple(pictures))], [p.format(name) for p in prompts])


def lab() -> Image:
    """The sheet's first columns, at their own size."""
    return read("lab/sheet-celeb_basis.png")[:, :1218]


MAKERS: dict[str, Callable[[], Image]] = {
    maker.__name__: maker
    for maker in (
        demo, train, insert, faces, generate, inspect, mix, sample, move, gallery, encoder, names, miniature, lab,
    )
}  # fmt: skip
"""In the order in which the pages are run."""


def save_picture(image: Image, path: Path) -> None:
    """A PNG with a palette, not wider than a page shows it."""
    picture = Pillow.fromarray(image)
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, round(picture.height * WIDEST / picture.width)), Pillow.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(192, Pillow.Quantize.MEDIANCUT, dither=Pillow.Dither.NONE).save(path, "PNG", optimize=True)


@contextlib.contextmanager
def working_in(folder: str | None) -> Iterator[None]:
    """A folder of its own, with a cache of its own, so that nothing of this computer shows."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(folder or temporary).resolve()
        work.mkdir(parents=True, exist_ok=True)
        os.environ["CELEBBASIS_CACHE"] = str(work / "cache")
        os.environ["COLUMNS"] = "80"
        os.chdir(work)
        try:
            yield
        finally:
            os.chdir(before)


def make(pages: Sequence[str], keep: str | None) -> None:
    with working_in(keep):
        run = Run()
        if not pages:
            draw_photos()
            write_other()
            write_tuned()
        for page in pages or MAKERS:
            if not pages:
                refresh(PAGES / f"{page}.md", run)
            save_picture(MAKERS[page](), PICTURES / f"{page}.png")
            print(page, flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Runs the examples of docs/commands/ and makes their pictures.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="only these pictures")
    parser.add_argument("--keep", metavar="FOLDER", help="work there and leave everything (default: a temporary one)")
    options = parser.parse_args()
    make(options.pages, options.keep)
