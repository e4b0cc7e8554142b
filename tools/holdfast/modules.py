# SPDX-License-Identifier: GPL-2.0
"""Holdfast out of tree: against the tests' kernels, and against other people's."""

from __future__ import annotations

import argparse
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from . import console, kernel, kernel_source, packages, paths, toolchain

TESTS = "HOLDFAST_TESTS=y"
"""Has Kbuild make what only the scenarios load, too."""


def command(objtree: Path, output: Path, *arguments: str) -> list[str]:
    """Return the make command of an out-of-tree build whose results go to `output`."""
    return toolchain.kernel_make(
        objtree, f"M={paths.CHECKOUT}", f"MO={output}", toolchain.jobs(), *arguments
    )


def build(kernel_: kernel.Kernel, output: Path, *options: str) -> list[Path]:
    """Build Holdfast, its samples and tests' modules against one of the tests' kernels."""
    output.mkdir(parents=True, exist_ok=True)
    console.step(
        f"Building the modules for the {output.parent.name} kernel",
        command(kernel_.objtree, output, *(options or (TESTS,)), "modules"),
        log=paths.LOGS / f"modules-{output.name}.log",
        env=toolchain.environment(),
    )
    return sorted(output.rglob("*.ko"))


def _require_suitable(objtree: Path) -> dict[str, str]:
    """End with a sentence unless modules can be built against KDIR; return its options."""
    if not objtree.is_dir():
        console.fail(f"KDIR={objtree} is not a directory: name a kernel's build directory.")
    config = objtree / ".config"
    if not config.exists():
        console.fail(f"KDIR={objtree} is not configured (no .config): configure and build it.")
    options = kernel.options_of(config)
    release_file = objtree / "include/config/kernel.release"
    release = release_file.read_text().strip() if release_file.exists() else None
    version = release or kernel_source.version_of(objtree)
    minimum = paths.versions()["kernel"]["series"]
    if version is not None and not packages.at_least(version, minimum):
        console.fail(f"KDIR={objtree} is Linux {version}, and Holdfast needs {minimum} or later.")
    if options.get("CONFIG_RUST") != "y":
        console.fail(
            f"KDIR={objtree} is a kernel without CONFIG_RUST=y: switch it on (`make LLVM=1 "
            "menuconfig`, General setup, Rust support) and build that kernel again."
        )
    if options.get("CONFIG_MODULES") != "y":
        console.fail(f"KDIR={objtree} is a kernel without CONFIG_MODULES=y: switch it on.")
    if release is None or not (objtree / "Module.symvers").exists():
        console.fail(f"KDIR={objtree} is configured but not built: run make there first.")
    return options


def _environment_for(objtree: Path, options: dict[str, str]) -> dict[str, str]:
    """Return an environment with the very rustc that KDIR was built with.

    The metadata of Rust crates is only readable to the compiler that wrote it.
    """
    wanted = options.get("CONFIG_RUSTC_VERSION_TEXT", "").strip('"')
    own = {name: value for name, value in os.environ.items() if name not in toolchain.FOREIGN}
    chosen = os.environ.get("RUSTC")
    if chosen:
        own["PATH"] = f"{Path(chosen).absolute().parent}:{own.get('PATH', '')}"
    if not wanted or toolchain.output(["rustc", "--version"], own) == wanted:
        return own
    ours = toolchain.environment()
    if toolchain.output(["rustc", "--version"], ours) == wanted:
        return ours
    console.fail(
        f"KDIR={objtree} was built with {wanted}, and this machine's is "
        f"{toolchain.output(['rustc', '--version'], ours)}: set RUSTC to the former, "
        "or build that kernel again."
    )


def _foreign(objtree: Path, output: Path, *arguments: str) -> tuple[list[str], dict[str, str]]:
    options = _require_suitable(objtree)
    env = _environment_for(objtree, options)
    make = command(objtree, output, *arguments)
    if options.get("CONFIG_CC_IS_CLANG") != "y":
        make.remove("LLVM=1")
    elif toolchain.output(["clang", "--version"], env).partition("\n")[0] != options.get(
        "CONFIG_CC_VERSION_TEXT", ""
    ).strip('"'):
        env["PATH"] = f"{toolchain.LLVM_BIN}:{env['PATH']}"
    return make, env


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `modules` and `modules_install`."""
    parser.add_argument("--kdir", type=Path, help="a configured and built kernel")
    parser.add_argument("--kernel", default="stock", help="stock or patched")
    parser.add_argument("--flavour", default="debug", help=", ".join(kernel.FRAGMENTS))
    parser.add_argument("--root", type=Path, help="install below this directory")


@dataclass(frozen=True)
class Target:
    """A kernel to build for, as the command line chose it, and how."""

    objtree: Path
    output: Path
    make: list[str]
    env: dict[str, str]

    def build(self) -> None:
        """Build the modules."""
        self.output.mkdir(parents=True, exist_ok=True)
        console.step(
            f"Building the modules for {self.objtree}",
            self.make,
            log=paths.LOGS / "modules.log",
            env=self.env,
        )


def target(arguments: argparse.Namespace) -> Target:
    """Find what to build for: KDIR, or one of the tests' kernels."""
    if arguments.kdir:
        objtree = arguments.kdir
        output = paths.BUILD / "modules" / re.sub(r"\W+", "-", str(objtree)).strip("-")
        return Target(objtree, output, *_foreign(objtree, output, "modules"))
    kernel_ = kernel.ensure(arguments.flavour, arguments.kernel)
    output = paths.BUILD / "modules" / f"{arguments.kernel}-{arguments.flavour}"
    make = command(kernel_.objtree, output, "modules")
    return Target(kernel_.objtree, output, make, toolchain.environment())


def rustc_command(output: Path, object_: str) -> tuple[dict[str, str], list[str]]:
    """Tell how kbuild compiled an object in `output`: environment, and options of rustc."""
    saved = output / Path(object_).parent / f".{Path(object_).name}.cmd"
    if not saved.exists():
        console.fail(
            f"{object_} was not built in {output}: the kernel lacks an option that it needs, "
            "see Kconfig."
        )
    found = re.search(r"^savedcmd_\S+ := (.*)$", saved.read_text(), re.MULTILINE)
    if not found:
        console.fail(f"{saved} does not say how {object_} was compiled: remove {output}.")
    # The command is `VARIABLE=value ... rustc options file; more commands`.
    words = shlex.split(found.group(1).partition(";")[0])
    env = {"RUSTC_BOOTSTRAP": "1"}  # as the kernel does: it uses unstable features
    while words and "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        env[name] = value
    return env, words[1:]


def run(arguments: argparse.Namespace) -> int:
    """Build the modules, and install them when asked to."""
    installing = arguments.command == "modules_install"
    if installing and not arguments.kdir and not arguments.root:
        console.fail(
            "modules_install needs KDIR=, the kernel to install for, or INSTALL_MOD_PATH=: "
            "the tests' own kernels are not this machine's."
        )
    chosen = target(arguments)
    chosen.build()
    if installing:
        make = [*chosen.make[:-1], "modules_install"]
        if arguments.root:
            make.append(f"INSTALL_MOD_PATH={arguments.root}")
        console.step(
            "Installing the modules",
            make,
            log=paths.LOGS / "modules_install.log",
            env=chosen.env,
            failure="Installing the modules failed: the lines above say why; "
            "writing to /lib/modules needs root.",
        )
        return 0
    for module in sorted(chosen.output.rglob("*.ko")):
        console.note(os.path.relpath(module))
    return 0
