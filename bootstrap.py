"""From a fresh clone to a running command: makes `.venv`, installs the project there, runs the command in it.

python3 bootstrap.py demo [args...]    the demonstration
python3 bootstrap.py ui [args...]      the tab in a browser
python3 bootstrap.py test [args...]    ruff, mypy, then pytest with args, on all cores (-n 0: on one, for --pdb)
python3 bootstrap.py WORD [args...]    any other command of `celebbasis`

python3 bootstrap.py browser-test      the tab in Debian's Chromium, on the gradio of AUTOMATIC1111 and of today;
                                       as root it installs Chromium. CELEBBASIS_BROWSER=1 makes `test` do that too,
                                       =gradio3 on the WebUI's alone; what cannot be prepared is left out, saying why.

Needs Python 3.10 or newer and, where this Python has no `ensurepip`, pip. Imports the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
OLD_VENV = ROOT / ".venv-gradio3"
CONSTRAINTS = ROOT / "constraints.txt"
OLD_PINS = ROOT / "tests" / "browser" / "gradio3.txt"
EXTRAS = {"test": "test", "browser-test": "test", "ui": "ui"}  # what a word needs; any other word needs the lab

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    # Last, so that its summary is the last line. What several tests of a file share is made once.
    ("pytest", "-q", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile"),
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
        prepare(EXTRAS.get(word, "lab"))
        if word == "browser-test":
            prepare_browser()
        elif word == "test":
            prepare_browser_if_possible()
    except Unprepared as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        return 130
    if word == "test":
        return run_checks(rest)
    if word == "browser-test":
        os.environ["CELEBBASIS_BROWSER"] = "1"
        return run("pytest", "tests/browser", *rest, folder=ROOT)
    return run("celebbasis_ext.cli", word, *rest)


def prepare(extras: str) -> None:
    """Makes `.venv` and installs the project there, unless that was done for the same Python and pins.

    Raises:
        Unprepared: There is no way to get pip into `.venv`, or the installation failed.
    """
    install(VENV, extras, CONSTRAINTS, "-e", f".[{extras}]")


def prepare_browser() -> None:
    """Brings Debian's Chromium, and AUTOMATIC1111's gradio in an environment of its own.

    Raises:
        Unprepared: Chromium is missing and this is not root on Debian, or an installation failed.
    """
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        if not (hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get")):
            raise Unprepared("Install Debian's chromium and chromium-driver.")
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        packages = ("install", "-qq", "-y", "--no-install-recommends", "chromium", "chromium-driver")
        for arguments in (("update", "-qq"), packages):
            if subprocess.call(["apt-get", *arguments], env=environment, stdout=subprocess.DEVNULL):
                raise Unprepared("apt-get could not install chromium and chromium-driver.")
    install(OLD_VENV, "gradio3", OLD_PINS, "-r", str(OLD_PINS))


def prepare_browser_if_possible() -> None:
    """The same where CELEBBASIS_BROWSER asks for it; what cannot be had is named, and its tests are left out."""
    if not os.environ.get("CELEBBASIS_BROWSER"):
        return
    try:
        prepare_browser()
    except Unprepared as error:
        print(f"Not every browser test can run here: {error}", flush=True)


def install(venv: Path, what: str, pins: Path, *requirements: str) -> None:
    """Makes an environment and installs into it, unless that was done for the same Python and pins.

    Raises:
        Unprepared: There is no way to get pip into it, or the installation failed.
    """
    stamp, wanted = venv / f"installed-{what}", fingerprint(what, pins)
    if python_of(venv).exists() and stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    print(f"Setting up {venv.name} (once, a few minutes)...", flush=True)
    if not _has_pip(venv):
        make_venv(venv)
    _pip(python_of(venv), pins, *requirements)
    stamp.write_text(wanted, "utf-8")


def python_of(venv: Path) -> Path:
    return venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def fingerprint(what: str, pins: Path) -> str:
    """A hash of all that decides what is installed."""
    project, pinned = (path.read_text("utf-8") for path in (ROOT / "pyproject.toml", pins))
    parts = (sys.version, what, str(ROOT), project, pinned)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def make_venv(folder: Path) -> None:
    """Makes an environment anew. Debian's and Ubuntu's Python may lack `ensurepip`; then the outer pip fetches one.

    Raises:
        Unprepared: There is neither `ensurepip` nor pip, or no `venv` module.
    """
    if find_spec("venv") is None:
        raise Unprepared("This Python has no venv module: install it (on Debian: python3-venv).")
    import venv

    ensurepip = find_spec("ensurepip") is not None
    builder = venv.EnvBuilder(clear=True, symlinks=os.name != "nt", with_pip=ensurepip)
    try:
        builder.create(folder)
    except subprocess.CalledProcessError:  # an `ensurepip` that has lost its wheels
        builder.with_pip = False
        builder.create(folder)
    if not _has_pip(folder):
        _fetch_pip(folder)


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
    status = subprocess.call([str(python_of(VENV)), "-m", module, *arguments], cwd=folder, env=environment)
    return status if status >= 0 else 128 - status


def _has_pip(venv: Path) -> bool:
    """Whether an environment belongs to this Python and has a pip."""
    try:
        return _ask(venv, "import pip, sys; print(sys.version)") == sys.version.strip()
    except (OSError, subprocess.CalledProcessError):
        return False


def _fetch_pip(venv: Path) -> None:
    """Puts pip into an environment that has none. With --target, an 'externally managed' pip agrees to that.

    The outer pip is not run under the environment's Python: it would bring its own folder along, and count the
    packages that lie there as installed.

    Raises:
        Unprepared: There is no outer pip, or it failed.
    """
    if find_spec("pip") is None:
        raise Unprepared("This Python has neither ensurepip nor pip: install one (on Debian: python3-pip).")
    site_packages = _ask(venv, "import sysconfig; print(sysconfig.get_path('purelib'))")
    _pip(Path(sys.executable), CONSTRAINTS, "--target", site_packages, "pip")


def _ask(venv: Path, code: str) -> str:
    """What a line of Python prints in an environment."""
    done = subprocess.run([str(python_of(venv)), "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _pip(python: Path, constraints: Path, *arguments: str) -> None:
    """Runs one `pip install` under constraints.

    Raises:
        Unprepared: pip failed; it has said why.
    """
    # Variables, because -c does not reach the separate environment in which the project is built: pip
    # before 25.3 takes the first for that, later ones the second. A URI, because pip splits at blanks.
    pins = dict.fromkeys(("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"), constraints.as_uri())
    environment = os.environ | pins | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [str(python), "-m", "pip", "install", "-qq", *arguments]
    if subprocess.call(command, cwd=ROOT, env=environment):
        raise Unprepared("The installation failed; pip says why above.")


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
