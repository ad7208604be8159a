"""The whole `celebbasis train` on full-size SD 1.5, SD 2.1-v and SDXL: does it run, how long, in how much memory?

There are no pretrained weights here: the files hold seeded random ones, in the public dimensions and in the
single-file layout that people download. Time and memory do not depend on the weights' values.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image as Pillow

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.single_file import empty_models, single_file_state, write_random
from benchmarks.step_time import RESULTS, machine
from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.hosts.standalone_load import CONFIGS, DTYPES
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets

ROOT = Path(__file__).resolve().parents[1]
NAME = "bench-cb"
MODELS = {"sd15": "sd1", "sd21v": "sd2", "sdxl": "sdxl"}
# Prints the GPU's peak, which only the process itself knows, as the command's last line.
COMMAND = """
import sys
from celebbasis_ext.cli import main
status = main(sys.argv[1:])
import torch
print("gpu_peak", torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0)
sys.exit(status)
"""


@dataclass
class Run:
    """What was seen of a command while it ran.

    Attributes:
        lines: What it wrote.
        seconds: When, since its start.
        computed: Processor seconds that it had used by then; 0 where the system does not tell. On a busy machine
            they say more than the clock.
        anonymous: Largest memory that is not a view of a file, in MiB; 0 where the system does not tell.
        resident: Largest memory with views of files (the checkpoint is one), in MiB.
    """

    lines: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    computed: list[float] = field(default_factory=list)
    anonymous: float = 0.0
    resident: float = 0.0

    def line(self, start: str) -> int:
        """The index of the first line that begins with this."""
        return next(i for i, line in enumerate(self.lines) if line.startswith(start))

    def between(self, before: int, after: int) -> dict[str, float]:
        """Seconds by the clock and by the processor from one line to another; -1 is the start."""
        clock, processor = [0.0, *self.seconds], [0.0, *self.computed]
        return {
            "clock": round(clock[after + 1] - clock[before + 1], 2),
            "processor": round(processor[after + 1] - processor[before + 1], 2),
        }


def watched(command: list[str], until: str | None = None) -> Run:
    """Runs a command, keeps what it says and when, and looks at its memory five times a second.

    Ends it at a line that begins with `until`.
    """
    run, started = Run(), time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", env=environment
    )
    watch = threading.Thread(target=_watch_memory, args=(process, run), daemon=True)
    watch.start()
    assert process.stdout is not None
    for line in process.stdout:
        run.lines.append(line.rstrip())
        run.seconds.append(time.perf_counter() - started)
        run.computed.append(_processor_seconds(process.pid))
        print("   ", line.rstrip(), flush=True)
        if until is not None and line.startswith(until):
            process.terminate()
            break
    status = process.wait()
    watch.join()
    if status and until is None:
        raise SystemExit(f"the command ended with status {status}")
    return run


def _processor_seconds(pid: int) -> float:
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _watch_memory(process: subprocess.Popen[str], run: Run) -> None:
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        with suppress(OSError):
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
            run.anonymous = max(run.anonymous, _mib(facts.get("RssAnon")))
            run.resident = max(run.resident, _mib(facts.get("VmHWM")))
        time.sleep(0.2)


def _mib(text: str | None) -> float:
    return int(text.split()[0]) / 1024 if text else 0.0


def portrait(path: Path) -> Path:
    drawn = draw(strangers(1, 4711)[0], Look(background="red", hat="blue", glasses=True)).image
    Pillow.fromarray(drawn).resize((1024, 1024), Pillow.Resampling.BICUBIC).save(path)
    return path


def measure(name: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Builds the file where it is not there yet, runs the command on it, and reports."""
    checkpoint = folder / f"{name}-random-{options.stored}.safetensors"
    if not checkpoint.exists():
        print(f"writing {checkpoint}", flush=True)
        state = single_file_state(MODELS[name], *empty_models(CONFIGS / MODELS[name]))
        write_random(checkpoint, state, DTYPES[options.stored], seed=0)
    photo = options.photo or portrait(folder / "portrait.png")
    out = Path(tempfile.mkdtemp(dir=folder))
    os.environ["CELEBBASIS_CACHE"] = str(out / "cache")
    run = _run(checkpoint, photo, out / "first", options)
    again = _run(checkpoint, photo, out / "again", options, until=NAME)
    return _report(name, checkpoint, options, run, again)


def _run(checkpoint: Path, photo: Path, out: Path, options: argparse.Namespace, until: str | None = None) -> Run:
    assets = Assets()
    command = [
        sys.executable, "-c", COMMAND, "train", str(photo), "--name", NAME, "--checkpoint", str(checkpoint),
        "--out", str(out), "--device", options.device, "--precision", options.precision, "--describer", "none",
        "--steps", str(options.steps), "--batch", str(options.batch), "--views", str(options.views),
        "--pictures", str(options.pictures), "--face-detector", str(options.face_detector or assets.detector),
        "--face-recogniser", str(options.face_recogniser or assets.recogniser),
        *(["--resolution", str(options.resolution)] if options.resolution else []),
        *(["--low-memory"] if options.low_memory else []),
    ]  # fmt: skip
    return watched(command, until)


def _report(name: str, checkpoint: Path, options: argparse.Namespace, run: Run, again: Run) -> dict[str, Any]:
    """`again` went as far as training: what is cached has been made by then."""
    gpu = int(run.lines[run.line("gpu_peak")].split()[1])
    loaded = run.line(checkpoint.stem + ":")
    steps = [i for i, line in enumerate(run.lines) if line.startswith("[")]
    return {
        "model": name, "weights": "seeded random, public dimensions",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(), **machine(options.device),
        "recognised_as": run.lines[loaded].split(": ", 1)[1],
        "file_mib": round(checkpoint.stat().st_size / 2**20), "stored": options.stored, "batch": options.batch,
        "views": options.views, "steps": options.steps, "low_memory": options.low_memory,
        "seconds": {
            "load": run.between(-1, loaded),
            "load_again": again.between(-1, again.line(checkpoint.stem + ":")),
            "face_and_basis": run.between(loaded, run.line(NAME)),
            "face_and_basis_again": again.between(again.line(checkpoint.stem + ":"), again.line(NAME)),
            "encode_views_and_first_step": run.between(run.line(NAME), steps[0]),
            "each_later_step": [run.between(*pair) for pair in itertools.pairwise(steps)],
            "all": run.between(-1, len(run.lines) - 1),
        },
        "peak_memory_mib": round(run.anonymous), "peak_memory_with_mapped_file_mib": round(run.resident),
        **({"peak_gpu_memory_mib": round(gpu / 2**20)} if gpu else {}),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", choices=[[], *MODELS], default=[], metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--folder", type=Path, help="where the checkpoints are kept (default: removed afterwards)")
    parser.add_argument("--photo", type=Path, help="default: a drawn portrait")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    parser.add_argument("--precision", choices=("auto", "fp32", "fp16", "bf16"), default="auto")
    parser.add_argument("--stored", choices=tuple(DTYPES), default="fp16", help="the file's precision (default: fp16)")
    parser.add_argument("--resolution", type=int, help="default: the model's own")
    parser.add_argument("--low-memory", action="store_true")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=0)
    parser.add_argument("--face-detector", type=Path)
    parser.add_argument("--face-recogniser", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.models or MODELS:
            report = measure(name, options, folder)
            print(json.dumps(report, indent=1))
            RESULTS.mkdir(parents=True, exist_ok=True)
            with replacing(RESULTS / f"full_size-{name}-{options.device}.json") as unfinished:
                unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
