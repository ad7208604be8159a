"""Learns somebody over the HTTP API of Celeb Basis, with nothing but Python's own library.

python3 api-client.py anna.jpg anna-cb --consent
python3 api-client.py anna.jpg anna-too.jpg anna-cb --consent --instant
python3 api-client.py anna.jpg anna-cb --consent --address http://127.0.0.1:7860 --user me:secret

The address is that of the WebUI, or of `celebbasis ui` (the default).
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any


class Refused(Exception):
    """What the server had to say, for people to read."""


class Client:
    """The API at an address.

    Args:
        address: Such as http://127.0.0.1:7871.
        user: "name:password" where the WebUI runs with --api-auth; else empty.
    """

    def __init__(self, address: str, user: str = "") -> None:
        self.base = address.rstrip("/") + "/celebbasis/v1"
        self.headers = {"Content-Type": "application/json"}
        if user:
            self.headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()

    def ask(self, method: str, path: str, form: dict[str, Any] | None = None) -> Any:
        """Sends JSON, returns JSON.

        Raises:
            Refused: The server says no, or nothing.
        """
        body = None if form is None else json.dumps(form).encode()
        request = urllib.request.Request(self.base + path, body, self.headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=300) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise Refused(_said(error.read()) or str(error)) from error
        except OSError as error:
            raise Refused(f"Nobody answers at {self.base}: {error}") from error


def _said(body: bytes) -> str:
    """The message and the hint of an error; empty where it is none of ours."""
    try:
        error = json.loads(body)["error"]
        return f"{error['message']} {error['hint']}".strip()
    except (ValueError, KeyError, TypeError):
        return ""


def people_in(photos: list[Path], name: str) -> list[dict[str, str]]:
    """The photos of one person as requests want them."""
    return [{"name": name, "photo": base64.b64encode(photo.read_bytes()).decode()} for photo in photos]


def watched(client: Client, job: Any) -> Any:
    """Waits for a job that was ordered; returns it when it is over."""
    while job["state"] in ("queued", "running"):
        time.sleep(1)
        job = client.ask("GET", f"/jobs/{job['id']}")
        progress = job["progress"]
        said = f"{job['ahead']} jobs before it" if job["state"] == "queued" else progress["text"]
        print(f"\r{said} {progress['step']}/{progress['steps']}".ljust(60), end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return client.ask("GET", f"/jobs/{job['id']}?preview=true")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path, nargs="+", metavar="photo", help="of one person")
    parser.add_argument("name", help="the trigger word, such as anna-cb")
    parser.add_argument("--consent", action="store_true", help="it is me, or somebody who has agreed to be learned")
    parser.add_argument("--preset", default="Balanced", help="Fast, Balanced or Best")
    parser.add_argument("--instant", action="store_true", help="do not train: what the checkpoint's encoder sees")
    parser.add_argument("--address", default="http://127.0.0.1:7871")
    parser.add_argument("--user", default="", metavar="NAME:PASSWORD", help="where the WebUI runs with --api-auth")
    options = parser.parse_args()
    client = Client(options.address, options.user)
    try:
        form = {"people": people_in(options.photos, options.name), "consent": options.consent}
        training = {} if options.instant else {"preset": options.preset}
        job = watched(client, client.ask("POST", "/insert" if options.instant else "/train", form | training))
    except Refused as refused:
        print(refused, file=sys.stderr)
        return 1
    if job["error"]:
        print(job["error"]["message"], job["error"]["hint"], file=sys.stderr)
        return 1
    for who, expected in zip(job["result"]["people"], job["result"]["expected"], strict=False):
        if expected["likeness"] is not None:
            print(f"{who}: expected likeness {expected['likeness']:.2f} ± {expected['doubt']:.2f}")
    for who, scores in zip(job["result"]["people"], job["result"]["scores"], strict=False):
        print(f"{who}: likeness {scores['likeness']:.2f} (anybody: {scores['impostors']:.2f})")
    if job["result"]["sheet"]:
        sheet = Path(f"{options.name}-sheet.png")
        sheet.write_bytes(base64.b64decode(job["result"]["sheet"]))
        print(f"Contact sheet: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
