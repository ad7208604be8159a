"""The same contract inside a WebUI that is running already, asked over the loopback."""

from __future__ import annotations

import json
import os
import urllib.request

import pytest

URL = os.environ.get("CELEBBASIS_WEBUI_URL", "")


@pytest.mark.skipif(not URL, reason="CELEBBASIS_WEBUI_URL names no running WebUI")
def test_the_contract_holds_in_a_running_webui() -> None:
    request = urllib.request.Request(f"{URL.rstrip('/')}/celebbasis-contract", data=b"", method="POST")
    with urllib.request.urlopen(request, timeout=1800) as answer:
        found = json.load(answer)
    assert not found["failures"], "\n\n".join(found["failures"].values())
    outcomes = list(found["outcomes"].values())
    print(f"{outcomes.count('passed')} passed, {outcomes.count('skipped')} skipped in {URL}")
    assert outcomes.count("passed") > 40
