# SPDX-License-Identifier: GPL-2.0
"""The commands behind the targets of the Makefile."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import subprocess
import sys
import traceback
from types import FrameType

from . import console, paths

# Each command is a module, imported when it is used, with run() and, where the
# command has arguments, add_arguments().
COMMANDS = {
    "setup": ("setup", "fetch and install all that is needed; build no kernel"),
    "kernels": ("kernels", "build every kernel that the tests need"),
    "test": ("test", "run all tests"),
    "kunit": ("kunit", "run the KUnit suites on user-mode Linux and on x86-64"),
    "scenarios": ("scenarios", "run the scenarios in the virtual machine"),
    "matrix": ("matrix", "race every operation on PCI devices against every other one"),
    "matrix-picture": ("matrix_picture", "draw what make matrix has found"),
    "model": ("model", "run the protocol through every interleaving"),
    "compile-fail": ("compile_fail", "check that what must not compile does not"),
    "demo": ("demo", "tell the stories in the virtual machine"),
    "vm": ("machine", "start the virtual machine"),
    "modules": ("modules", "build the modules out of tree"),
    "modules_install": ("modules", "install the modules"),
    "bench": ("bench", "measure the library beside what it is compared with"),
    "series": ("series", "check the C series for the PCI core: git am, checkpatch, builds"),
    "intree": ("intree", "put Holdfast into a kernel source tree"),
    "lint": ("lint", "run every linter"),
    "doc": ("doc", "build the documentation of the library"),
    "rust-analyzer": ("analyzer", "write rust-project.json"),
}


def _parser(command: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="holdfast", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        subparser = commands.add_parser(name, help=summary, description=summary)
        if name != command:
            continue
        implementation = importlib.import_module(f".{module}", __package__)
        if hasattr(implementation, "add_arguments"):
            implementation.add_arguments(subparser)
        subparser.set_defaults(run=implementation.run)
    return parser


def _interrupted(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run one command; whatever goes wrong, the user gets a sentence."""
    signal.signal(signal.SIGTERM, _interrupted)
    signal.signal(signal.SIGHUP, _interrupted)
    command = sys.argv[1] if len(sys.argv) > 1 else None
    try:
        arguments = _parser(command).parse_args()
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("holdfast: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            console.fail(
                f"The disk is full (writing {error.filename or 'a file'}): make room, or set "
                "HOLDFAST_CACHE to a roomier place, and run the same command again."
            )
        _mistake(error)
    except Exception as error:  # the last resort, so that nobody meets a traceback
        _mistake(error)
    return 1


def _mistake(error: Exception) -> None:
    """Keep the traceback for us, and tell the user where it is."""
    log = paths.LOGS / "traceback.log"
    details = traceback.format_exc()
    if isinstance(error, subprocess.CalledProcessError) and error.stderr:
        details += str(error.stderr)
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(details)
    except OSError:
        print(details, file=sys.stderr)
    console.fail(
        f"{type(error).__name__}: {error}. This is a mistake in Holdfast's tools: "
        f"please report it with {log}."
    )


if __name__ == "__main__":
    sys.exit(main())
