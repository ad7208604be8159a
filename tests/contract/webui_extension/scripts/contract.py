"""Runs the contract inside a running WebUI when somebody on the same machine asks for it. For tests alone.

Link this folder into `extensions/`, have pytest in the WebUI's Python, and set CELEBBASIS_WEBUI_URL for the tests
outside, which then ask `POST /celebbasis-contract`. See `tests/contract/webui.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from modules import script_callbacks

ROOT = Path(__file__).resolve().parents[4]
HERE = {"127.0.0.1", "::1"}


class Outcomes:
    """A pytest plugin that keeps what became of every test."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.failures: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome
        if report.failed:
            self.failures[report.nodeid] = report.longreprtext


def add_route(demo: Any, app: FastAPI) -> None:
    @app.post("/celebbasis-contract")
    def run_contract(request: Request) -> dict[str, dict[str, str]]:
        if request.client is None or request.client.host not in HERE:
            raise HTTPException(403, "only for tests on the same machine")
        sys.path.insert(0, str(ROOT))
        found = Outcomes()
        folder = str(ROOT / "tests" / "contract")
        pytest.main(["-q", "-p", "no:cacheprovider", "--rootdir", str(ROOT), folder], plugins=[found])
        return {"outcomes": found.outcomes, "failures": found.failures}


script_callbacks.on_app_started(add_route)
