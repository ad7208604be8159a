"""Installs what the WebUI lacks. It runs this at every start, in a process of its own, from the WebUI's folder.

Only the standard library; nothing is imported that is merely looked for. Where something is missing there is one call
of pip, under constraints that freeze every package the WebUI has: none of them is ever moved. What could not be
installed is written to `install-report.json`, for the tab to explain; the WebUI starts in any case.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

REPORT = Path(__file__).resolve().parent / "install-report.json"

# Module -> what pip calls it. opencv comes as one of four packages, of which any will do.
NEEDED = {"sklearn": "scikit-learn", "cv2": "opencv-python-headless"}

# What pip accepts in a constraint (PEP 440, without its rarer spellings); one odd line would fail the whole call.
VERSION = re.compile(r"[0-9]+(\.[0-9]+)*((a|b|rc|\.post|\.dev)[0-9]+)*(\+[a-z0-9.]+)?", re.IGNORECASE)


def main() -> None:
    missing = missing_packages()
    reason = ""
    if missing:
        reason = "The WebUI was started with --skip-install." if skipped() else install(missing)
        missing = missing_packages()
    report(missing, reason)


def missing_packages() -> list[str]:
    return [package for module, package in NEEDED.items() if find_spec(module) is None]


def skipped() -> bool:
    return "--skip-install" in shlex.split(os.environ.get("COMMANDLINE_ARGS", ""), posix=os.name != "nt")


def install(packages: list[str]) -> str:
    """One call of pip.

    Returns:
        Why it failed, or nothing.
    """
    print(f"Celeb Basis: installing {', '.join(packages)}")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text("\n".join(frozen()), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--prefer-binary", "--constraint", str(constraints)]
        if index := os.environ.get("INDEX_URL"):
            command += ["--index-url", index]
        done = subprocess.run([*command, *packages], capture_output=True, text=True, check=False)
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
    return "" if done.returncode == 0 else (errors or done.stderr.splitlines() or ["pip failed"])[-1]


def frozen() -> Iterator[str]:
    """`name==version` of every package that is here; of two versions of one package, the one that is imported."""
    seen = set()
    for distribution in distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and VERSION.fullmatch(version or "") and name.lower() not in seen:
            seen.add(name.lower())
            yield f"{name}=={version}"


def report(missing: list[str], reason: str) -> None:
    if not missing:
        REPORT.unlink(missing_ok=True)
        return
    print(f"Celeb Basis: {', '.join(missing)} could not be installed. {reason}")
    REPORT.write_text(json.dumps({"missing": missing, "reason": reason}), encoding="utf-8")


if __name__ == "__main__":
    with suppress(OSError, subprocess.SubprocessError):  # a read-only folder, no pip: the WebUI starts all the same
        main()
