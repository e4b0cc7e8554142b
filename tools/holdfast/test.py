# SPDX-License-Identifier: GPL-2.0
"""All tests, and one line at the end that adds them up."""

from __future__ import annotations

import argparse
import importlib

from . import console, results

# What runs in a virtual machine is one part, so that machines can run side by side.
PARTS = [
    ("compile_fail", []),
    ("model", []),
    ("kunit", ["--only", "uml"]),
    ("scenarios", ["--kunit"]),
]


def _run(name: str, options: list[str]) -> int:
    """Run one part; a part that could not even start must not keep the others from running."""
    part = importlib.import_module(f".{name}", __package__)
    parser = argparse.ArgumentParser(prog=name)
    if hasattr(part, "add_arguments"):
        part.add_arguments(parser)
    try:
        return int(part.run(parser.parse_args(options)))
    except SystemExit as end:
        return 1 if end.code else 0


def run(_arguments: argparse.Namespace) -> int:
    """Run every part, then add up every KTAP file."""
    results.start_run()
    failed_parts = [name for name, options in PARTS if _run(name, options) != 0]
    for name in failed_parts:
        console.note(f"make {name.replace('_', '-')} failed")
    passed, failed, skipped = results.totals(results.files())
    if failed_parts and not failed:
        # Something failed that no test reports: it must not look like success.
        failed = len(failed_parts)
    console.note(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or failed_parts or not passed else 0
