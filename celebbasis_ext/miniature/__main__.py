"""Makes the miniature from its seed: `python -m celebbasis_ext.miniature --work FOLDER [STAGE ...]`.

Stages, in order: album, text, vae, latents, unet, decoder, export, recogniser, detector, tagger, judge, report,
encoder. Each goes on where it was interrupted. On two cores: see the seconds in `assets/training-log.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from celebbasis_ext.files.atomic import replacing
from celebbasis_ext.files.clip_tokenizer import clip_tokenizer
from celebbasis_ext.miniature import train_faces, train_text, train_unet, train_vae
from celebbasis_ext.miniature.album import open_album, render_album
from celebbasis_ext.miniature.captions import WORDS
from celebbasis_ext.miniature.export import save_checkpoint
from celebbasis_ext.miniature.nets import ExportedDetector
from celebbasis_ext.miniature.people import FIRST_NAMES, LAST_NAMES
from celebbasis_ext.miniature.train_vae import through_vae
from celebbasis_ext.miniature.workshop import ASSETS, Assets

PICTURES = 30_000
ALBUM_PARTS = 2


class Making:
    """The stages, over one work folder."""

    def __init__(self, work: Path, assets: Path, steps: int | None) -> None:
        self.work, self.assets, self.steps = work, Assets(assets), steps
        work.mkdir(parents=True, exist_ok=True)
        assets.mkdir(parents=True, exist_ok=True)

    def album(self) -> None:
        part = PICTURES // ALBUM_PARTS
        for start in range(0, PICTURES, part):
            render_album(self.work, part, start)

    def text(self) -> None:
        train_text.train_text(self.work, train_text.Words(clip_tokenizer()), self.steps or 1600)

    def vae(self) -> None:
        """Both halves, then whitening: the latents are fixed from here on."""
        album = open_album(self._albums()[0])
        vae = train_vae.train_both(self.work, album, self.steps or 2400)
        if not self._whitened.exists():
            train_vae.whiten(vae, album)
            torch.save(vae.state_dict(), self._whitened)

    def latents(self) -> None:
        for path in self._albums():
            train_unet.encode_album(self.work, self._vae(self._whitened), path)

    def unet(self) -> None:
        latents = torch.cat([train_unet.encode_album(self.work, None, path) for path in self._albums()])
        words = train_text.Words(clip_tokenizer())
        train_unet.train_unet(self.work, latents, 0, words, self._text_encoder(), self.steps or 4500)

    def decoder(self) -> None:
        train_vae.train_decoder(self.work, open_album(self._albums()[0]), self._vae(self._whitened), self.steps or 2600)

    def export(self) -> None:
        """The checkpoint as people download it; token rows that no caption uses become zeros."""
        text_encoder, unet = self._text_encoder(), train_unet.new_unet()
        unet.load_state_dict(self._state("unet", "average"))
        decoder = self.work / "decoder.ckpt"
        vae = self._vae(decoder if decoder.exists() else self._whitened)
        _forget_unused(text_encoder)
        metadata = {
            "celebbasis": "the miniature: a tiny Stable Diffusion 1 of drawn people, see celebbasis_ext/miniature"
        }
        save_checkpoint(self.assets.checkpoint, unet, vae, text_encoder, metadata)
        self._write_log()

    def recogniser(self) -> None:
        self._export_onnx(
            train_faces.train_recogniser(self.work, 71, self.steps or 1000), self.assets.recogniser, 112, ["identity"]
        )

    def detector(self) -> None:
        detector = ExportedDetector(train_faces.train_detector(self.work, 81, self.steps or 500))
        self._export_onnx(detector, self.assets.detector, 320, list(ExportedDetector.NAMES))

    def tagger(self) -> None:
        self._save_reader(train_faces.train_tagger(self.work, 61, self.steps or 700), self.assets.tagger)

    def judge(self) -> None:
        from celebbasis_ext.hosts.standalone import StandaloneHost

        vae = StandaloneHost.load(self.assets.checkpoint, self.work).pipeline.vae
        judge = train_faces.train_judge(self.work, 51, self.steps or 4000, lambda images: through_vae(vae, images))
        self._save_reader(judge, self.assets.judge)

    def report(self) -> None:
        from celebbasis_ext.miniature.report import write_report

        write_report(self.assets)

    def encoder(self) -> None:
        """What the checkpoint draws for all its celebrities teaches it."""
        from celebbasis_ext.encoder_job import SHIPPED, encoder_path, teach_encoder
        from celebbasis_ext.gallery import drawable_names, gather
        from celebbasis_ext.miniature.workshop import open_workshop
        from celebbasis_ext.types import Gathered

        workshop = open_workshop(self.work, self.assets)
        for event in gather(workshop, drawable_names(workshop), folder=self.work / "galleries"):
            if isinstance(event, Gathered):
                list(teach_encoder(workshop, event.gallery, encoder_path(workshop, SHIPPED)))

    def _write_log(self) -> None:
        logs = {
            path.name.split(".")[0]: path.read_text().splitlines() for path in sorted(self.work.glob("*.log.jsonl"))
        }
        thinned = {
            name: [json.loads(line) for line in lines[:: max(1, len(lines) // 25)] + lines[-1:]]
            for name, lines in logs.items()
        }
        with replacing(self.assets.folder / "training-log.json") as unfinished:
            unfinished.write_text(json.dumps(thinned, indent=0), encoding="utf-8")

    @property
    def _whitened(self) -> Path:
        return self.work / "vae_white.pt"

    def _albums(self) -> list[Path]:
        return sorted(self.work.glob("album-*.npy"), key=lambda path: int(path.stem.split("-")[1]))

    def _state(self, name: str, part: str) -> dict[str, Any]:
        state: dict[str, Any] = torch.load(self.work / f"{name}.ckpt", map_location="cpu", weights_only=True)[part]
        return state

    def _vae(self, path: Path) -> Any:
        vae, state = train_vae.new_vae(), torch.load(path, map_location="cpu", weights_only=True)
        vae.load_state_dict(state.get("module", state))
        return vae

    def _text_encoder(self) -> Any:
        encoder = train_text.new_text_encoder()
        state = self._state("text", "module")
        encoder.load_state_dict({k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")})
        return encoder

    def _export_onnx(self, module: torch.nn.Module, path: Path, side: int, outputs: list[str]) -> None:
        """Writes plain convolutions (batch norms folded in), for cv2.dnn and onnxruntime alike."""
        with replacing(path) as unfinished:
            torch.onnx.export(
                module.eval(), (torch.zeros(1, 3, side, side),), str(unfinished),
                input_names=["input"], output_names=outputs, opset_version=17, dynamo=False,
            )  # fmt: skip

    def _save_reader(self, reader: torch.nn.Module, path: Path) -> None:
        from safetensors.torch import save_file

        with replacing(path) as unfinished:
            save_file({key: value.half().contiguous() for key, value in reader.state_dict().items()}, unfinished)


@torch.no_grad()
def _forget_unused(text_encoder: Any) -> None:
    """Zeroes the rows of all tokens that no caption can contain."""
    tokenizer = clip_tokenizer()
    words = [*WORDS, *FIRST_NAMES, *LAST_NAMES]
    used = {i for word in words for i in tokenizer(word)["input_ids"]}
    table = text_encoder.get_input_embeddings().weight
    unused = np.setdiff1d(np.arange(len(table)), sorted(used))
    table[torch.from_numpy(unused)] = 0


def main() -> None:
    stages = [name for name, value in vars(Making).items() if callable(value) and not name.startswith("_")]
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(stages)} (default: all)")
    options.add_argument("--work", type=Path, required=True, help="folder for albums and checkpoints")
    options.add_argument("--assets", type=Path, default=ASSETS, help="folder for the result")
    options.add_argument("--steps", type=int, help="instead of a stage's own number of steps")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    making = Making(chosen.work, chosen.assets, chosen.steps)
    for stage in chosen.stages or stages:
        if stage not in stages:
            options.error(f"unknown stage {stage!r}, expected {', '.join(stages)}")
        run: Callable[[], None] = getattr(making, stage)
        run()


if __name__ == "__main__":
    main()
