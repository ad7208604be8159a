"""How much later does the WebUI start with the extension in it? Starts it in turns, with and without.

Run it in the WebUI's Python, with CELEBBASIS_WEBUI_ROOT naming the WebUI. The clock says what a person waits, the
processor time what remains of that on a machine that does other things too. `install.py`, which the WebUI runs in a
process of its own, is timed beside.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXTENSION = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).resolve().parent / "results"
FLAGS = (
    "--skip-prepare-environment --skip-torch-cuda-test --skip-version-check --use-cpu all --no-half --precision full "
    "--no-download-sd-model --do-not-download-clip --skip-load-model-at-start"
)


def start(root: Path, with_extension: bool, port: int) -> dict[str, float]:
    """Seconds from the process' start until the WebUI says it is there: by the clock, and of the processor."""
    with tempfile.TemporaryDirectory() as folder:
        extensions = Path(folder) / "extensions"
        extensions.mkdir()
        if with_extension:
            (extensions / "celebbasis").symlink_to(EXTENSION, target_is_directory=True)
        command = [sys.executable, "launch.py", *FLAGS.split(), "--data-dir", folder, "--port", str(port)]
        began = time.perf_counter()
        server = subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment()
        )
        assert server.stdout is not None
        try:
            printed = next((line for line in server.stdout if line.startswith("Startup time")), "")
            assert printed, "the WebUI ended before it was there"
            return {"clock": time.perf_counter() - began, "processor": processor_seconds(server.pid)}
        finally:
            server.kill()
            server.wait()


def environment() -> dict[str, str]:
    """Of this process; but Python may keep what it has compiled, as everywhere else."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONUNBUFFERED": "1", "COMMANDLINE_ARGS": "", "GRADIO_ANALYTICS_ENABLED": "False"}


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def install_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, str(EXTENSION / "install.py")], check=True)
    return time.perf_counter() - began


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=5, help="starts of each kind (default: 5)")
    options.add_argument("--port", type=int, default=7899)
    options.add_argument("--out", type=Path, default=RESULTS / "webui_start.json")
    chosen = options.parse_args()
    root = Path(os.environ["CELEBBASIS_WEBUI_ROOT"])
    start(root, True, chosen.port)  # compiles and fills the disk's cache
    found: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(chosen.rounds):
        for with_extension, times in found.items():
            times.append(start(root, with_extension, chosen.port))
    report: dict[str, Any] = {"webui": root.name, "python": sys.version.split()[0], "rounds": chosen.rounds}
    for unit in ("clock", "processor"):
        without, with_it = (statistics.median(times[unit] for times in found[kind]) for kind in (False, True))
        report[f"{unit}_seconds"] = {"without": round(without, 2), "with": round(with_it, 2)}
        report[f"{unit}_seconds_added"] = round(with_it - without, 2)
    report["install_seconds"] = round(statistics.median(install_seconds() for _ in range(chosen.rounds)), 3)
    print(json.dumps(report, indent=1))
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
