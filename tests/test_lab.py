"""The lab's arithmetic, on made-up sights; and one small real run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.evaluate.baselines import METHODS, Inserted, budget
from celebbasis_ext.evaluate.lab import OBEDIENCE, PLAIN, PROMPTS, Case, Measured, Seen, leaks, mean_and_error
from celebbasis_ext.evaluate.lab_report import run_lab
from celebbasis_ext.miniature.drawing import Look
from celebbasis_ext.miniature.people import Person
from celebbasis_ext.recipes import RECIPES
from tests.conftest import make_subject

NOBODY = Person("", np.zeros(16, np.float32))


def case(**look: object) -> Case:
    reference = np.ones(16, np.float32)
    photo, somebody = np.zeros((96, 96, 3), np.uint8), make_subject()
    return Case(NOBODY, Look(**look), photo, somebody, somebody, reference)  # type: ignore[arg-type]


def sight(**plain: object) -> Seen:
    """Every plain picture shows what is given; every other picture shows what was asked for."""
    base = {
        "background": "white",
        "hat": "none",
        "shirt": "blue",
        "expression": "neutral",
        "glasses": False,
        "style": "photo",
    }
    asked = [base | {field: value} for _, field, value in OBEDIENCE]
    return Seen(np.ones((len(PROMPTS), 16), np.float32), (*([base | plain] * len(PLAIN)), *asked))


def test_a_picture_that_shows_what_was_asked_for_obeys() -> None:
    assert sight().obeyed().tolist() == [1.0] * len(OBEDIENCE)
    disobedient = Seen(sight().traits, tuple({**look, "background": "green"} for look in sight().looks))
    backgrounds = sum(field == "background" for _, field, _ in OBEDIENCE)
    assert disobedient.obeyed().sum() == len(OBEDIENCE) - backgrounds


def test_likeness_is_the_cosine_to_the_reference() -> None:
    assert sight().likeness(np.ones(16, np.float32)) == pytest.approx(1)
    assert sight().likeness(-np.ones(16, np.float32)) == pytest.approx(-1)


def test_a_portraits_background_that_always_returns_is_a_leak_of_one() -> None:
    cases = [case(background="red"), case(background="green"), case(background="beach")]
    seen = [sight(background="red"), sight(background="green"), sight(background="beach")]
    assert np.allclose(leaks(cases, seen)["leak_background"], 1)


def test_a_background_that_everybody_gets_is_chance() -> None:
    cases = [case(background="red"), case(background="green")]
    assert np.allclose(leaks(cases, [sight(background="black")] * 2)["leak_background"], 0)
    assert leaks(cases, [sight(background="red")] * 2)["leak_background"][1] == 0


def test_what_everybody_elses_pictures_show_cannot_be_seen_to_leak() -> None:
    cases = [case(expression="smiling"), case(expression="smiling"), case(expression="sad")]
    seen = [sight(expression="neutral"), sight(expression="smiling"), sight(expression="smiling")]
    found = leaks(cases, seen)
    assert found["leak_expression"].tolist() == [0, 1, 0]


def test_hats_and_glasses_leak_only_from_those_who_wear_them() -> None:
    cases = [case(hat="red", glasses=True), case()]
    seen = [sight(hat="red"), sight()]
    found = leaks(cases, seen)
    assert found["leak_hat"][0] == 1 and np.isnan(found["leak_hat"][1])
    assert found["leak_glasses"][0] == 0 and np.isnan(found["leak_glasses"][1])
    assert np.isfinite(found["leak"]).all()


def test_mean_and_standard_error_leave_out_those_to_whom_a_figure_does_not_apply() -> None:
    summary = mean_and_error(np.array([1.0, 2.0, 3.0, np.nan]))
    assert summary == {"mean": 2.0, "se": pytest.approx(1 / 3**0.5, abs=1e-4)}
    assert Measured({"x": np.array([1.0, 3.0])}, []).summary()["x"]["mean"] == 2.0


def test_all_methods_have_the_same_budget() -> None:
    paper = RECIPES["paper"]
    assert budget() == RECIPES["default"].steps * RECIPES["default"].batch
    assert budget() % paper.batch == 0
    assert {"celeb_basis", "instant", "warm", "paper", "textual_inversion"} <= set(METHODS)
    assert Inserted("", {}, 1.0).seconds == 1.0


def test_a_small_run_writes_figures_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "lab.json"
    run_lab(2, 123, tmp_path / "page", path, ["celeb_basis"], reconstruction=True)
    report = json.loads(path.read_text())
    assert {"likeness", "obedience", "leak", "norm", "seconds"} <= set(report["celeb_basis"])
    assert all(set(figure) == {"mean", "se"} for figure in report["celeb_basis"].values())
    assert report["settings"]["people"] == 2
    assert "likeness" in capsys.readouterr().out
    assert (tmp_path / "page" / "index.html").exists()
    redrawn = report["reconstruction"]["celeb_basis"]
    assert redrawn["scene"]["scene"]["mean"] > redrawn["plain"]["scene"]["mean"] + 0.2
    assert (tmp_path / "page" / "reconstruction-celeb_basis.png").exists()
