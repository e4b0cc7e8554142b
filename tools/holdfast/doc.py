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


def command(output: Path, *options: str) -> tuple[list[str], dict[str, str]]:
    """Tell how to run rustdoc on the library as kbuild compiled it in `output`, and where."""
    build_env, compiled_with = modules.rustc_command(output, "rust/holdfast.o")
    env = toolchain.environment() | build_env
    return [env["RUSTDOC"], *_for_rustdoc(compiled_with), *options], env


def run(_arguments: argparse.Namespace) -> int:
    """Document the library crate with the options that kbuild compiled it with."""
    kernel_ = kernel.ensure("debug")
    output = paths.BUILD / "modules" / "stock-debug"
    modules.build(kernel_, output)
    rustdoc, env = command(output, *LINTS, "--output", str(paths.BUILD / "doc"))
    console.step(
        "Documenting the library",
        rustdoc,
        log=paths.LOGS / "doc.log",
        cwd=output,
        env=env,
    )
    console.note("build/doc/holdfast/index.html")
    return 0
