from __future__ import annotations

import threading
from collections import deque
from typing import Any


class FIFOLock:
    """First in, first out, as in `fifo_lock.py`; not re-entrant there either."""

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._changed = threading.Condition()

    def acquire(self, blocking: bool = True) -> bool:
        place = object()
        with self._changed:
            if self._line and not blocking:
                return False
            self._line.append(place)
            self._changed.wait_for(lambda: self._line[0] is place)
        return True

    def release(self) -> None:
        with self._changed:
            self._line.popleft()
            self._changed.notify_all()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: Any) -> None:
        self.release()


queue_lock = FIFOLock()
