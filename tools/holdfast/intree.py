# SPDX-License-Identifier: GPL-2.0
"""Put Holdfast into a kernel source tree, and keep it up to date there.

Safe to repeat: a file whose contents are the same is not touched, so that kbuild
rebuilds what changed and nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from . import console, kernel_source, packages, paths

PARTS = ["rust", "samples", "Kbuild", "Kconfig"]
KCONFIG_LINE = 'source "drivers/holdfast/Kconfig"'
MAKEFILE_LINE = "obj-$(CONFIG_HOLDFAST)\t\t+= holdfast/"


def _has_line(text: str, line: str) -> bool:
    return line.split() in (candidate.split() for candidate in text.splitlines())


def _with_kconfig_line(text: str) -> str:
    """Add our line before the end of the menu of device drivers."""
    if _has_line(text, KCONFIG_LINE):
        return text
    head, separator, tail = text.rpartition("endmenu")
    if not separator:
        return f"{text}\n{KCONFIG_LINE}\n"
    return f"{head}{KCONFIG_LINE}\n\n{separator}{tail}"


def _with_makefile_line(text: str) -> str:
    if _has_line(text, MAKEFILE_LINE):
        return text
    return f"{text.rstrip()}\n{MAKEFILE_LINE}\n"


def sync(tree: Path, more: Iterable[str] = ()) -> int:
    """Bring a source tree up to date with the checkout; return the number of new patches.

    `more` are parts of the checkout that users' trees do not get.
    """
    packages.install(["rsync"])
    target = tree / "drivers/holdfast"
    target.mkdir(parents=True, exist_ok=True)
    present = [str(paths.CHECKOUT / part) for part in PARTS if (paths.CHECKOUT / part).exists()]
    console.step(
        f"Copying Holdfast to {target}",
        ["rsync", "-rp", "--links", "--checksum", "--delete", "--delete-excluded"]
        + ["--exclude=*.o", "--exclude=.*.cmd", "--exclude=*.ko", "--exclude=*.mod"]
        + ["--exclude=*.mod.c", "--exclude=modules.order", "--exclude=*.rmeta"]
        + ["--exclude=exports*_generated.h", "--exclude=*_examples.rs"]
        + ["--exclude=*_examples.parts", "--exclude=*_examples.log"]
        + ["--exclude=target", *present, str(target)],
        log=paths.LOGS / "intree.log",
    )
    for part in more:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        console.step(
            f"Copying {part} to {target}",
            ["rsync", "-rp", "--checksum", "--delete"]
            + [f"{paths.CHECKOUT / part}/", str(target / part)],
            log=paths.LOGS / "intree.log",
        )
    # Where kunit.py looks for it when it is given the directory.
    kernel_source.replace_file(
        target / ".kunitconfig", (paths.CHECKOUT / "tests/kunit/holdfast.kunitconfig").read_text()
    )
    for name in ("Kconfig", "Makefile"):
        path = tree / "drivers" / name
        add = _with_kconfig_line if name == "Kconfig" else _with_makefile_line
        kernel_source.replace_file(path, add(path.read_text()))
    return kernel_source.apply_series(tree)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `intree`."""
    parser.add_argument("--kdir", type=Path, help="a kernel source tree")


def run(arguments: argparse.Namespace) -> int:
    """Put Holdfast into the user's tree."""
    tree = arguments.kdir
    if tree is None:
        console.fail("make intree needs KDIR=, the kernel source tree to put Holdfast into.")
    kernel_source.require_suitable(tree, f"KDIR={tree}")
    patches = sync(tree)
    console.note(
        f"Holdfast is in {tree}/drivers/holdfast"
        + (f", and {patches} patches were applied" if patches else "")
        + ". Switch on CONFIG_HOLDFAST and build the kernel."
    )
    return 0
