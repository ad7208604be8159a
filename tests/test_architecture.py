"""Who may import whom: arrows run one way, and every foreign package has its room.

types, errors <- engine, faces, files <- jobs <- shared actions <- ui, api, cli <- scripts

The source is parsed, so an import inside a function counts like one at the top.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "celebbasis_ext"

SOURCES = {path: path.relative_to(ROOT / PACKAGE).as_posix() for path in (ROOT / PACKAGE).rglob("*.py")}
TREES = {name: ast.parse(path.read_text("utf-8"), str(path)) for path, name in sorted(SOURCES.items())}
MODULES = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in TREES}

DOORS = {"ui", "api", "cli"}
# What tab and API do alike, without a page or a route.
SHARED_ACTIONS = {"context", "gallery_job", "people_actions", "studio", "training_job"}
# Whole pieces of work on a checkpoint, each with those that it builds on.
WORK = {
    "jobs": {"faces", "files"},
    "tools": {"files", "jobs"},
    "gallery": {"faces", "files", "jobs"},
    "encoder_job": {"faces", "files", "jobs", "gallery"},
    "lora_job": {"faces", "files", "jobs"},
}
ROOMS = DOORS | SHARED_ACTIONS | set(WORK) | {"workshops", "webui"}
ROOMS |= {"types", "errors", "faces", "files", "hosts", "evaluate", "miniature", "data"}
BASE = {"types", "errors"}
# The modules that stand in no other room: names, basis, coefficients, train ...
ENGINE = {module for module in MODULES if "." not in module} - ROOMS - {"__init__", "__main__"}

HEAVY = ("torch", "diffusers", "transformers", "sklearn", "gradio")


@dataclass(frozen=True)
class Import:
    """One imported module.

    Attributes:
        where: The importing file, from the package's folder.
        line: Of that file.
        what: The dotted name; a module of this package without the package's name.
        own: Whether it is a module of this package.
        typing_only: Whether it stands under `if TYPE_CHECKING:`.
    """

    where: str
    line: int
    what: str
    own: bool
    typing_only: bool

    @property
    def source(self) -> str:
        """The importing file's room: a folder, or a module outside of folders."""
        return self.where.removesuffix(".py").split("/")[0]

    @property
    def target(self) -> str:
        """The imported module's room, or the foreign package."""
        return self.what.split(".")[0]

    def __str__(self) -> str:
        return f"{PACKAGE}/{self.where}:{self.line} imports {PACKAGE + '.' if self.own else ''}{self.what}"


def imports_of(where: str, tree: ast.Module) -> Iterator[Import]:
    """Every import of a file, wherever it stands in it. The package itself (`__version__`) is not one."""
    guarded = {id(node) for block in ast.walk(tree) if is_typing_guard(block) for node in ast.walk(block)}
    for node in ast.walk(tree):
        for dotted in dotted_names(node, where):
            package, _, rest = dotted.partition(".")
            own = package == PACKAGE
            what = rest if own else dotted
            if what:
                yield Import(where, getattr(node, "lineno", 0), what, own, id(node) in guarded)


def is_typing_guard(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING") and not node.orelse


def dotted_names(node: ast.AST, where: str) -> list[str]:
    """The modules that a statement or an `import_module("...")` brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        module = absolute(node, where)
        return [deepest(module, alias.name) for alias in node.names]
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return []


def absolute(node: ast.ImportFrom, where: str) -> str:
    """The module after `from`, with its leading dots resolved."""
    folders = [PACKAGE, *where.split("/")[:-1]]
    base = folders[: len(folders) - node.level + 1] if node.level else []
    return ".".join([*base, *([node.module] if node.module else [])])


def deepest(module: str, name: str) -> str:
    """`from celebbasis_ext import names` is an import of `celebbasis_ext.names`."""
    dotted = f"{module}.{name}"
    return dotted if dotted.removeprefix(f"{PACKAGE}.") in MODULES else module


IMPORTS = [found for where, tree in TREES.items() for found in imports_of(where, tree)]


def forbid(rule: str, broken: Callable[[Import], bool]) -> None:
    offenders = [str(found) for found in IMPORTS if broken(found)]
    assert not offenders, f"{rule}\n  " + "\n  ".join(offenders)


def only_in(package: str, places: Iterable[str]) -> None:
    """A foreign package stands only in these files and folders (which end in a slash)."""
    allowed = tuple(places)
    forbid(
        f"{package} belongs only in {', '.join(allowed)}:",
        lambda found: not found.own and found.target == package and not found.where.startswith(allowed),
    )


def test_the_parser_sees_every_way_to_import() -> None:
    code = """
import gradio as gr
from celebbasis_ext import names
from . import base
from ..types import Face
if TYPE_CHECKING:
    from celebbasis_ext.hosts.base import Host
def late():
    from insightface.app import FaceAnalysis
    import_module("modules.shared")
from celebbasis_ext import __version__
"""
    found = {(i.what, i.own, i.typing_only) for i in imports_of("faces/somewhere.py", ast.parse(code))}
    assert found == {
        ("gradio", False, False),
        ("names", True, False),
        ("faces.base", True, False),
        ("types", True, False),
        ("hosts.base", True, True),
        ("insightface.app", False, False),
        ("modules.shared", False, False),
    }


def test_types_and_errors_import_nothing_of_the_package() -> None:
    forbid("types.py and errors.py are the ground floor:", lambda i: i.own and i.source in BASE)


def test_the_engine_knows_no_host_no_face_and_no_door() -> None:
    def broken(found: Import) -> bool:
        if found.what == "hosts.base":
            return not found.typing_only
        return found.target not in ENGINE | BASE | {"files"}

    forbid(
        "The engine may import types, errors, files, itself, and hosts.base under TYPE_CHECKING:",
        lambda i: i.own and i.source in ENGINE and broken(i),
    )


def test_faces_import_only_the_ground_floor() -> None:
    """Only `weights`, which finds and fetches the models' files, knows of files beside them."""
    forbid(
        "faces/ may import only types, errors and faces, faces/weights.py also files:",
        lambda i: (
            i.own
            and i.source == "faces"
            and i.target not in BASE | {"faces"} | ({"files"} if i.where == "faces/weights.py" else set())
        ),
    )


def test_files_import_only_the_ground_floor() -> None:
    forbid(
        "files/ may import only types, errors and files:",
        lambda i: i.own and i.source == "files" and i.target not in BASE | {"files"},
    )


def test_hosts_do_not_know_each_other_nor_the_engine() -> None:
    """`hosts/detect.py` chooses a host, so it alone knows them all. The standalone host is more than one file."""
    shared = {"hosts.base", "hosts.half_gradients"}

    def is_standalone(found: Import) -> bool:
        return found.where.startswith("hosts/standalone") and found.what.startswith("hosts.standalone")

    def broken(found: Import) -> bool:
        if found.target == "hosts":
            return found.what not in shared and found.where != "hosts/detect.py" and not is_standalone(found)
        return found.target not in BASE | {"files"}

    forbid(
        "hosts/ may import only types, errors, files and hosts.base:",
        lambda i: i.own and i.source == "hosts" and broken(i),
    )


@pytest.mark.parametrize("room", sorted(WORK))
def test_work_knows_no_host_and_no_door(room: str) -> None:
    allowed = ENGINE | BASE | WORK[room]
    forbid(
        f"{room} may import only the engine, types, errors, hosts.base, {', '.join(sorted(WORK[room]))}:",
        lambda i: i.own and i.source == room and i.what != "hosts.base" and i.target not in allowed,
    )


def test_work_is_for_those_who_stand_above_it() -> None:
    above = DOORS | SHARED_ACTIONS | {"workshops", "webui", "evaluate", "miniature"}
    forbid(
        "jobs, gallery, tools and the like are for the doors, the shared actions, the lab and each other:",
        lambda i: i.own and i.target in WORK and i.source not in above | set(WORK),
    )


def test_shared_actions_stand_between_jobs_and_doors() -> None:
    allowed = ENGINE | BASE | SHARED_ACTIONS | set(WORK) | {"faces", "files", "evaluate"}
    forbid(
        "The shared actions may import what lies below them, and no host:",
        lambda i: i.own and i.source in SHARED_ACTIONS and i.target not in allowed,
    )
    forbid(
        "The shared actions are imported only by themselves, ui, api, cli and webui, which gives them a host:",
        lambda i: i.own and i.target in SHARED_ACTIONS and i.source not in DOORS | SHARED_ACTIONS | {"webui"},
    )


def test_nobody_inside_imports_a_door() -> None:
    """`celebbasis ui` is the command that opens the others."""
    forbid(
        "ui, api and cli are for scripts/ and cli/ui.py to import:",
        lambda i: i.own and i.target in DOORS and i.source not in {i.target, "__main__"} and i.where != "cli/ui.py",
    )


def test_what_the_tab_does_knows_no_gradio() -> None:
    plain = {f"ui/{name}.py" for name in ("people_actions", "markup", "pictures", "loss_curve")}
    forbid("These work without a page:", lambda i: not i.own and i.target == "gradio" and i.where in plain)


def test_only_doors_open_workshops() -> None:
    forbid(
        "workshops puts a host and the rest together; it is imported only by ui, api and cli:",
        lambda i: i.own and i.target == "workshops" and i.source not in DOORS,
    )


@pytest.mark.parametrize("package", ["modules", "modules_forge"])
def test_the_webui_stands_only_in_its_adapters(package: str) -> None:
    places = ["hosts/a1111.py", "hosts/a1111_queue.py", "hosts/forge.py", "ui/settings.py", "api/webui_login.py"]
    only_in(package, places)


def test_gradio_stands_only_in_the_ui() -> None:
    only_in("gradio", ["ui/"])


@pytest.mark.parametrize("package", ["fastapi", "pydantic"])
def test_web_frameworks_stand_only_in_the_api(package: str) -> None:
    only_in(package, ["api/"])


def test_insightface_stands_only_in_its_backend() -> None:
    only_in("insightface", ["faces/insight.py"])


def test_diffusers_stands_only_in_the_standalone_host_and_the_miniature() -> None:
    only_in("diffusers", ["hosts/standalone", "miniature/"])


def test_the_command_line_starts_without_heavy_packages() -> None:
    if importlib.util.find_spec(f"{PACKAGE}.cli") is None:
        pytest.skip("there is no command line yet")
    code = f"import sys, {PACKAGE}.cli; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = done.stdout.split()
    assert not loaded, f"`import {PACKAGE}.cli` loads {', '.join(loaded)}; import these inside the commands."


def lengths() -> list[tuple[int, str]]:
    """Lines of every function's body without its docstring, longest first."""
    found = []
    for where, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found.append((body_length(node), f"{PACKAGE}/{where}:{node.lineno} {node.name}"))
    return sorted(found, reverse=True)


def body_length(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    has_docstring = ast.get_docstring(node, clean=False) is not None
    body = node.body[1:] if has_docstring else node.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_nine_functions_in_ten_are_under_25_lines() -> None:
    everything = lengths()
    long = [f"{length:3} lines  {name}" for length, name in everything if length >= 25]
    share = len(long) / len(everything)
    assert share <= 0.1, f"{share:.0%} of {len(everything)} functions are too long:\n  " + "\n  ".join(long)


def test_no_function_is_over_60_lines() -> None:
    huge = [f"{length:3} lines  {name}" for length, name in lengths() if length > 60]
    assert not huge, "Take these apart:\n  " + "\n  ".join(huge)


def test_hints_that_several_doors_show_name_no_option_of_the_command_line() -> None:
    of_the_host = {"hosts/a1111.py", "hosts/detect.py", "api/webui_login.py"}
    errors = {node.name for node in ast.walk(TREES["errors.py"]) if isinstance(node, ast.ClassDef)}
    said = [
        f"{PACKAGE}/{where}:{text.lineno} {text.value}"
        for where, tree in TREES.items()
        if not where.startswith("cli/") and where not in of_the_host
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in errors
        for text in ast.walk(call)
        if isinstance(text, ast.Constant) and re.search(r"(?<!-)--[a-z]", str(text.value))
    ]
    assert not said, "Say it in words, each door has its own way:\n  " + "\n  ".join(said)


def test_no_bare_except() -> None:
    bare = [
        f"{PACKAGE}/{where}:{node.lineno}"
        for where, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not bare, "A bare `except:` swallows Ctrl-C too; name the exception:\n  " + "\n  ".join(bare)
