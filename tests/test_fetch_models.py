"""The tab's "Fetch the face models": a job like any other, from a server on this computer."""

from __future__ import annotations

from pathlib import Path

import pytest

from celebbasis_ext.context import Context
from celebbasis_ext.errors import MissingModel
from celebbasis_ext.files.download import RemoteFile
from celebbasis_ext.files.folders import models_dir
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.studio import Studio
from tests.test_download import CONTENT, Server, remote
from tests.test_download import server as server

PATIENCE = 60.0


def nobody() -> Workshop:
    raise MissingModel("The face models are not here.", "Fetch them.")


@pytest.fixture
def studio(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    """One file of 700 kB is missing until it is there."""
    monkeypatch.setenv("CELEBBASIS_MODELS", str(tmp_path / "models"))

    def missing() -> tuple[RemoteFile, ...]:
        file = remote(server.url)
        return () if (models_dir() / file.name).is_file() else (file,)

    return Studio(Context(nobody, tmp_path / "embeddings", missing_models=missing))


def test_models_are_fetched_as_a_job_that_says_what_from_where_and_under_which_licence(studio: Studio) -> None:
    job = studio.context.queue.wait(studio.fetch_models().id, PATIENCE)
    assert job.state == "done", job.error
    assert (models_dir() / "model.onnx").read_bytes() == CONTENT
    assert studio.context.missing_models() == ()
    assert job.progress.text == "Fetching model.onnx (licence MIT) from 127.0.0.1, in MB"
    assert studio.current() == job


def test_a_cut_is_gone_on_with(studio: Studio, server: Server) -> None:
    server.behaviour.cuts = [100_000]
    job = studio.context.queue.wait(studio.fetch_models().id, PATIENCE)
    assert job.state == "done" and (models_dir() / "model.onnx").read_bytes() == CONTENT
    assert server.behaviour.asked[0] is None and str(server.behaviour.asked[1]).startswith("bytes=")


def test_a_server_that_has_nothing_fails_the_job_with_the_address(studio: Studio, server: Server) -> None:
    server.behaviour.status = 404
    job = studio.context.queue.wait(studio.fetch_models().id, PATIENCE)
    assert job.state == "failed" and isinstance(job.error, MissingModel)
    assert server.url in str(job.error)
    assert len(studio.context.missing_models()) == 1


def test_the_button_says_how_much_and_goes_when_the_models_are_here(studio: Studio) -> None:
    gr = pytest.importorskip("gradio", reason="gradio is not installed (the extra ui)")
    from celebbasis_ext.ui.train_page import TrainPage

    with gr.Blocks(analytics_enabled=False):
        page = TrainPage(studio)
    assert page.fetch.visible and "1 MB" in page.fetch.value and "licence MIT" in page.fetch.value
    answer = page._fetch()
    assert answer[0] == "" and "Face models" in answer[2]
    studio.context.queue.wait(studio.context.queue.jobs()[-1].id, PATIENCE)
    assert page._watch("")[-2]["visible"] is False
