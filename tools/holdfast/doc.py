# SPDX-License-Identifier: GPL-2.0
"""The library's documentation, as rustdoc makes it."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import console, kernel, modules, paths, toolchain

# Invariants may name what is private: they are for who reads the source as well.
LINTS = ["-D", "warnings", "-A", "rustdoc::private-intra-doc-links"]


def _for_rustdoc(options: list[str]) -> list[str]:
    """Drop the options of rustc that say what to write, which rustdoc does not know."""
    kept: list[str] = []
    rest = iter(options)
    for option in rest:
        if option == "--out-dir":
            next(rest)
        elif not option.startswith(("--emit=", "--remap-path-scope=")):
            kept.append(option)
    return kept


CRATES = ["holdfast", "holdfast_cxl"]
"""The library, and what it has for a bus whose modules it must not need."""


def command(output: Path, crate: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Tell how to run rustdoc on a crate as kbuild compiled it in `output`, and where."""
    build_env, compiled_with = modules.rustc_command(output, f"rust/{crate}.o")
    env = toolchain.environment() | build_env
    return [env["RUSTDOC"], *_for_rustdoc(compiled_with), *options], env


def run(_arguments: argparse.Namespace) -> int:
    """Document the library's crates with the options that kbuild compiled them with."""
    kernel_ = kernel.ensure("debug")
    output = paths.BUILD / "modules" / "stock-debug"
    modules.build(kernel_, output)
    for crate in CRATES:
        rustdoc, env = command(output, crate, *LINTS, "--output", str(paths.BUILD / "doc"))
        console.step(
            f"Documenting {crate}",
            rustdoc,
            log=paths.LOGS / f"doc-{crate}.log",
            cwd=output,
            env=env,
        )
        console.note(f"build/doc/{crate}/index.html")
    return 0
