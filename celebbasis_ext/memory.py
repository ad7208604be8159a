"""Out of memory: whatever a library raises for it -> one sentence for a person."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celebbasis_ext.errors import OutOfMemory

# torch has a class for CUDA, and plain RuntimeErrors for the processor, for MPS and for cuDNN.
_PHRASES = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")


@contextmanager
def out_of_memory_explained(advice: str) -> Iterator[None]:
    """Raises OutOfMemory with the advice where the block runs out of memory; other errors pass."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemory(f"There is not enough memory ({_first_line(error)}).", advice) from error


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or any(phrase in str(error).lower() for phrase in _PHRASES)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160].rstrip(".") if lines else type(error).__name__
