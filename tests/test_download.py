"""Downloads from a server on this computer: whole, cut, resumed, damaged, refused; and what is left on disk."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from celebbasis_ext.errors import MissingModel
from celebbasis_ext.files import download
from celebbasis_ext.files.download import RemoteFile, Transfer, fetch
from celebbasis_ext.files.folders import models_dir

CONTENT = np.random.default_rng(0).bytes(700_000)


@dataclass
class Behaviour:
    """What the server does.

    Attributes:
        content: What it has.
        cuts: After how many bytes it hangs up, at the first request, the second ...; None sends all.
        ranges: Whether it knows of Range.
        status: What it answers.
        lies: Content-Length that it states, where it is not the truth.
        asked: The Range header of every request.
    """

    content: bytes = CONTENT
    cuts: list[int | None] = field(default_factory=list)
    ranges: bool = True
    status: int = 200
    lies: int | None = None
    shift: int = 0
    asked: list[str | None] = field(default_factory=list)


class Server:
    def __init__(self) -> None:
        self.behaviour = Behaviour()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/model.onnx"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        behaviour = self.behaviour
        asked = request.headers.get("Range")
        cut = behaviour.cuts[len(behaviour.asked)] if len(behaviour.asked) < len(behaviour.cuts) else None
        behaviour.asked.append(asked)
        if behaviour.status != 200:
            request.send_error(behaviour.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and behaviour.ranges else 0
        body = behaviour.content[start:]
        request.send_response(206 if start else 200)
        if start:
            total = len(behaviour.content)
            request.send_header("Content-Range", f"bytes {start + behaviour.shift}-{total - 1}/{total}")
        request.send_header("Content-Length", str(len(body) if behaviour.lies is None else behaviour.lies))
        request.end_headers()
        request.wfile.write(body[:cut])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = Server()
    thread = threading.Thread(target=made.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.http.shutdown()
    made.http.server_close()
    thread.join()


def remote(*urls: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile("model.onnx", urls, len(content), hashlib.sha256(content).hexdigest(), "MIT")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def refused(file: RemoteFile, folder: Path, **options: bool) -> str:
    """The error's message; every one names the file and the folder, and the hint the address."""
    with pytest.raises(MissingModel) as caught:
        fetch(file, folder, **options)
    assert "model.onnx" in caught.value.message and str(folder) in caught.value.message
    assert not (folder / "model.onnx").exists()
    assert caught.value.hint
    return caught.value.message


# --- it arrives


def test_a_file_arrives_whole_and_once(server: Server, tmp_path: Path) -> None:
    told: list[Transfer] = []
    folder = tmp_path / "models" / "faces"
    path = fetch(remote(server.url), folder, told.append)
    assert path == folder / "model.onnx" and path.read_bytes() == CONTENT
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    done = [transfer.done for transfer in told]
    assert done[0] == 0 and done[-1] == len(CONTENT) and done == sorted(done) and len(done) > 2
    assert told[0].url == server.url and told[0].path == path and told[0].file.licence == "MIT"
    assert fetch(remote(server.url), folder) == path and len(server.behaviour.asked) == 1


def test_a_cut_is_mended_in_the_same_run(server: Server, tmp_path: Path) -> None:
    server.behaviour.cuts = [300_000, 100_000]
    assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-", "bytes=400000-"]


def test_the_next_run_goes_on_where_the_last_one_was_cut(server: Server, tmp_path: Path) -> None:
    server.behaviour.cuts = [200_000, 0, 0, 0]
    assert "cut after 200000 of 700000" in refused(remote(server.url), tmp_path)
    assert names(tmp_path) == ["model.onnx.part"]
    assert (tmp_path / "model.onnx.part").read_bytes() == CONTENT[:200_000]
    told: list[int] = []
    assert fetch(remote(server.url), tmp_path, lambda t: told.append(t.done)).read_bytes() == CONTENT
    assert told[0] == 200_000 and server.behaviour.asked[-1] == "bytes=200000-"
    assert names(tmp_path) == ["model.onnx"]


def test_a_server_that_ignores_range_starts_again(server: Server, tmp_path: Path) -> None:
    server.behaviour.ranges = False
    server.behaviour.cuts = [300_000]
    assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == [None, "bytes=300000-"]


def test_a_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.part").write_bytes(CONTENT)
    assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT
    assert not server.behaviour.asked


def test_a_part_that_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.part").write_bytes(CONTENT + b"x")
    assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT
    assert server.behaviour.asked == [None]


def test_the_second_address_is_asked_where_the_first_fails(server: Server, tmp_path: Path) -> None:
    gone = "http://127.0.0.1:9/model.onnx"
    assert fetch(remote(gone, server.url), tmp_path).read_bytes() == CONTENT


# --- it does not


def test_damaged_content_is_removed(server: Server, tmp_path: Path) -> None:
    server.behaviour.content = b"\0" + CONTENT[1:]
    assert "sha256" in refused(remote(server.url), tmp_path)
    assert names(tmp_path) == []


def test_a_damaged_part_does_not_stay_for_ever(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.part").write_bytes(b"\0" * 1000)
    assert "sha256" in refused(remote(server.url), tmp_path)
    assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404, 416, 500, 503])
def test_a_server_that_refuses(status: int, server: Server, tmp_path: Path) -> None:
    server.behaviour.status = status
    assert str(status) in refused(remote(server.url), tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"version https://git-lfs.github.com/spec/v1\n", CONTENT + b"more"])
def test_another_size_is_refused_before_a_byte_is_written(content: bytes, server: Server, tmp_path: Path) -> None:
    """Such as the page that a portal shows, or the pointer that stands for a large file."""
    server.behaviour.content = content
    assert f"offers {len(content)} bytes, expected {len(CONTENT)}" in refused(remote(server.url), tmp_path)
    assert names(tmp_path) == []


def test_another_part_than_the_one_asked_for_is_refused(server: Server, tmp_path: Path) -> None:
    (tmp_path / "model.onnx.part").write_bytes(CONTENT[:1000])
    server.behaviour.shift = 5
    assert "another part" in refused(remote(server.url), tmp_path)
    assert (tmp_path / "model.onnx.part").read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/model.onnx", "http://no-such-host.invalid/model.onnx"])
def test_unreachable_servers_are_named(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert "cannot be reached" in refused(remote(url), tmp_path)


def test_offline_says_what_to_put_where(server: Server, tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match="offline") as caught:
        fetch(remote(server.url), tmp_path / "absent", offline=True)
    assert server.url in caught.value.hint and str(tmp_path / "absent") in caught.value.message
    assert not server.behaviour.asked and not (tmp_path / "absent").exists()


def test_a_silent_server_is_not_waited_for_for_ever(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = threading.Event()
    monkeypatch.setattr(server, "answer", lambda request: wait.wait(10))
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    try:
        assert "cannot be reached" in refused(remote(server.url), tmp_path)
    finally:
        wait.set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_is_named(server: Server, tmp_path: Path) -> None:
    """/dev/full takes no byte: "No space left on device"."""
    (tmp_path / "model.onnx.part").symlink_to("/dev/full")
    with pytest.raises(MissingModel, match="No space left") as caught:
        fetch(remote(server.url), tmp_path)
    assert "0.7 MB" in caught.value.message and "Make room" in caught.value.hint
    assert not (tmp_path / "model.onnx").exists()


def test_a_small_disk_keeps_what_fits(server: Server, tmp_path: Path) -> None:
    """A real disk of 256 kB, where this user may mount one."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(tmp_path)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        with pytest.raises(MissingModel, match="No space left"):
            fetch(remote(server.url), tmp_path)
        assert names(tmp_path) == ["model.onnx.part"]
        subprocess.run(["mount", "-o", "remount,size=2m", str(tmp_path)], check=True)
        assert fetch(remote(server.url), tmp_path).read_bytes() == CONTENT
        kept = server.behaviour.asked[-1]
        assert kept is not None and kept > "bytes=1"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingModel, match="cannot be written") as caught:
        fetch(remote(server.url), tmp_path / "file" / "models")
    assert "CELEBBASIS_MODELS" in caught.value.hint


# --- several at once

FETCH = """
import sys
from pathlib import Path
from celebbasis_ext.files.download import RemoteFile, fetch
url, size, sha256, folder = sys.argv[1:]
path = fetch(RemoteFile("model.onnx", (url,), int(size), sha256, "MIT"), Path(folder))
print(len(path.read_bytes()))
"""


def test_processes_at_once_take_turns(server: Server, tmp_path: Path) -> None:
    server.behaviour.cuts = [100_000]
    file = remote(server.url)
    command = [sys.executable, "-c", FETCH, server.url, str(file.size), file.sha256, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in started:
        printed, complaints = process.communicate(timeout=60)
        assert printed.strip() == str(len(CONTENT)), complaints
    assert server.behaviour.asked == [None, "bytes=100000-"]
    assert (tmp_path / "model.onnx").read_bytes() == CONTENT and names(tmp_path) == ["model.onnx"]


def test_threads_at_once_take_turns(server: Server, tmp_path: Path) -> None:
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(fetch(remote(server.url), tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(server.behaviour.asked) == 1


def test_models_have_a_place_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELEBBASIS_MODELS", str(tmp_path))
    assert models_dir() == tmp_path
    monkeypatch.delenv("CELEBBASIS_MODELS")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    for platform, expected in {
        "linux": tmp_path / "data" / "celebbasis" / "models",
        "darwin": tmp_path / "Library" / "Application Support" / "celebbasis" / "models",
    }.items():
        monkeypatch.setattr(sys, "platform", platform)
        assert models_dir() == expected


def test_a_file_is_described_and_not_only_named() -> None:
    """What the doors show before anything is fetched."""
    from celebbasis_ext.faces.weights import SFACE, YUNET

    for file in (YUNET, SFACE):
        assert len(file.sha256) == 64 and int(file.sha256, 16) and file.size > 100_000
        assert file.licence in ("MIT", "Apache-2.0")
        assert all(url.startswith("https://") and url.endswith(f"/{file.name}") for url in file.urls)
