"""Where the `modules` of a WebUI come from: this very process, a WebUI's folder, or the stand-in.

A real one takes part in either of two ways. `CELEBBASIS_WEBUI_ROOT` names the folder of an AUTOMATIC1111, the tests run
in its Python, and it is started inside of them (`CELEBBASIS_WEBUI_ARGS` are its flags). Or `CELEBBASIS_WEBUI_URL` names
a running one that has `tests/contract/webui_extension` in its extensions folder: that runs the tests inside it.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

from celebbasis_ext.hosts.a1111 import A1111Host
from celebbasis_ext.jobs import Workshop
from celebbasis_ext.miniature.people import celebrities
from celebbasis_ext.miniature.tagger import Tagger
from celebbasis_ext.miniature.workshop import Assets, open_faces

STAND_IN = Path(__file__).parent / "stand_in"
FLAGS = (
    "--skip-version-check --skip-torch-cuda-test --use-cpu all --no-half --precision full "
    "--no-download-sd-model --do-not-download-clip --disable-nan-check"
)


def real_is_here() -> bool:
    return "modules.launch_utils" in sys.modules or bool(os.environ.get("CELEBBASIS_WEBUI_ROOT"))


def start_real() -> str:
    """Starts the real WebUI in this process, unless it is this process.

    Returns:
        Its version.
    """
    if "modules.launch_utils" not in sys.modules:
        root = os.environ["CELEBBASIS_WEBUI_ROOT"]
        os.chdir(root)
        sys.path.insert(0, root)
        sys.argv = ["launch.py", *FLAGS.split(), *os.environ.get("CELEBBASIS_WEBUI_ARGS", "").split()]
        initialize: Any = importlib.import_module("modules.initialize")
        initialize.imports()
        initialize.initialize()
        importlib.import_module("modules.launch_utils")
    return Path(sys.modules["modules.launch_utils"].__file__ or "").parents[1].name


def start_stand_in(folder: Path) -> None:
    """Imports the stand-in's `modules` over the miniature's weights; embeddings go to `folder`."""
    sys.path.insert(0, str(STAND_IN))
    shared: Any = importlib.import_module("modules.shared")
    shared.cmd_opts.embeddings_dir = str(folder)
    sd_models: Any = importlib.import_module("modules.sd_models")
    from celebbasis_ext.hosts.standalone import _config_folder, _pipeline, _sha256

    checkpoint = Assets().checkpoint
    sd_models.load_model(_pipeline(checkpoint, _config_folder("miniature")), _sha256(checkpoint))


def stop_stand_in() -> None:
    sys.path.remove(str(STAND_IN))
    for name in [name for name in sys.modules if name.partition(".")[0] == "modules"]:
        del sys.modules[name]


def open_host() -> A1111Host:
    """The model may still be loading in the background."""
    shared: Any = importlib.import_module("modules.shared")
    while shared.sd_model is None:
        time.sleep(0.1)
    return A1111Host.open()


def workshop_around(host: Any) -> Workshop:
    """A job's workshop with the miniature's own faces, tagger and names."""
    assets = Assets().checked()
    names = tuple(person.name for person in celebrities())
    return Workshop(host, open_faces(assets), Tagger(assets.tagger), names)
