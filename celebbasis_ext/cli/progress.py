"""A job at the terminal: a bar, the time left, and Ctrl-C that keeps what was learned."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from celebbasis_ext.cli.people import print_surprises
from celebbasis_ext.types import LoraSaved, LoraStepDone, Prepared, Saved, StepDone

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Order, Workshop


def show_prepared(prepared: Prepared) -> None:
    """What was understood of the photos, and what is wrong with them."""
    for subject in prepared.subjects:
        print(f"{subject.name}: face found; beside it: {', '.join(subject.description) or 'nothing said'}")
        for warning in subject.warnings:
            print(f"{subject.name}: warning: {warning.sentence}", file=sys.stderr)


def run(workshop: Workshop, order: Order) -> Saved:
    """As `run_with_loras`, where none are ordered."""
    return run_with_loras(workshop, order)[0]


def run_with_loras(
    workshop: Workshop, order: Order, on_prepared: Callable[[Prepared], None] = show_prepared
) -> tuple[Saved, LoraSaved | None]:
    """Runs an order with a progress bar; the LoRAs are None where none was ordered or begun.

    Once training has begun the first Ctrl-C ends it after the step and keeps what was learned. Before that, and
    the second time, it interrupts at once.
    """
    from celebbasis_ext.lora_job import learn_people

    saved, loras = None, None
    with Interrupt() as interrupt:
        for event in learn_people(workshop, order, lambda: interrupt.pressed):
            if isinstance(event, Prepared):
                on_prepared(event)
                print_surprises(workshop, [subject.name for subject in event.subjects])
            elif isinstance(event, StepDone | LoraStepDone):
                interrupt.patient = True
                show_bar(event.step, event.steps, _said(event), event.seconds_left)
            elif isinstance(event, Saved):
                saved = event
            else:
                loras = event
    assert saved is not None  # train_people always ends with Saved
    if not saved.finished:
        print("Stopped. What was learned is saved; go on with --resume.")
    elif loras is not None and not loras.finished:
        print("Stopped. The embeddings are saved; a LoRA that is not finished is not.")
    return saved, loras


def _said(done: StepDone | LoraStepDone) -> str:
    return f"{'LoRA  ' if isinstance(done, LoraStepDone) else ''}loss {done.loss:.4f}"


def show_bar(step: int, steps: int, said: str, seconds_left: float) -> None:
    """One line that is drawn over itself; a line every tenth of the way where the output is no terminal."""
    terminal = sys.stderr.isatty()
    if not terminal and step % max(1, steps // 10):
        return
    filled = round(30 * step / steps)
    bar = "#" * filled + "-" * (30 - filled)
    end = "\n" if not terminal or step == steps else ""
    text = f"[{bar}] {step}/{steps}  {said}  {seconds_left:4.0f} s left"
    print(("\r" if terminal else "") + text, end=end, file=sys.stderr, flush=True)


class Interrupt:
    """Ctrl-C while it is entered: at once, or where it is `patient` the first time only noted in `pressed`."""

    def __init__(self) -> None:
        self.patient = self.pressed = False

    def __enter__(self) -> Interrupt:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: object) -> None:
        if self.pressed or not self.patient:
            raise KeyboardInterrupt
        self.pressed = True
