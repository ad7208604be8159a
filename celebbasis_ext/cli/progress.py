"""A job at the terminal: a bar, the time left, and Ctrl-C that keeps what was learned."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from celebbasis_ext.cli.people import print_surprises
from celebbasis_ext.types import Prepared, Saved, StepDone

if TYPE_CHECKING:
    from celebbasis_ext.jobs import Order, Workshop


def run(workshop: Workshop, order: Order) -> Saved:
    """Runs an order with a progress bar; the first Ctrl-C ends it after the step, and keeps what was learned."""
    from celebbasis_ext.jobs import train_people

    saved = None
    with _stop_on_interrupt() as stop:
        for event in train_people(workshop, order, stop):
            if isinstance(event, Prepared):
                for subject in event.subjects:
                    print(f"{subject.name}: face found; beside it: {', '.join(subject.description) or 'nothing said'}")
                print_surprises(workshop, [subject.name for subject in event.subjects])
            elif isinstance(event, StepDone):
                _show_progress(event)
            else:
                saved = event
    assert saved is not None  # train_people always ends with Saved
    if not saved.finished:
        print("Stopped. What was learned is saved; go on with --resume.")
    return saved


def _show_progress(done: StepDone) -> None:
    """One line that is drawn over itself; a line every tenth of the way where the output is no terminal."""
    terminal = sys.stderr.isatty()
    if not terminal and done.step % max(1, done.steps // 10):
        return
    filled = round(30 * done.step / done.steps)
    bar = "#" * filled + "-" * (30 - filled)
    end = "\n" if not terminal or done.step == done.steps else ""
    text = f"[{bar}] {done.step}/{done.steps}  loss {done.loss:.4f}  {done.seconds_left:4.0f} s left"
    print(("\r" if terminal else "") + text, end=end, file=sys.stderr, flush=True)


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Yields a question: was Ctrl-C pressed? The second time it interrupts at once."""
    pressed = False

    def note(number: int, frame: object) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)
