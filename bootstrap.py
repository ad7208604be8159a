"""From a fresh clone to a running command: makes `.venv`, installs the project there, runs the command in it.

python3 bootstrap.py demo [args...]    the demonstration
python3 bootstrap.py test [args...]    ruff, mypy, then pytest with args
python3 bootstrap.py WORD [args...]    any other command of `celebbasis`

Needs Python 3.10 or newer and, where this Python has no `ensurepip`, pip. Imports the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
CONSTRAINTS = ROOT / "constraints.txt"

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-q"),  # last, so that its summary is the last line
)


class Unprepared(Exception):
    """This machine lacks something that only its owner can add; the message says what."""


def main(arguments: list[str]) -> int:
    """Prepares `.venv` and runs a command there.

    Returns:
        The command's exit status.
    """
    if sys.version_info < (3, 10):  # noqa: UP036 - whoever runs this has not installed anything yet
        return _refuse("Python 3.10 or newer is needed; this is " + sys.version.split()[0] + ".")
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if arguments else 2
    word, rest = arguments[0], arguments[1:]
    try:
        prepare("test" if word == "test" else "lab")
    except Unprepared as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 130
    if word == "test":
        return run_checks(rest)
    return run("celebbasis_ext.cli", word, *rest)


def prepare(extras: str) -> None:
    """Makes `.venv` and installs the project there, unless that was done for the same Python and pins.

    Raises:
        Unprepared: There is no way to get pip into `.venv`, or the installation failed.
    """
    stamp, wanted = VENV / f"installed-{extras}", fingerprint(extras)
    if PYTHON.exists() and stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    print("Setting up .venv (once, a few minutes)...", flush=True)
    if not _has_pip():
        make_venv()
    _pip(PYTHON, "-e", f".[{extras}]")
    stamp.write_text(wanted, "utf-8")


def fingerprint(extras: str) -> str:
    """A hash of all that decides what is installed."""
    project, pins = ((ROOT / name).read_text("utf-8") for name in ("pyproject.toml", CONSTRAINTS.name))
    parts = (sys.version, extras, str(ROOT), project, pins)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_venv() -> None:
    """Makes `.venv` anew. Debian's and Ubuntu's Python may lack `ensurepip`; then the outer pip fetches one.

    Raises:
        Unprepared: There is neither `ensurepip` nor pip, or no `venv` module.
    """
    if find_spec("venv") is None:
        raise Unprepared("This Python has no venv module: install it (on Debian: python3-venv).")
    import venv

    ensurepip = find_spec("ensurepip") is not None
    builder = venv.EnvBuilder(clear=True, symlinks=os.name != "nt", with_pip=ensurepip)
    try:
        builder.create(VENV)
    except subprocess.CalledProcessError:  # an `ensurepip` that has lost its wheels
        builder.with_pip = False
        builder.create(VENV)
    if not _has_pip():
        _fetch_pip()


def run_checks(pytest_arguments: list[str]) -> int:
    """Runs the linter, the type checker and the tests; stops at the first that fails.

    Returns:
        Its exit status, or 0.
    """
    for module, *arguments in CHECKS:
        print(f"$ {' '.join((module, *arguments))}", flush=True)
        extra = pytest_arguments if module == "pytest" else []
        status = run(module, *arguments, *extra, folder=ROOT)
        if status:
            return status
    return 0


def run(module: str, *arguments: str, folder: Path | None = None) -> int:
    """Runs a module in `.venv`, in a folder or in the current one.

    Returns:
        The exit status as a shell gives it.
    """
    # Ctrl-C goes to the command too, and how to end is for the command to say.
    signal.signal(signal.SIGINT, lambda *_: None)
    # Threads that spin while they wait make a busy machine crawl.
    environment = {"OMP_WAIT_POLICY": "PASSIVE"} | os.environ
    status = subprocess.call([str(PYTHON), "-m", module, *arguments], cwd=folder, env=environment)
    return status if status >= 0 else 128 - status


def _has_pip() -> bool:
    """Whether `.venv` belongs to this Python and has a pip."""
    try:
        return _ask_venv("import pip, sys; print(sys.version)") == sys.version.strip()
    except (OSError, subprocess.CalledProcessError):
        return False


def _fetch_pip() -> None:
    """Puts pip into a `.venv` that has none. With --target, an 'externally managed' pip agrees to that.

    The outer pip is not run under `.venv`'s Python: it would bring its own folder along, and count the
    packages that lie there as installed.

    Raises:
        Unprepared: There is no outer pip, or it failed.
    """
    if find_spec("pip") is None:
        raise Unprepared("This Python has neither ensurepip nor pip: install one (on Debian: python3-pip).")
    site_packages = _ask_venv("import sysconfig; print(sysconfig.get_path('purelib'))")
    _pip(Path(sys.executable), "--target", site_packages, "pip")


def _ask_venv(code: str) -> str:
    """What a line of Python prints in `.venv`."""
    done = subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _pip(python: Path, *arguments: str) -> None:
    """Runs one `pip install` under the constraints.

    Raises:
        Unprepared: pip failed; it has said why.
    """
    # Variables, because -c does not reach the separate environment in which the project is built: pip
    # before 25.3 takes the first for that, later ones the second. A URI, because pip splits at blanks.
    pins = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), CONSTRAINTS.as_uri())
    environment = os.environ | pins | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [str(python), "-m", "pip", "install", "-qq", *arguments]
    if subprocess.call(command, cwd=ROOT, env=environment):
        raise Unprepared("The installation failed; pip says why above.")


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
