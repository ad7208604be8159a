"""What the WebUI's host promises beside: the embedding database, the queue, other checkpoints, little memory.

All of it holds for the real WebUI and for the stand-in, see `webui.py`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from celebbasis_ext.errors import CheckpointChanged, UnsupportedCheckpoint
from celebbasis_ext.files.embedding import load_embedding, save_embedding
from celebbasis_ext.hosts import a1111 as adapter
from celebbasis_ext.hosts.a1111 import A1111Denoiser, A1111Host, refuse_untrainable
from celebbasis_ext.hosts.a1111_queue import take_turn
from celebbasis_ext.hosts.detect import open_host, surroundings
from celebbasis_ext.hosts.half_gradients import HalfGradients
from celebbasis_ext.jobs import Order, Workshop, train_people
from celebbasis_ext.types import Embedding, Image, Saved, TrainConfig
from tests.contract.test_host import CONFIG, PORTRAIT, flat, same, vectors_of, words_of

pytestmark = pytest.mark.usefixtures("a1111", "webui_tidy")

PROMPT = "a photo of zz-cb"


@pytest.fixture
def database(a1111: A1111Host) -> Any:
    from modules import sd_hijack

    return sd_hijack.model_hijack.embedding_db


@pytest.fixture
def state(a1111: A1111Host) -> Any:
    from modules import shared

    return shared.state


def text_to_image(host: A1111Host, prompt: str = PROMPT) -> Image:
    """As the WebUI's own page asks for it: with a look at the embeddings folder, and with the prompt cache."""
    from modules import processing

    with closing(host._order([prompt], [5], 3, 4.0)) as order:
        order.do_not_reload_embeddings = False
        (picture,) = processing.process_images(order).images
    return np.asarray(picture.convert("RGB"))


def embedding_like(workshop: Workshop, text: str) -> Embedding:
    return Embedding("zz-cb", words_of(workshop, text))


def gradient(host: A1111Host, vectors: dict[str, Tensor]) -> Tensor:
    """Of a loss after one pass, with the same noise always."""
    leaves = {encoder: value.clone().requires_grad_() for encoder, value in vectors.items()}
    with host.training() as denoiser:
        backward(denoiser, leaves)
    grads = [leaf.grad for leaf in leaves.values()]
    assert grads[0] is not None
    return grads[0]


def backward(denoiser: A1111Denoiser, vectors: dict[str, Tensor]) -> None:
    x_t = torch.randn(2, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    conditioning = denoiser.encode_prompt([PROMPT, "zz-cb, smiling"], {"zz-cb": vectors})
    denoiser.predict(x_t, torch.tensor([300, 700]), conditioning).square().sum().backward()


def test_the_program_is_recognised(a1111: A1111Host) -> None:
    assert surroundings() == "a1111"
    assert open_host().checkpoint == a1111.checkpoint


def test_a_published_file_works_at_once_and_its_next_version_too(a1111: A1111Host, webui_workshop: Workshop) -> None:
    pictures = [text_to_image(a1111)]
    for known in ("emma adams", "adam adams"):
        path = save_embedding(embedding_like(webui_workshop, known), a1111.embeddings_dir, overwrite=True)
        a1111.publish(path)
        pictures.append(text_to_image(a1111))
        assert same([pictures[-1]], [text_to_image(a1111, f"a photo of {known}")])
    assert not same(pictures[:1], pictures[1:2]) and not same(pictures[1:2], pictures[2:])


def test_a_file_means_what_the_vectors_in_memory_meant(a1111: A1111Host, webui_workshop: Workshop) -> None:
    *_, saved = train_people(webui_workshop, Order((PORTRAIT,), ("zz-cb",), CONFIG))
    assert isinstance(saved, Saved)
    from_file = text_to_image(a1111)
    with a1111.training() as denoiser, torch.no_grad():
        by_name = flat(denoiser.encode_prompt([PROMPT], {}))
        vectors = {encoder: torch.from_numpy(v) for encoder, v in saved.embeddings[0].vectors.items()}
        by_vectors = flat(denoiser.encode_prompt([PROMPT], {"zz-cb": vectors}))
    assert torch.equal(by_name, by_vectors)
    saved.paths[0].unlink()
    a1111.publish(saved.paths[0])
    assert not same([text_to_image(a1111)], [from_file])


def test_no_embedding_stays_behind(a1111: A1111Host, webui_workshop: Workshop, database: Any) -> None:
    before = (set(database.word_embeddings), set(database.ids_lookup))
    vectors = vectors_of(webui_workshop, "emma adams")
    gradient(a1111, vectors)
    with pytest.raises(ZeroDivisionError), a1111.training() as denoiser:
        denoiser.encode_prompt([PROMPT], {"zz-cb": vectors})
        assert "zz-cb" in database.word_embeddings
        raise ZeroDivisionError
    a1111.generate([PROMPT], [1], [embedding_like(webui_workshop, "emma adams")], steps=1)
    assert (set(database.word_embeddings), set(database.ids_lookup)) == before


def test_a_file_of_the_same_name_steps_aside_and_comes_back(
    a1111: A1111Host, webui_workshop: Workshop, database: Any
) -> None:
    a1111.publish(save_embedding(embedding_like(webui_workshop, "emma adams"), a1111.embeddings_dir))
    own = database.word_embeddings["zz-cb"]
    picture = text_to_image(a1111)
    gradient(a1111, vectors_of(webui_workshop, "adam adams"))
    assert database.word_embeddings["zz-cb"] is own and own.filename
    other = a1111.generate([PROMPT], [5], [embedding_like(webui_workshop, "adam adams")], steps=3)
    assert not same(other, [picture])
    assert same([text_to_image(a1111)], [picture])


def test_a_refresh_in_the_middle_takes_no_gradient_away(
    a1111: A1111Host, webui_workshop: Workshop, database: Any
) -> None:
    vectors = vectors_of(webui_workshop, "emma adams")
    expected = gradient(a1111, vectors)
    with a1111.training() as denoiser:
        for _ in range(2):
            leaves = {encoder: value.clone().requires_grad_() for encoder, value in vectors.items()}
            backward(denoiser, leaves)
            database.load_textual_inversion_embeddings(force_reload=True)
            assert torch.equal(next(iter(leaves.values())).grad, expected)  # type: ignore[arg-type]


def test_what_an_earlier_picture_switched_on_is_off(a1111: A1111Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import extra_networks, sd_hijack

    asked: list[list[Any]] = []
    network = SimpleNamespace(name="lora-like", activate=lambda p, params: asked.append(params))
    monkeypatch.setitem(extra_networks.extra_network_registry, "lora-like", network)
    sd_hijack.model_hijack.apply_circular(True)
    with a1111.training():
        assert asked == [[]]
        assert not sd_hijack.model_hijack.circular_enabled


REFUSED: dict[str, Callable[[Any], tuple[Any, str, Any]]] = {
    "lowvram": lambda m: (m["shared"].cmd_opts, "lowvram", True),
    "inpainting": lambda m: (m["sd"].model, "conditioning_key", "hybrid"),
    "Stable Diffusion 3": lambda m: (m["sd"], "is_sd3", True),
    "predicts": lambda m: (m["sd"], "parameterization", "x0"),
    "8 bits": lambda m: (m["devices"], "fp8", True),
    "TensorRT": lambda m: (
        m["sd_unet"], "current_unet", SimpleNamespace(option=SimpleNamespace(label="[TensorRT] a"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_trained_through_is_refused(
    a1111: A1111Host, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import devices, sd_unet, shared

    found = {"shared": shared, "devices": devices, "sd_unet": sd_unet, "sd": a1111.loaded.sd}
    monkeypatch.setattr(*REFUSED[reason](found), raising=False)
    with pytest.raises(UnsupportedCheckpoint, match=reason) as refusal:
        A1111Host.open()
    assert refusal.value.hint


def test_a_refiner_and_no_checkpoint_at_all_are_refused(a1111: A1111Host) -> None:
    refiner = SimpleNamespace(
        sd_checkpoint_info=a1111.loaded.info, model=SimpleNamespace(conditioning_key="crossattn"), is_sdxl=True,
        conditioner=nn.Module(), cond_stage_model=nn.Module(),
    )  # fmt: skip
    with pytest.raises(UnsupportedCheckpoint, match="refiner"):
        refuse_untrainable(refiner)
    with pytest.raises(UnsupportedCheckpoint, match="No checkpoint"):
        refuse_untrainable(None)


class Switched:
    """Switches the checkpoint after a few steps, and back at the end."""

    def __init__(self, change: Callable[[], None], after: int = 3) -> None:
        self.change, self.after, self.steps = change, after, 0

    def __call__(self) -> bool:
        self.steps += 1
        if self.steps == self.after:
            self.change()
        return False


CHANGES: dict[str, Callable[[pytest.MonkeyPatch, A1111Host], None]] = {
    "another model": lambda patch, host: patch.setattr(
        _sd_models().model_data, "sd_model", SimpleNamespace(sd_checkpoint_info=host.loaded.info)
    ),
    "other weights in the same model": lambda patch, host: patch.setattr(
        host.loaded.sd, "sd_checkpoint_info", SimpleNamespace(name_for_extra="other")
    ),
    "unloaded": lambda patch, host: patch.setattr(_devices(), "device", torch.device("meta")),
    "nothing": lambda patch, host: patch.setattr(_sd_models().model_data, "sd_model", None),
}


def _sd_models() -> Any:
    from modules import sd_models

    return sd_models


def _devices() -> Any:
    from modules import devices

    return devices


@pytest.mark.parametrize("change", CHANGES)
def test_a_checkpoint_switched_under_way_ends_the_job_and_saves(
    a1111: A1111Host, webui_workshop: Workshop, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(A1111Host, "publish", lambda self, path: None)  # there is nothing to read it with
    config = TrainConfig(steps=20, batch=2, views=2)
    stop = Switched(lambda: CHANGES[change](monkeypatch, a1111))
    with pytest.raises(CheckpointChanged, match="miniature") as error:
        list(train_people(webui_workshop, Order((PORTRAIT,), ("zz-cb",), config), stop))
    assert "resume" in error.value.hint
    assert stop.steps == 3
    saved = load_embedding(a1111.embeddings_dir / "zz-cb.safetensors")
    assert saved.metadata["celebbasis.steps"] == "3"
    assert (a1111.embeddings_dir / "zz-cb.resume").exists()


def test_a_failure_because_of_a_switch_is_called_a_switch(a1111: A1111Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointChanged), a1111.training():
        monkeypatch.setattr(_sd_models().model_data, "sd_model", None)
        raise RuntimeError("weights are on meta")


def test_pictures_stay_with_the_checkpoint_that_is_trained(a1111: A1111Host) -> None:
    from modules import shared

    before, selected = a1111.generate([PROMPT], [1], steps=2), shared.opts.sd_model_checkpoint
    shared.opts.sd_model_checkpoint = "something else that waits in the queue"
    try:
        assert same(a1111.generate([PROMPT], [1], steps=2), before)
        assert shared.opts.sd_model_checkpoint == "something else that waits in the queue"
        a1111.loaded.check()
    finally:
        shared.opts.sd_model_checkpoint = selected


def test_seven_pictures_come_in_order(a1111: A1111Host) -> None:
    seeds = list(range(7))
    together = a1111.generate([PROMPT] * 7, seeds, steps=2)
    alone = [a1111.generate([PROMPT], [seed], steps=2)[0] for seed in seeds]
    assert all(np.abs(a.astype(int) - b).max() <= 2 for a, b in zip(together, alone, strict=True))


class ElsewhereUnlessNeeded:
    """--medvram on a machine with one kind of memory: what is not in use is in another precision, and fails if used."""

    def __init__(self, parts: list[tuple[nn.Module, nn.Module]]) -> None:
        self.parts = [part for part, _ in parts]
        self.hooks = [trigger.register_forward_pre_hook(self._bring(part)) for part, trigger in parts]

    def _bring(self, part: nn.Module) -> Callable[..., None]:
        def bring(module: nn.Module, arguments: Any) -> None:
            for other in self.parts:
                other.to(torch.float32 if other is part else torch.float64)

        return bring

    def undo(self) -> None:
        for hook in self.hooks:
            hook.remove()
        for part in self.parts:
            part.to(torch.float32)


@pytest.fixture
def medvram(a1111: A1111Host) -> Iterator[None]:
    sd = a1111.loaded.sd
    encoder = sd.cond_stage_model
    text = next(m for m in encoder.modules() if type(m).__name__ in ("CLIPTextModel", "CLIPTextTransformer"))
    moving = ElsewhereUnlessNeeded([(text, text), (sd.model, sd.model)])
    yield
    moving.undo()


@pytest.mark.usefixtures("medvram")
def test_medvram_needs_the_text_encoder_again(
    a1111: A1111Host, webui_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = vectors_of(webui_workshop, "emma adams")
    with pytest.raises(RuntimeError):
        gradient(a1111, vectors)
    monkeypatch.setattr(a1111.loaded.sd, "lowvram", True)
    moved = gradient(a1111, vectors)
    assert moved.abs().sum() > 0


def test_medvram_gives_the_same_gradient(
    a1111: A1111Host, webui_workshop: Workshop, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    vectors = vectors_of(webui_workshop, "emma adams")
    expected = gradient(a1111, vectors)
    request.getfixturevalue("medvram")
    monkeypatch.setattr(a1111.loaded.sd, "lowvram", True)
    assert torch.allclose(gradient(a1111, vectors), expected, rtol=1e-4, atol=1e-5)


def test_a_large_unet_recomputes_its_blocks(
    a1111: A1111Host, webui_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = vectors_of(webui_workshop, "emma adams")
    expected, picture = gradient(a1111, vectors), text_to_image(a1111)
    monkeypatch.setattr(adapter, "SMALL_UNET", 0)
    assert torch.allclose(gradient(a1111, vectors), expected, rtol=1e-4, atol=1e-5)
    assert same([text_to_image(a1111)], [picture])


def test_scaled_gradients_come_out_as_they_are(
    a1111: A1111Host, webui_workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the scaling: half precision itself needs a GPU. It must cancel out, also when the text is encoded again."""
    vectors = vectors_of(webui_workshop, "emma adams")
    expected = gradient(a1111, vectors)
    monkeypatch.setattr(a1111.loaded.sd, "lowvram", True)
    leaves = {encoder: value.clone().requires_grad_() for encoder, value in vectors.items()}
    with a1111.training() as denoiser:
        denoiser.gradients = HalfGradients()
        backward(denoiser, leaves)
        assert denoiser.gradients.scale is not None
    assert torch.allclose(next(iter(leaves.values())).grad, expected, rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


class Block(nn.Module):
    """A block whose own checkpointing fails on frozen weights, as LDM's does."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("One of the differentiated Tensors does not require grad")

    def _forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return torch.tanh(self.linear(x)) * x


@pytest.mark.parametrize(("small", "runs"), [(1000, 1), (0, 2)])
def test_blocks_are_differentiable_for_the_time_being(small: int, runs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "SMALL_UNET", small)
    block = Block()
    x = torch.ones(1, 3, requires_grad=True)
    with adapter._differentiable_blocks(nn.Sequential(block)):
        block(x).sum().backward()
    assert block.runs == runs
    assert torch.allclose(x.grad, torch.autograd.grad(block._forward(x).sum(), x)[0])  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        block(x)


JOB = SimpleNamespace(id="0123456789ab")


def progress_at(step: int, preview: Image | None = None, preview_step: int = 0) -> Any:
    return SimpleNamespace(text="Learning", step=step, steps=10, preview=preview, preview_step=preview_step)


def test_a_job_moves_the_hosts_own_bar(a1111: A1111Host, state: Any) -> None:
    from modules import progress

    with take_turn(JOB) as turn:
        assert progress.current_task == "task(celebbasis-0123456789ab)"
        turn.show(progress_at(3, PORTRAIT, 2))
        shown, count = state.current_image, state.id_live_preview
        assert np.array_equal(np.asarray(shown), PORTRAIT)
        a1111.generate([PROMPT], [1], steps=2)
        turn.show(progress_at(4, PORTRAIT, 2))
        assert (state.job_no, state.job_count, state.sampling_step, state.sampling_steps) == (0, 1, 4, 10)
        assert state.textinfo == "Learning" and state.current_image is shown
        assert state.id_live_preview == count, "the same preview was sent again"
        assert not turn.stop_wanted()
    assert progress.current_task is None and "task(celebbasis-0123456789ab)" in progress.finished_tasks
    assert state.job_count == 0


def test_interrupt_stops_the_job_but_not_its_last_pictures(a1111: A1111Host, state: Any) -> None:
    with take_turn(JOB) as turn:
        state.interrupted = True
        assert turn.stop_wanted()
        assert len(a1111.generate([PROMPT], [1], steps=1)) == 1
        assert turn.stop_wanted()
    assert not state.interrupted


def test_jobs_and_pictures_wait_for_each_other(a1111: A1111Host) -> None:
    from modules import call_queue

    order: list[str] = []

    def generation() -> None:
        with call_queue.queue_lock:
            order.append("generation")

    with take_turn(JOB):
        waiting = threading.Thread(target=generation)
        waiting.start()
        time.sleep(0.05)
        order.append("job")
    waiting.join(timeout=5)
    assert order == ["job", "generation"]


def test_a_long_job_lets_pictures_come_first_where_it_pauses(a1111: A1111Host, state: Any) -> None:
    from modules import call_queue, progress

    task = "task(celebbasis-0000000000cd)"
    order: list[str] = []
    asking = threading.Event()

    def generation() -> None:
        asking.set()
        with call_queue.queue_lock:
            order.append(f"picture, {task in progress.pending_tasks}, {state.job or 'idle'}")

    with take_turn(SimpleNamespace(id="0000000000cd")) as turn:
        for batch in range(3):
            asking.clear()
            waiting = threading.Thread(target=generation)
            waiting.start()
            assert asking.wait(timeout=5)
            time.sleep(0.1)
            order.append(f"batch {batch}")
            turn.let_others()
            waiting.join(timeout=5)
            assert (state.job, progress.current_task) == (task, task)
            assert task not in progress.pending_tasks and task not in progress.finished_tasks
    assert order == [line for i in range(3) for line in (f"batch {i}", "picture, True, idle")]
    assert call_queue.queue_lock.acquire(False)
    call_queue.queue_lock.release()


def test_interrupt_is_remembered_over_a_pause(state: Any) -> None:
    with take_turn(JOB) as turn:
        turn.let_others()
        assert not turn.stop_wanted()
        state.interrupted = True
        turn.let_others()
        assert turn.stop_wanted() and not state.interrupted


def test_a_job_that_fails_lets_go_of_the_queue(state: Any) -> None:
    from modules import call_queue

    with suppress(ZeroDivisionError), take_turn(JOB):
        raise ZeroDivisionError
    assert call_queue.queue_lock.acquire(False)
    call_queue.queue_lock.release()
    assert state.job == "" and state.job_count == 0


def test_files_never_leave_the_embeddings_folder(a1111: A1111Host) -> None:
    from modules import shared

    assert a1111.embeddings_dir == Path(shared.cmd_opts.embeddings_dir)


def test_a_card_finds_the_picture_that_came_after_it(a1111: A1111Host, monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import ui_extra_networks

    page = ui_extra_networks.ExtraNetworksPage("Textual Inversion")
    monkeypatch.setattr(ui_extra_networks, "extra_pages", [page])
    path = a1111.embeddings_dir / "zz-cb.safetensors"
    picture = path.with_name("zz-cb.preview.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    assert not page.lister.exists(str(picture))
    picture.write_bytes(b"picture")
    try:
        a1111.publish(path)
        assert page.lister.exists(str(picture))
    finally:
        picture.unlink()
