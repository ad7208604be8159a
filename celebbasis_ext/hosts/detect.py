"""Who are you? The only place that asks in which program this package runs."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

from celebbasis_ext.errors import UnsupportedCheckpoint

if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host


def surroundings() -> Literal["a1111", "forge", "none"]:
    """Whether this process is a WebUI, and of which family; imports nothing."""
    if "modules.shared" not in sys.modules:
        return "none"
    return "forge" if find_spec("modules_forge") else "a1111"


def open_host() -> Host:
    """The WebUI's host, for one job; loads the checkpoint if that has not been done yet.

    Raises:
        UnsupportedCheckpoint: If the program or its checkpoint cannot be trained in.
    """
    if surroundings() == "a1111":
        from celebbasis_ext.hosts.a1111 import A1111Host

        return A1111Host.open()
    raise UnsupportedCheckpoint(
        "Training in the host needs AUTOMATIC1111's WebUI, 1.9 or newer.",
        "Outside of it, use `celebbasis train` with a checkpoint file.",
    )
