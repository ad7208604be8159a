"""The hosts that are held to the contract: standalone, and a WebUI, be it a real one or the stand-in."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from celebbasis_ext.hosts.a1111 import A1111Host
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.miniature.workshop import open_workshop
from tests.contract import webui
from tests.contract.webui import workshop_around


@pytest.fixture(scope="session")
def a1111(tmp_path_factory: pytest.TempPathFactory) -> Iterator[A1111Host]:
    """The WebUI's host: the real one's where there is one, otherwise the stand-in's."""
    if webui.real_is_here():
        print(f"contract with the real WebUI in {webui.start_real()}")
        yield webui.open_host()
        return
    pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("webui-embeddings")
    webui.start_stand_in(folder)
    yield webui.open_host()
    webui.stop_stand_in()


@pytest.fixture(scope="session", params=["standalone", "webui"])
def workshop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The miniature's own faces, tagger and names, with one host after the other."""
    if request.param == "webui":
        return workshop_around(request.getfixturevalue("a1111"))
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("the standalone host needs diffusers, which a WebUI does not have")
    return open_workshop(tmp_path_factory.mktemp("embeddings"))


@pytest.fixture(scope="session")
def webui_workshop(a1111: A1111Host) -> Workshop:
    return workshop_around(a1111)


@pytest.fixture
def tidy(workshop: Workshop) -> Iterator[None]:
    """Whatever the test leaves in the embeddings folder goes, and the host hears of it."""
    yield from leave_tidy(workshop.host)


@pytest.fixture
def webui_tidy(a1111: A1111Host) -> Iterator[None]:
    yield from leave_tidy(a1111)


def leave_tidy(host: Any) -> Iterator[None]:
    folder: Path = host.embeddings_dir
    before = set(folder.glob("*")) if folder.exists() else set()
    yield
    for path in set(folder.glob("*")) - before:
        path.unlink()
        host.publish(path)


def networks(host: Any) -> list[nn.Module]:
    """Everything with weights in it."""
    if isinstance(host, A1111Host):
        sd = host.loaded.sd
        return [sd.model, sd.first_stage_model, sd.cond_stage_model]
    return [host.pipeline.unet, host.pipeline.vae, host.pipeline.text_encoder]
