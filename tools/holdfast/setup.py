# SPDX-License-Identifier: GPL-2.0
"""Fetch and install everything that the other commands need, except kernels."""

from __future__ import annotations

import argparse

from . import cache, console, kernel_source, packages, toolchain


def run(_arguments: argparse.Namespace) -> int:
    """Leave nothing to fetch."""
    packages.ensure("build", "machine", "lint")
    toolchain.environment()
    source = kernel_source.stock()
    console.note(
        f"Ready: rustc {toolchain.rust().version}, Linux {kernel_source.version_of(source.path)}, "
        f"QEMU {packages.qemu_version(packages.qemu())}; the cache is {cache.root()}"
    )
    return 0
