from __future__ import annotations

from typing import Any

extra_network_registry: dict[str, Any] = {}


def activate(p: Any, extra_network_data: dict[str, Any]) -> None:
    for name, network in extra_network_registry.items():
        network.activate(p, extra_network_data.get(name, []))
