"""Command-line flags, for the WebUI to read before anything else. Few, and all of them prefixed."""

from __future__ import annotations

from argparse import ArgumentParser


def preload(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--celebbasis-cache",
        metavar="FOLDER",
        help="where Celeb Basis keeps what it can make or download again (default: the system's cache folder)",
    )
