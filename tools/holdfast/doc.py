# SPDX-License-Identifier: GPL-2.0
"""The library's documentation, as rustdoc makes it."""

from __future__ import annotations

import argparse
import re
import shlex

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


def run(_arguments: argparse.Namespace) -> int:
    """Document the library crate with the options that kbuild compiled it with."""
    kernel_ = kernel.ensure("debug")
    output = paths.BUILD / "modules" / "stock-debug"
    modules.build(kernel_, output)
    saved = output / "rust/.holdfast.o.cmd"
    found = re.search(r"^savedcmd_\S+ := (.*)$", saved.read_text(), re.MULTILINE)
    if not found:
        console.fail(f"{saved} does not say how the library was compiled: remove {output}.")
    # The command is `VARIABLE=value ... rustc options file; more commands`.
    words = shlex.split(found.group(1).partition(";")[0])
    env = toolchain.environment()
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    env["RUSTC_BOOTSTRAP"] = "1"  # as the kernel does: it uses unstable features
    directory = paths.BUILD / "doc"
    console.step(
        "Documenting the library",
        [env["RUSTDOC"], *_for_rustdoc(words[1:]), *LINTS, "--output", str(directory)],
        log=paths.LOGS / "doc.log",
        cwd=output,
        env=env,
    )
    console.note("build/doc/holdfast/index.html")
    return 0
