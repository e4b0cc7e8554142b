# SPDX-License-Identifier: GPL-2.0
"""Build every kernel that the tests need."""

from __future__ import annotations

import argparse

from . import console, kernel, kernel_source

# The fast flavour is for people; no test needs it.
TESTED = ["debug", "debug-kobject-release"]


def run(_arguments: argparse.Namespace) -> int:
    """Build them one after the other: each uses all processors."""
    for flavour in TESTED:
        console.note(f"{flavour}: {kernel.ensure(flavour).objtree}")
    if kernel_source.series_patches():
        console.note(f"patched debug: {kernel.ensure('debug', 'patched').objtree}")
    return 0
