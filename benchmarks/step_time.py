"""Is a training step of ours as fast as one of plain Textual Inversion? Both in one run, in turns, on the miniature.

The other side is diffusers' `examples/textual_inversion` without its launcher: two added tokens, the whole token table
under AdamW, the photo through the autoencoder in every step, and all other rows put back after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.checkpoint import recognise
from celebbasis_ext.hosts.standalone import StandaloneHost
from celebbasis_ext.hosts.standalone_load import load_pipeline
from celebbasis_ext.jobs import Order, Workshop, basis_of, prepare
from celebbasis_ext.miniature.drawing import Look, draw
from celebbasis_ext.miniature.people import strangers
from celebbasis_ext.miniature.workshop import Assets, open_workshop
from celebbasis_ext.prompts import PLAIN_TEMPLATES
from celebbasis_ext.recipes import RECIPES
from celebbasis_ext.train import Training
from celebbasis_ext.types import Image

RESULTS = Path(__file__).resolve().parent / "results"
NAME = "stranger-cb"
LOOK = Look(background="red", hat="blue", glasses=True)
WARM_UP = 3
Step = Callable[[], object]


class TextualInversion:
    """diffusers' example (`textual_inversion.py --num_vectors=2`), in its order and with its settings."""

    TOKENS = ("<person>", "<person>_1")

    def __init__(self, pipeline: Any, photo: Image, batch: int) -> None:
        self.tokenizer, self.text_encoder = pipeline.tokenizer, pipeline.text_encoder
        self.unet, self.vae = pipeline.unet, pipeline.vae
        self.noise_schedule = diffusers.DDPMScheduler.from_config(pipeline.scheduler.config)
        self.photo, self.batch, self.device = photo, batch, pipeline.unet.device
        self.table = self._with_added_tokens()
        for module in (self.unet, self.vae, self.text_encoder):
            module.requires_grad_(False)
        self.table.requires_grad_(True)
        self.original = self.table.detach().clone()
        self.text_encoder.train()
        self.optimiser = torch.optim.AdamW([self.table], lr=5e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        self.rng = np.random.default_rng(0)

    def _with_added_tokens(self) -> torch.nn.Parameter:
        self.tokenizer.add_tokens(list(self.TOKENS))
        self.text_encoder.resize_token_embeddings(len(self.tokenizer))
        table: torch.nn.Parameter = self.text_encoder.get_input_embeddings().weight
        added = self.tokenizer.convert_tokens_to_ids(list(self.TOKENS))
        start = self.tokenizer("person", add_special_tokens=False)["input_ids"][0]
        table.data[added] = table.data[start].clone()
        self.others = torch.ones(len(table), dtype=torch.bool, device=table.device)
        self.others[added] = False
        return table

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Pixels [b, 3, h, w] in [-1, 1], mirrored by chance, and token ids [b, 77]."""
        images = np.stack([self.photo[:, :: self.rng.choice((1, -1))] for _ in range(self.batch)])
        words = " ".join(self.TOKENS)
        prompts = [PLAIN_TEMPLATES[i].format(words) for i in self.rng.integers(len(PLAIN_TEMPLATES), size=self.batch)]
        rows = self.tokenizer(
            prompts, padding="max_length", truncation=True, max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids  # fmt: skip
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        return pixels.to(self.device), rows.to(self.device)

    def step(self) -> float:
        pixels, rows = self._batch()
        latents = self.vae.encode(pixels).latent_dist.sample().detach() * self.vae.config.scaling_factor
        noise = torch.randn_like(latents)
        total = self.noise_schedule.config.num_train_timesteps
        timesteps = torch.randint(0, total, (len(latents),), device=self.device)
        x_t = self.noise_schedule.add_noise(latents, noise, timesteps)
        conditioning = self.text_encoder(rows)[0]
        loss = F.mse_loss(self.unet(x_t, timesteps, conditioning).sample, noise)
        loss.backward()
        self.optimiser.step()
        self.optimiser.zero_grad()
        with torch.no_grad():
            self.table[self.others] = self.original[self.others]
        return loss.item()


def our_steps(workshop: Workshop, photo: Image, batch: int, steps: int, cache: Path) -> Iterator[object]:
    """The default recipe over `steps` steps; face, basis and views are prepared before the first one."""
    subjects = prepare(workshop, Order((photo,), (NAME,)))
    config = dataclasses.replace(RECIPES["default"], batch=batch, steps=steps)
    basis = basis_of(workshop, cache)
    with workshop.host.training() as denoiser:
        yield from Training(denoiser, basis, subjects, config)


def their_step(photo: Image, batch: int, device: str) -> Step:
    pipeline = load_pipeline(recognise(Assets().checkpoint), torch.float32).to(device)
    return TextualInversion(pipeline, photo, batch).step


def ways(options: argparse.Namespace, folder: Path) -> dict[str, Step]:
    """What is compared, each ready for `WARM_UP` and all rounds' steps."""
    photo = draw(strangers(1, 4711)[0], LOOK).image
    workshop = open_workshop(folder)
    assert isinstance(workshop.host, StandaloneHost)
    workshop.host.pipeline.to(options.device)
    steps = WARM_UP + options.rounds * options.steps
    training = our_steps(workshop, photo, options.batch, steps, folder)
    return {
        "ours": lambda: next(training),
        "textual_inversion": their_step(photo, options.batch, options.device),
    }


def milliseconds(step: Step, device: str) -> float:
    wait = {"cuda": torch.cuda.synchronize, "mps": torch.mps.synchronize}.get(device, lambda: None)
    wait()
    started = time.perf_counter()
    step()
    wait()
    return (time.perf_counter() - started) * 1000


def measure(steps: dict[str, Step], rounds: int, count: int, device: str) -> dict[str, list[list[float]]]:
    """{way: [rounds][count] milliseconds}; who comes first changes from round to round."""
    times: dict[str, list[list[float]]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(WARM_UP):
            step()
    for done in range(rounds):
        for name in list(steps)[:: 1 if done % 2 == 0 else -1]:
            times[name].append([milliseconds(steps[name], device) for _ in range(count)])
    return times


def report_of(times: dict[str, list[list[float]]], options: argparse.Namespace) -> dict[str, Any]:
    """Medians over all steps; the ratio is formed round by round, so that a busy minute hits both sides."""
    medians = {name: [statistics.median(own) for own in rounds] for name, rounds in times.items()}
    ratios = [theirs / ours for ours, theirs in zip(medians["ours"], medians["textual_inversion"], strict=True)]
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **machine(options.device),
        "batch": options.batch,
        "rounds": options.rounds,
        "steps": options.steps,
        "milliseconds": {name: figures([ms for own in rounds for ms in own]) for name, rounds in times.items()},
        "textual_inversion_over_ours": figures(ratios),
        "peak_memory_mib_of_both": peak_memory(options.device),
    }


def figures(values: list[float]) -> dict[str, float]:
    low, middle, high = np.quantile(values, [0, 0.5, 1])
    return {"median": round(float(middle), 3), "lowest": round(float(low), 3), "highest": round(float(high), 3)}


def machine(device: str) -> dict[str, Any]:
    accelerator = {"gpu": torch.cuda.get_device_name()} if device == "cuda" else {}
    return {
        "device": device, "cpu": cpu_name(), **accelerator, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
        "python": platform.python_version(), "torch": torch.__version__, "diffusers": diffusers.__version__,
        "transformers": transformers.__version__,
    }  # fmt: skip


def cpu_name() -> str:
    known = Path("/proc/cpuinfo")
    lines = known.read_text().splitlines() if known.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_memory(device: str) -> dict[str, float]:
    """Of this process, in MiB: main memory (Windows does not tell), and the GPU's where one is used."""
    peaks = {"gpu": torch.cuda.max_memory_allocated() / 2**20} if device == "cuda" else {}
    with suppress(ImportError):
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        peaks["main"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return {name: round(mib, 1) for name, mib in peaks.items()}


def show(report: dict[str, Any]) -> None:
    print(f"{report['cpu']}, {report['threads']} threads, {report['device']}, torch {report['torch']}, fp32")
    for name, ms in report["milliseconds"].items():
        print(f"{name:18} {ms['median']:8.1f} ms per step  ({ms['lowest']:.1f} to {ms['highest']:.1f})")
    ratio = report["textual_inversion_over_ours"]
    print(f"textual_inversion / ours: {ratio['median']:.2f}  (rounds: {ratio['lowest']:.2f} to {ratio['highest']:.2f})")
    for kind, mib in report["peak_memory_mib_of_both"].items():
        print(f"peak of {kind} memory, both together: {mib:.0f} MiB")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=6, help="of both, in turns (default: 6)")
    options.add_argument("--steps", type=int, default=10, help="in a round (default: 10)")
    options.add_argument("--batch", type=int, default=4, help="noisy pictures per step (default: 4)")
    options.add_argument("--device", choices=("cpu", "cuda", "mps"), default="cpu")
    options.add_argument("--out", type=Path, help="default: benchmarks/results/step_time-DEVICE.json")
    chosen = options.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        times = measure(ways(chosen, Path(folder)), chosen.rounds, chosen.steps, chosen.device)
    report = report_of(times, chosen)
    show(report)
    out = chosen.out or RESULTS / f"step_time-{chosen.device}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as unfinished:
        unfinished.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
