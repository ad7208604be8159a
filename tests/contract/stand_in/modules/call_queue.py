from __future__ import annotations

import threading

queue_lock = threading.Lock()  # first in, first out there; not re-entrant here either
