"""The HTTP API on the real miniature: orders, people, refusals, limits, logins, and that no name is ever a path."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

pytest.importorskip("fastapi", reason="the API needs fastapi, which gradio brings")
pytest.importorskip("httpx", reason="fastapi's TestClient needs httpx")

from fastapi import FastAPI
from fastapi.testclient import TestClient

from celebbasis_ext.api import mount
from celebbasis_ext.api.errors import STATUS, status_of, without_folders
from celebbasis_ext.api.guards import local_only
from celebbasis_ext.api.replies import png_text, sendable
from celebbasis_ext.api.route import LARGEST_BODY
from celebbasis_ext.api.routes import LONGEST_LINE, PREFIX
from celebbasis_ext.api.webui_login import Login, api_users
from celebbasis_ext.config_rules import FIELDS
from celebbasis_ext.context import Context
from celebbasis_ext.encoder_job import with_encoder
from celebbasis_ext.errors import CelebBasisError, InvalidName, MissingModel
from celebbasis_ext.files.embedding import load_embedding, save_embedding
from celebbasis_ext.files.name_rules import check_name
from celebbasis_ext.job_queue import FreeTurn, Job, JobQueue
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.miniature.portraits import draw_stranger
from celebbasis_ext.miniature.workshop import open_workshop
from celebbasis_ext.studio import Studio
from celebbasis_ext.types import Embedding, LoraConfig

PHOTO = png_text(draw_stranger(3))
QUICK = {"steps": 3, "batch": 2, "views": 2}
SECRET = "secret-cb"
SECONDS = 120


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The miniature, drawing in one step: what pictures look like is tested elsewhere."""
    workshop = open_workshop(tmp_path_factory.mktemp("outside") / "embeddings")
    host: Any = workshop.host
    host.generate = partial(host.generate, steps=1)
    return workshop


@pytest.fixture(scope="module")
def context(workshop: Workshop) -> Context:
    return Context(lambda: workshop, workshop.host.embeddings_dir)


@pytest.fixture(scope="module")
def client(context: Context) -> TestClient:
    return client_of(context)


def client_of(context: Context, *guards: Any, app: Any = None) -> TestClient:
    app = app or FastAPI()
    mount(app, context, guards)
    return TestClient(app, base_url=f"http://127.0.0.1{PREFIX}", raise_server_exceptions=True)


@pytest.fixture(scope="module")
def anna(client: TestClient, context: Context) -> Job:
    """Somebody who was learned through the API."""
    ordered = client.post("train", json=order("anna-cb"))
    assert ordered.status_code == 202, ordered.text
    return context.queue.wait(ordered.json()["id"], SECONDS)


def order(*names: str, **changes: Any) -> dict[str, Any]:
    people = [{"name": name, "photo": PHOTO} for name in names]
    return {"people": people, "consent": True, "config": QUICK, "preview": {"every": 2}} | changes


class Line:
    """A queue whose host is busy until it is told otherwise."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.queue = JobQueue(self._wait)

    @contextmanager
    def _wait(self, job: Job) -> Iterator[FreeTurn]:
        assert self.free.wait(SECONDS)
        yield FreeTurn()


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    for job in line.queue.jobs():
        line.queue.stop(job.id)
    line.free.set()


@pytest.fixture
def busy(context: Context, line: Line) -> TestClient:
    """The same people, and a host that never gets to us."""
    return client_of(Context(context.open_workshop, context.embeddings_dir, line.queue))


def fault(reply: Any) -> tuple[int, str]:
    """Status and kind of an error; checks its shape."""
    body = reply.json()
    assert set(body) == {"error"} and set(body["error"]) == {"kind", "message", "hint"}, body
    assert body["error"]["message"].endswith("."), body
    return reply.status_code, body["error"]["kind"]


def test_a_person_is_learned_and_the_tab_sees_the_job(anna: Job, client: TestClient, context: Context) -> None:
    assert anna.state == "done", anna.error
    shown = client.get(f"jobs/{anna.id}").json()
    assert shown["progress"]["losses"] == pytest.approx(anna.progress.losses) and len(anna.progress.losses) == 3
    assert shown["result"]["people"] == shown["people"] == ["anna-cb"] and shown["result"]["finished"]
    assert -1 <= shown["result"]["scores"][0]["likeness"] <= 1
    assert load_embedding(context.embeddings_dir / "anna-cb.safetensors").vectors["clip_l"].shape == (2, 96)
    assert Studio(context).current() == context.queue[anna.id]


def test_pictures_are_sent_only_where_they_are_asked_for(anna: Job, client: TestClient) -> None:
    without, with_them = client.get(f"jobs/{anna.id}").json(), client.get(f"jobs/{anna.id}?preview=true").json()
    assert without["progress"]["preview"] is without["result"]["sheet"] is None
    preview, sheet = (
        Pillow.open(io.BytesIO(base64.b64decode(text)))
        for text in (with_them["progress"]["preview"], with_them["result"]["sheet"])
    )
    assert preview.size == (96, 96) and preview.format == "PNG" and sheet.size > preview.size
    assert with_them["progress"]["preview_step"] == 2


def test_lists_of_jobs_are_short(anna: Job, client: TestClient) -> None:
    (listed,) = [job for job in client.get("jobs").json() if job["id"] == anna.id]
    assert listed["state"] == "done" and listed["progress"]["losses"] == []


def test_a_person_has_facts_a_card_and_an_inspection(anna: Job, client: TestClient, context: Context) -> None:
    (listed,) = [person for person in client.get("people").json() if person["name"] == "anna-cb"]
    assert listed == client.get("people/anna-cb").json()
    assert listed["card"] and listed["facts"]["steps"] == 3 and listed["facts"]["settings"]["batch"] == 2
    assert not {"radius", "coefficients"} & set(listed["facts"])
    card = client.get("people/anna-cb/card")
    assert card.headers["content-type"] == "image/png"
    assert card.content == (context.embeddings_dir / "anna-cb.preview.png").read_bytes()
    inspected = client.get("people/anna-cb/inspect").json()
    assert inspected["ours"] and inspected["shape"] == {"clip_l": [2, 96]} and len(inspected["nearest"]) == 5


def test_an_uploaded_embedding_is_inspected_like_a_file(anna: Job, client: TestClient, context: Context) -> None:
    text = base64.b64encode((context.embeddings_dir / "anna-cb.safetensors").read_bytes()).decode()
    assert client.post("inspect", json={"embedding": text, "name": "anna-cb"}).json() == (
        client.get("people/anna-cb/inspect").json()
    )
    broken = client.post("inspect", json={"embedding": base64.b64encode(b"no").decode()})
    assert fault(broken) == (422, "InvalidEmbedding") and "/" not in broken.json()["error"]["message"]


def test_people_are_mixed_made_up_renamed_and_deleted(anna: Job, client: TestClient, context: Context) -> None:
    mixed = client.post(
        "mix", json={"name": "mix-cb", "people": [{"who": "anna-cb"}, {"who": "sample:7", "weight": 2}]}
    )
    made_up = client.post("sample", json={"name": "nobody-cb", "seed": 7})
    assert mixed.status_code == made_up.status_code == 202
    for reply in (mixed, made_up):
        assert context.queue.wait(reply.json()["id"], SECONDS).state == "done"
    renamed = client.post("people/mix-cb/rename", json={"new_name": "mixed-cb"})
    assert renamed.json()["facts"]["mix"]["parents"][0] == {"who": "anna-cb", "weight": 1.0}
    assert fault(client.get("people/mix-cb")) == (404, "UnknownPerson")
    for name in ("mixed-cb", "nobody-cb"):
        assert client.delete(f"people/{name}").status_code == 204
        assert not list(context.embeddings_dir.glob(f"{name}*"))


def test_a_stopped_training_is_resumed(client: TestClient, context: Context) -> None:
    long = {"steps": 5000, "batch": 1, "views": 1}
    job_id = client.post("train", json=order("long-cb", config=long, preview={"every": 0})).json()["id"]
    while not client.get(f"jobs/{job_id}").json()["progress"]["step"]:
        assert not context.queue[job_id].over
    assert client.post(f"jobs/{job_id}/cancel", json={}).json()["stopping"]
    stopped = context.queue.wait(job_id, SECONDS)
    assert stopped.state == "stopped" and client.get("people/long-cb").json()["resumable"]
    assert Studio(context).stopped(("long-cb",)) is not None, "the tab can go on with it"
    shorter = long | {"steps": stopped.progress.step + 2}
    again = client.post("train", json=order("long-cb", config=shorter, preview={"every": 0}, resume=True))
    assert context.queue.wait(again.json()["id"], SECONDS).progress.step == shorter["steps"]
    assert fault(client.post("train", json=order("long-cb", resume=True))) == (422, "InvalidSettings")


def test_faces_are_found(client: TestClient) -> None:
    seen = client.post("faces", json={"photo": f"data:image/png;base64,{PHOTO}"}).json()
    (face,) = seen["faces"]
    left, top, right, bottom = face["box"]
    assert 0 <= left < right <= seen["width"] == 96 and 0 <= top < bottom <= seen["height"] == 96
    assert face["number"] == 1 and len(face["landmarks"]) == 5 and seen["description"]


def test_names_are_checked_and_proposed(anna: Job, client: TestClient) -> None:
    free = client.get("names/check", params={"name": "ben-cb"}).json()
    assert free["usable"] and free["error"] is None and free["proposal"] == "ben-cb"
    taken = client.get("names/check", params={"name": "anna-cb"}).json()
    assert not taken["usable"] and taken["error"]["kind"] == "NameTaken" and taken["proposal"] == "anna-2-cb"


# --- Insertion, and what it needs ---


@pytest.fixture(scope="module")
def taught(context: Context) -> Context:
    """The same people, and a checkpoint with its encoder."""
    workshop = with_encoder(context.open_workshop())
    assert workshop.encoder is not None
    return Context(lambda: workshop, context.embeddings_dir)


@pytest.fixture(scope="module")
def quick(taught: Context) -> TestClient:
    return client_of(taught)


def insertion(*names: str, **changes: Any) -> dict[str, Any]:
    return {"people": [{"name": name, "photo": PHOTO} for name in names], "consent": True} | changes


def test_somebody_is_inserted_at_once(quick: TestClient, taught: Context) -> None:
    ordered = quick.post("insert", json=insertion("instant-cb", "instant-cb", pictures=False))
    assert ordered.status_code == 202, ordered.text
    assert taught.queue.wait(ordered.json()["id"], SECONDS).state == "done"
    shown = quick.get(f"jobs/{ordered.json()['id']}").json()
    assert (shown["kind"], shown["result"]["people"], shown["result"]["scores"]) == ("insert", ["instant-cb"], [])
    (expected,) = shown["result"]["expected"]
    facts = quick.get("people/instant-cb").json()["facts"]
    assert expected["likeness"] == pytest.approx(facts["expected_likeness"], abs=1e-3) and 0 < expected["doubt"] < 0.2
    assert facts["photos"] == 2
    drawn = quick.post("insert", json=insertion("instant-cb", overwrite=True))
    assert taught.queue.wait(drawn.json()["id"], SECONDS).state == "done"
    shown = quick.get(f"jobs/{drawn.json()['id']}?preview=true").json()
    assert len(shown["result"]["scores"]) == 1 and shown["result"]["sheet"]


def test_presets_begin_at_the_encoder_where_there_is_one(
    quick: TestClient, taught: Context, client: TestClient
) -> None:
    for asked, name, start in ((quick, "warm-cb", "encoder"), (client, "cold-cb", "anywhere")):
        job_id = asked.post("train", json=order(name, preview={"every": 0})).json()["id"]
        context = taught if asked is quick else None
        while asked.get(f"jobs/{job_id}").json()["state"] in ("queued", "running"):
            threading.Event().wait(0.1)
        assert context is None or context.queue[job_id].state == "done"
        assert asked.get(f"people/{name}").json()["facts"]["settings"]["start"] == start


def test_a_lora_is_learned_beside_the_word(quick: TestClient, taught: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celebbasis_ext.api.routes.LoraConfig", lambda: LoraConfig(steps=2, pairs=1, kept=1))
    ordered = quick.post("train", json=order("lora-cb", "lora-cb", lora=True, preview={"every": 0})).json()
    job = taught.queue.wait(ordered["id"], SECONDS)
    assert job.state == "done", job.error
    result = quick.get(f"jobs/{ordered['id']}").json()["result"]
    assert result["people"] == result["loras"] == ["lora-cb"] and len(result["lora_scores"]) == 1
    assert (taught.open_workshop().host.lora_dir / "lora-cb.safetensors").is_file()


def test_encoders_are_told_of_and_missed(quick: TestClient, client: TestClient) -> None:
    there, missing = quick.get("encoder").json(), client.get("encoder").json()
    assert there["present"] and there["pictures"] == 0 and there["facts"]["checkpoint"] == "miniature"
    assert not missing["present"] and missing["names"] == 640 and missing["pictures"] > 2560 and missing["seconds"] > 0
    assert quick.get("health").json()["encoder"] and not client.get("health").json()["encoder"]
    assert fault(client.post("insert", json=insertion("nobody-cb"))) == (503, "WrongEncoder")
    assert fault(client.post("train", json=order("nobody-cb", preset="warm"))) == (503, "WrongEncoder")


def test_an_encoder_is_ordered_once(busy: TestClient, line: Line) -> None:
    first, second = busy.post("encoder", json={}).json(), busy.post("encoder", json={}).json()
    assert first["kind"] == "encoder" and first["id"] == second["id"] and len(line.queue.jobs()) == 1
    assert busy.post(f"jobs/{first['id']}/cancel", json={}).json()["stopping"]


def test_health_says_what_is_there(client: TestClient) -> None:
    health = client.get("health").json()
    assert health["ready"] and health["host"] == "standalone" and health["checkpoint"]["family"] == "sd1"


def test_health_says_what_is_missing(tmp_path: Path) -> None:
    def closed() -> Workshop:
        raise MissingModel(f"The face detector x.onnx is not in the folder {tmp_path / 'models'}.", "Put it there.")

    health = client_of(Context(closed, tmp_path)).get("health").json()
    assert not health["ready"] and health["checkpoint"] is None
    assert health["problems"] == [
        {
            "kind": "MissingModel",
            "message": "The face detector x.onnx is not in the folder models.",
            "hint": "Put it there.",
        }
    ]


BOMB = io.BytesIO()
Pillow.new("1", (20_000, 20_000)).save(BOMB, "PNG")
WALL = png_text(np.full((256, 256, 3), 150, np.uint8))
"""Nobody is in the photo."""
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("POST", "train", order("new-cb", consent=False), 422, "NoConsent"),
    ("POST", "train", order("new-cb", consent="yes"), 422, "InvalidRequest"),
    ("POST", "train", {"people": []}, 422, "NoConsent"),
    ("POST", "train", order(), 422, "InvalidSettings"),
    ("POST", "train", order("new-cb", "NEW-cb"), 422, "InvalidName"),
    ("POST", "train", order(*(f"new-{i}-cb" for i in range(5))), 413, "TooLarge"),
    ("POST", "train", order("anna-cb"), 409, "NameTaken"),
    ("POST", "train", order("../anna-cb"), 422, "InvalidName"),
    ("POST", "train", {**order(), "people": [{"name": "new-cb", "photo": WALL}]}, 422, "NoFaceFound"),
    ("POST", "train", order("new-cb", preset="Perfect"), 422, "InvalidSettings"),
    ("POST", "train", order("new-cb", config={"steps": 0}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", config={"learning_rate": float("nan")}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", config={"zoom": float("inf")}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", config={"learn": "magic"}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", config={"speed": 2}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", path="/etc"), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", preview={"prompt": "x" * 1001}), 422, "InvalidRequest"),
    ("POST", "train", order("new-cb", preview={"prompt": "\ud800"}), 422, "InvalidRequest"),
    ("POST", "insert", {"people": [{"name": "new-cb", "photo": PHOTO}]}, 422, "NoConsent"),
    ("POST", "insert", {"people": [], "consent": True}, 422, "InvalidSettings"),
    ("POST", "insert", {**order(), "preview": None}, 422, "InvalidRequest"),
    ("POST", "encoder", {"images": 1}, 422, "InvalidRequest"),
    ("POST", "faces", {"photo": "no base64!"}, 422, "InvalidRequest"),
    ("POST", "faces", {"photo": base64.b64encode(b"no photo").decode()}, 422, "UnreadableImage"),
    ("POST", "faces", {"photo": base64.b64encode(BOMB.getvalue()).decode()}, 422, "UnreadableImage"),
    ("POST", "faces", {"photo": ""}, 422, "UnreadableImage"),
    ("POST", "faces", {"photo": PHOTO, "face": 2}, 422, "InvalidSettings"),
    ("POST", "inspect", {"embedding": "", "name": "../x"}, 422, "InvalidName"),
    ("POST", "inspect", {"embedding": "", "suffix": "/../x"}, 422, "InvalidEmbedding"),
    ("POST", "mix", {"name": "new-cb", "people": [{"who": "anna-cb"}]}, 422, "InvalidSettings"),
    ("POST", "mix", {"name": "new-cb", "people": [{"who": "x"}] * 17}, 422, "InvalidRequest"),
    ("POST", "mix", {"name": "anna-cb", "people": [{"who": "x"}] * 2}, 409, "NameTaken"),
    ("POST", "sample", {"name": "cat", "seed": 1}, 422, "InvalidName"),
    ("POST", "sample", {"name": "new-cb", "seed": -1}, 422, "InvalidRequest"),
    ("POST", "people/anna-cb/rename", {"new_name": "no way"}, 422, "InvalidName"),
    ("POST", "people/nobody-cb/rename", {"new_name": "new-cb"}, 404, "UnknownPerson"),
    ("POST", "jobs/none/cancel", {}, 404, "NotHere"),
    ("GET", "jobs/none", None, 404, "NotHere"),
    ("GET", "jobs/none?preview=maybe", None, 422, "InvalidRequest"),
    ("GET", "people/foreign-cb", None, 404, "UnknownPerson"),
    ("DELETE", "people/foreign-cb", None, 404, "UnknownPerson"),
    ("GET", "names/check", None, 422, "InvalidRequest"),
    ("GET", "nothing", None, 404, "NotHere"),
    ("DELETE", "jobs", None, 404, "NotHere"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "kind"), REFUSED)
def test_what_is_wrong_is_said_in_json(
    anna: Job, client: TestClient, context: Context, method: str, path: str, body: Any, status: int, kind: str
) -> None:
    foreign = context.embeddings_dir / "foreign-cb.safetensors"
    if not foreign.exists():
        save_embedding(Embedding("foreign-cb", load_embedding(anna.result.saved.paths[0]).vectors), foreign.parent)  # type: ignore[attr-defined]
    before = len(context.queue.jobs())
    content = None if body is None else json.dumps(body)
    reply = client.request(method, path, content=content, headers={"content-type": "application/json"})
    assert fault(reply) == (status, kind), reply.text
    assert len(context.queue.jobs()) == before and foreign.exists()


@pytest.mark.parametrize("content", [b"{", b"[" * 200_000, b"\xff", b"9" * 5000])
def test_what_is_no_json_is_refused(client: TestClient, content: bytes) -> None:
    reply = client.post("sample", content=content, headers={"content-type": "application/json"})
    assert fault(reply) in {(400, "MalformedRequest"), (422, "InvalidRequest")}


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
@pytest.mark.parametrize("path", ["sample", "jobs/none/cancel"])
def test_what_a_foreign_page_could_send_unasked_changes_nothing(
    client: TestClient, path: str, kind: str | None
) -> None:
    headers = {"content-type": kind} if kind else {}
    assert fault(client.post(path, content=b'{"name": "new-cb"}', headers=headers)) == (415, "NotJson")


def test_no_page_of_another_site_is_told_that_it_may(client: TestClient) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for reply in (client.options("train", headers=headers), client.get("health", headers=headers)):
        assert not [name for name in reply.headers if name.startswith("access-control")]


def test_a_stated_length_is_refused_before_anything_is_read(client: TestClient) -> None:
    headers = {"content-type": "application/json", "content-length": str(LARGEST_BODY + 1)}
    assert fault(client.post("sample", content=b"{}", headers=headers)) == (413, "TooLarge")


def test_a_body_without_end_is_read_no_further_than_allowed(client: TestClient) -> None:
    part, received, sent = b" " * 1_000_000, 0, []

    async def receive() -> dict[str, Any]:
        nonlocal received
        received += len(part)
        return {"type": "http.request", "body": part, "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": f"{PREFIX}/sample", "query_string": b"",
        "root_path": "", "scheme": "http", "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
        "headers": [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")],
    }  # fmt: skip
    asyncio.run(client.app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 413 and received <= LARGEST_BODY + 2 * len(part)


def test_the_largest_body_passes(client: TestClient) -> None:
    content = json.dumps({"name": "cat"}).encode().ljust(LARGEST_BODY)
    reply = client.post("sample", content=content, headers={"content-type": "application/json"})
    assert fault(reply) == (422, "InvalidName")


def test_jobs_wait_are_seen_and_leave_the_line(busy: TestClient, line: Line) -> None:
    first, second = (busy.post("sample", json={"name": f"wait-{i}-cb"}).json() for i in (1, 2))
    assert [job["ahead"] for job in busy.get("jobs").json()] == [0, 1]
    assert fault(busy.post("sample", json={"name": "WAIT-2-cb"})) == (423, "PersonBusy")
    assert busy.post(f"jobs/{second['id']}/cancel", json={}).json()["state"] == "stopped"
    assert busy.post("sample", json={"name": "wait-2-cb"}).status_code == 202
    assert line.queue[first["id"]].state == "queued"


def test_whom_a_job_writes_is_neither_renamed_nor_deleted(anna: Job, busy: TestClient) -> None:
    assert busy.post("train", json=order("anna-cb", overwrite=True)).status_code == 202
    assert fault(busy.delete("people/anna-cb")) == (423, "PersonBusy")
    assert fault(busy.post("people/anna-cb/rename", json={"new_name": "new-cb"})) == (423, "PersonBusy")


def test_the_line_has_an_end(busy: TestClient) -> None:
    replies = [busy.post("sample", json={"name": f"line-{i}-cb"}) for i in range(LONGEST_LINE + 1)]
    assert [reply.status_code for reply in replies[:-1]] == [202] * LONGEST_LINE
    assert fault(replies[-1]) == (429, "LineTooLong")


def test_many_may_ask_while_somebody_is_learned(client: TestClient, context: Context) -> None:
    ordered = client.post("train", json=order("crowd-cb", config=QUICK | {"steps": 6}, preview={"every": 3})).json()
    wrong: list[str] = []

    def ask(path: str) -> None:
        while not context.queue[ordered["id"]].over:
            reply = client.get(path) if path != "faces" else client.post("faces", json={"photo": PHOTO})
            if reply.status_code != 200:
                wrong.append(reply.text)

    threads = [threading.Thread(target=ask, args=[path]) for path in ("names/check?name=new-cb", "people", "faces")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert context.queue[ordered["id"]].state == "done" and not wrong, wrong[:3]


def test_what_nobody_foresaw_goes_to_the_log_and_not_to_the_reply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Workshop:
        raise RuntimeError(f"secret at {tmp_path}")

    with caplog.at_level(logging.ERROR):
        reply = client_of(Context(broken, tmp_path)).get("names/check?name=new-cb")
    assert fault(reply) == (500, "Unforeseen") and "secret" not in reply.text
    assert "secret at" in caplog.text and "Traceback" in caplog.text


def test_the_hosts_own_routes_keep_their_errors(client: TestClient) -> None:
    assert client.get("http://127.0.0.1/other").json() == {"detail": "Not Found"}


def test_every_error_has_a_status() -> None:
    def below(kind: type[CelebBasisError]) -> Iterator[type[CelebBasisError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    assert {status_of(kind("", "")) for kind in below(CelebBasisError)} == set(STATUS.values())


# --- No name is ever a path ---

SECRET_TEXT = "made outside of the folder"
PIECES = [
    "..",
    ".",
    "/",
    "\\",
    "//",
    "%2e%2e",
    "%2f",
    "%5c",
    "\0",
    "C:",
    "C:\\",
    "~",
    "|",
    "\u2024",
    "\uff0f",
    "CON",
    " ",
]
names = st.one_of(
    st.text(max_size=90),
    st.lists(st.sampled_from([*PIECES, SECRET, "outside", "embeddings", ".safetensors"]), min_size=1).map("".join),
    st.sampled_from(["../secret-cb", "..\\secret-cb", "./anna-cb", "anna-cb/.", "anna-cb\0", "anna-cb.", "nul.txt"]),
)


@pytest.fixture(scope="module")
def outside(anna: Job, context: Context) -> Path:
    """The folder around the embeddings, in which one of ours lies that nobody may reach."""
    folder = context.embeddings_dir.parent
    found = load_embedding(context.embeddings_dir / "anna-cb.safetensors")
    save_embedding(Embedding(SECRET, found.vectors, {**found.metadata, "celebbasis.note": SECRET_TEXT}), folder)
    return folder


def requests_with(name: str) -> Iterator[tuple[str, str, Any]]:
    """Every route that takes a name."""
    yield "POST", "train", order(name)
    yield "POST", "insert", {"people": [{"name": name, "photo": PHOTO}], "consent": True}
    yield "POST", "sample", {"name": name}
    yield "POST", "mix", {"name": name, "people": [{"who": "anna-cb"}, {"who": "sample:1"}]}
    yield "POST", "people/anna-cb/rename", {"new_name": name}
    yield "POST", "inspect", {"embedding": "", "name": name}
    if name.isprintable() or "\0" in name:
        part = quote(name, safe="", errors="replace")
        yield "GET", f"people/{part}", None
        yield "GET", f"people/{part}/card", None
        yield "GET", f"people/{part}/inspect", None
        yield "POST", f"people/{part}/rename", {"new_name": "new-cb"}
        yield "DELETE", f"people/{part}", None
        yield "GET", f"jobs/{part}", None
        yield "POST", f"jobs/{part}/cancel", {}
        yield "GET", f"names/check?name={part}", None


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(name=names)
def test_a_name_that_is_none_reaches_nothing(
    anna: Job, client: TestClient, context: Context, outside: Path, name: str
) -> None:
    assume(not usable(name) and name not in ("", ".", "..", "people", "inspect"))
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    jobs = context.queue.jobs()
    for method, path, body in requests_with(name):
        content = None if body is None else json.dumps(body)
        reply = client.request(method, path, content=content, headers={"content-type": "application/json"})
        if path.startswith("names/check") and reply.status_code == 200:
            assert reply.json()["usable"] is False, (path, name)
        else:
            assert fault(reply)[0] in {404, 422}, (method, path, name, reply.text)
        assert SECRET_TEXT not in reply.text and str(outside) not in reply.text
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before
    assert context.queue.jobs() == jobs


def usable(name: str) -> bool:
    try:
        return bool(check_name(name))
    except InvalidName:
        return False


@pytest.mark.parametrize("form", ["{}", "../{}", "../{}.safetensors", "{folder}/{}.safetensors"])
def test_nobody_is_mixed_from_outside_the_folder(
    client: TestClient, context: Context, outside: Path, form: str
) -> None:
    who = form.format(SECRET, folder=outside)
    reply = client.post("mix", json={"name": "thief-cb", "people": [{"who": who}, {"who": "sample:1"}]})
    job = context.queue.wait(reply.json()["id"], SECONDS)
    assert job.state == "failed" and "is known as" in str(job.error)
    assert not (context.embeddings_dir / "thief-cb.safetensors").exists()
    assert str(outside.parent) not in client.get(f"jobs/{job.id}").text


def test_no_reply_says_where_things_are_kept(anna: Job, client: TestClient, context: Context, outside: Path) -> None:
    paths = ["health", "jobs", f"jobs/{anna.id}?preview=true", "people", "people/anna-cb", "people/anna-cb/inspect"]
    for path in [*paths, "names/check?name=anna-cb", "people/nobody-cb"]:
        assert str(outside) not in client.get(path).text, path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/me/x.safetensors cannot be written.", "x.safetensors cannot be written."),
        (r"C:\Users\me\x.pt is damaged.", "x.pt is damaged."),
        ("It is not in the folder /srv/models/faces.", "It is not in the folder faces."),
        ("See /docs, 1/2 or https://arxiv.org/abs/2306.00926.", "See /docs, 1/2 or https://arxiv.org/abs/2306.00926."),
        ("/work shop/embeddings/a-cb.pt (/work shop/embeddings) is there.", "a-cb.pt (…) is there."),
    ],
)
def test_paths_become_names(text: str, expected: str) -> None:
    assert without_folders(text, Path("/work shop/embeddings")) == expected


def test_what_json_cannot_say_is_left_out() -> None:
    told = sendable({"a": [float("nan"), 1.5, "\ud800"], "b": {"c": float("inf")}})
    assert json.loads(json.dumps(told, allow_nan=False)) == {"a": [None, 1.5, "?"], "b": {"c": None}}


# --- Who may ask ---


def routes_of(client: TestClient) -> list[tuple[str, str]]:
    """Every route of ours, from the schema, and one that is none."""
    paths = client.get("http://127.0.0.1/openapi.json").json()["paths"]
    ours = [(method.upper(), path) for path, methods in paths.items() for method in methods if path.startswith(PREFIX)]
    assert len(ours) == 19
    return [*ours, ("GET", f"{PREFIX}/nothing")]


BODIES = [None, b"{}", b"{", b"x" * 1000]


def test_the_apis_users_are_asked_on_every_route(context: Context) -> None:
    client = client_of(context, Login(FastAPI(), api_users("me:s3cret:x,you:other")))
    for method, path in routes_of(client):
        for body in BODIES:
            reply = client.request(
                method, f"http://127.0.0.1{path}", content=body, headers={"content-type": "text/plain"}
            )
            assert fault(reply) == (401, "NotLoggedIn"), (method, path, body)
            assert reply.headers["www-authenticate"].startswith("Basic")
    for wrong in [("me", "s3cret"), ("me", ""), ("", ""), ("you", "pä"), ("you", "s3cret:x"), ("nobody", "s3cret:x")]:
        assert client.get("jobs", auth=wrong).status_code == 401
    assert client.get("jobs", headers={"authorization": "Basic !"}).status_code == 401
    assert client.get("jobs", headers={"authorization": "Bearer x"}).status_code == 401
    assert client.get("jobs", auth=("me", "s3cret:x")).status_code == 200
    schema = client.get("http://127.0.0.1/openapi.json").json()
    assert "Login of the WebUI" in schema["components"]["securitySchemes"]


def test_gradios_login_is_asked_on_every_route(context: Context) -> None:
    gradio = pytest.importorskip("gradio", reason="there is no gradio to log in to")
    with gradio.Blocks() as blocks:
        pass
    blocks.auth, blocks.auth_message = [("me", "s3cret")], None
    app = gradio.routes.App.create_app(blocks, app_kwargs={"docs_url": "/docs", "openapi_url": "/openapi.json"})
    client = client_of(context, Login(app, {}), app=app)
    for method, path in routes_of(client):
        reply = client.request(method, f"http://127.0.0.1{path}", content=b"{}", headers={"content-type": "text/plain"})
        assert fault(reply) == (401, "NotLoggedIn"), (method, path)
    assert client.get("jobs", auth=("me", "s3cret")).status_code == 401
    assert client.post("http://127.0.0.1/login", data={"username": "me", "password": "s3cret"}).status_code == 200
    assert client.get("jobs").status_code == 200


def test_without_a_login_everybody_may_ask(context: Context) -> None:
    assert client_of(context, Login(FastAPI(), {})).get("jobs").status_code == 200


@pytest.mark.parametrize("host", ["127.0.0.1:7871", "localhost", "[::1]:7871", "192.168.0.7"])
def test_this_computer_has_these_names(context: Context, host: str) -> None:
    assert client_of(context, local_only).get("jobs", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7871", "127.0.0.1.evil.example", "", "[", "localhost.x"]
)
def test_a_foreign_name_for_this_computer_is_refused(context: Context, host: str) -> None:
    assert fault(client_of(context, local_only).get("jobs", headers={"host": host})) == (403, "ForeignOrigin")


# --- What /docs says ---


def test_the_docs_describe_every_route_and_field(client: TestClient) -> None:
    schema = client.get("http://127.0.0.1/openapi.json").json()
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            assert route["summary"] and route["tags"] == ["Celeb Basis"], (method, path)
            for status in ("401", "422", "429", "500"):
                content = route["responses"][status]["content"]["application/json"]
                assert content["schema"]["$ref"].endswith("/FaultReply"), (method, path)
    models = {name: model for name, model in schema["components"]["schemas"].items() if "ValidationError" not in name}
    for name, model in models.items():
        assert model.get("description"), name
        for field, said in model.get("properties", {}).items():
            assert said.get("description") or "$ref" in said or "items" in said, (name, field)
    assert tuple(models["TrainSettings"]["properties"]) == FIELDS
    assert all(said["description"] for said in models["TrainSettings"]["properties"].values())


def test_docs_that_were_read_before_show_the_new_routes(context: Context) -> None:
    app = FastAPI()
    assert not app.openapi()["paths"]
    mount(app, context)
    assert f"{PREFIX}/train" in app.openapi()["paths"]
