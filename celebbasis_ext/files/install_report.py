"""What `install.py` could not install, as it wrote it down."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

REPORT = Path(__file__).resolve().parents[2] / "install-report.json"


@dataclass(frozen=True)
class InstallReport:
    """Packages that the WebUI's Python lacks.

    Attributes:
        missing: Their names, as pip knows them; empty where all is well.
        reason: Why they could not be installed.
    """

    missing: tuple[str, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        """A sentence for people, with the command that helps; empty where all is well."""
        if not self.missing:
            return ""
        packages = " ".join(self.missing)
        return (
            f"Celeb Basis needs {' and '.join(self.missing)}. {self.reason} "
            f"Restart the WebUI with a connection, or run `pip install {packages}` in its Python."
        )


def read_install_report(path: Path = REPORT) -> InstallReport:
    """Empty where there is none, or none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return InstallReport(tuple(map(str, found["missing"])), str(found["reason"]))
    except (OSError, ValueError, KeyError, TypeError):
        return InstallReport()
