"""`install.py`, as the WebUI runs it: quick when nothing is missing, else one frozen call of pip, never an error."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from celebbasis_ext.files.install_report import read_install_report

ROOT = Path(__file__).parents[1]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    module: Any = load("install")
    monkeypatch.setattr(module, "REPORT", tmp_path / "install-report.json")
    monkeypatch.delenv("COMMANDLINE_ARGS", raising=False)
    return module


class Pip:
    """In the place of `subprocess.run`: keeps the command and the constraints, and fails as pip does offline."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.constraints = ""

    def __call__(self, command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        self.constraints = Path(command[command.index("--constraint") + 1]).read_text(encoding="utf-8")
        return subprocess.CompletedProcess(command, 1, "", "WARNING: retrying\nERROR: No matching distribution found")


@pytest.fixture
def pip(install: Any, monkeypatch: pytest.MonkeyPatch) -> Pip:
    pip = Pip()
    monkeypatch.setattr(install.subprocess, "run", pip)
    return pip


def test_nothing_missing_takes_no_time_and_no_pip(install: Any, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "NEEDED", {"numpy": "numpy", "json": "json"})
    install.main()
    assert pip.commands == []
    assert not install.REPORT.exists()


def test_it_imports_only_the_standard_library_and_is_quick() -> None:
    started = time.perf_counter()
    code = f"import sys, runpy; runpy.run_path({str(ROOT / 'install.py')!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - started
    assert not {"numpy", "torch", "sklearn", "cv2", "celebbasis_ext"} & set(done.stdout.split())
    assert seconds < 5, "the budget is 1 s; five times that on a machine that does other things too"


def test_one_call_of_pip_under_constraints_of_all_that_is_here(
    install: Any, pip: Pip, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install, "NEEDED", {"no_such_module": "no-such-package", "none_such": "none-such-package"})
    install.main()
    (command,) = pip.commands
    assert command[-2:] == ["no-such-package", "none-such-package"]
    assert f"numpy=={version('numpy')}" in pip.constraints.splitlines()
    assert f"torch=={version('torch')}" in pip.constraints.splitlines()
    assert "no-such-package" in capsys.readouterr().out
    found = read_install_report(install.REPORT)
    assert found.missing == ("no-such-package", "none-such-package")
    assert "No matching distribution" in str(found) and "pip install no-such-package none-such-package" in str(found)


def test_the_constraints_are_read_by_pip(install: Any, tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(install.frozen()), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "--no-deps", "-c", str(constraints)]
    done = subprocess.run([*command, "numpy"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "already satisfied" in done.stdout


def test_skip_install_is_honoured(install: Any, pip: Pip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "NEEDED", {"no_such_module": "no-such-package"})
    monkeypatch.setenv("COMMANDLINE_ARGS", "--medvram --skip-install")
    install.main()
    assert pip.commands == []
    assert "--skip-install" in read_install_report(install.REPORT).reason


def test_a_report_goes_when_all_is_well_again(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    install.REPORT.write_text(json.dumps({"missing": ["scikit-learn"], "reason": "offline"}), encoding="utf-8")
    monkeypatch.setattr(install, "NEEDED", {"numpy": "numpy"})
    install.main()
    assert str(read_install_report(install.REPORT)) == ""


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"missing": 3, "reason": ""}', "\0"])
def test_a_damaged_report_is_no_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "install-report.json"
    path.write_text(text, encoding="utf-8")
    assert not read_install_report(path).missing


def test_flags_are_few_and_prefixed() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    module: Any = load("preload")
    module.preload(parser)
    flags = [flag for action in parser._actions for flag in action.option_strings]
    assert 0 < len(flags) < 5
    assert all(flag.startswith("--celebbasis-") for flag in flags)
    assert vars(parser.parse_args([])) == {"celebbasis_cache": None}
