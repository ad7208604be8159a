"""Two people in one picture: seen right, and seen wrong."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from celebbasis_ext.cli import main
from celebbasis_ext.evaluate.together import look_for_both, rates
from celebbasis_ext.faces.base import find_face
from celebbasis_ext.miniature.drawing import Look, draw, draw_pair
from celebbasis_ext.miniature.people import Person, strangers

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Workshop

ANNA, BEN = strangers(2, 81)


@pytest.fixture(scope="module")
def identities(miniature: Workshop) -> np.ndarray:  # type: ignore[type-arg]
    return np.stack([find_face(miniature.faces, draw(person, Look()).image).identity for person in (ANNA, BEN)])


@pytest.mark.parametrize(
    ("people", "distinct"), [((ANNA, BEN), True), ((BEN, ANNA), True), ((ANNA, ANNA), False), ((BEN, BEN), False)]
)
def test_both_must_be_there(
    miniature: Workshop,
    identities: np.ndarray,
    people: tuple[Person, Person],
    distinct: bool,  # type: ignore[type-arg]
) -> None:
    picture = draw_pair(people, (Look(background="red"), Look(shirt="green")), 256).image
    seen = look_for_both(miniature.faces, picture, identities)
    assert (seen.found, seen.distinct) == (True, distinct)


def test_one_face_is_not_both(miniature: Workshop, identities: np.ndarray) -> None:  # type: ignore[type-arg]
    seen = look_for_both(miniature.faces, draw(ANNA, Look()).image, identities)
    assert rates([seen]) == {"found": 0.0, "distinct": 0.0, "pictures": 1}


def test_the_command_says_who_is_who(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "--seed", "3", "--count", "2", "--out", str(out)]) == 0
    names = sorted(path.stem for path in out.glob("*.safetensors"))
    prompt = f"a photo of {names[0]} and {names[1]}"
    arguments = ["--embeddings", str(out), "--out", str(tmp_path / "p"), "--count", "2", "--steps", "6"]
    assert main(["generate", prompt, "--check", *arguments]) == 0
    assert "pictures" in capsys.readouterr().out.splitlines()[-1]
    assert main(["generate", f"a photo of {names[0]}", "--check", *arguments]) == 2
    assert "got 1" in capsys.readouterr().err
