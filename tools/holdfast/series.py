# SPDX-License-Identifier: GPL-2.0
"""Checks the C series as a maintainer would: git am, checkpatch, and a build at each step."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import cache, console, kernel, kernel_source, packages, paths, toolchain

CONFIGURATIONS = {
    "with CONFIG_PCI_IOV": {"CONFIG_PCI_IOV": "y"},
    "without CONFIG_PCI_IOV": {"CONFIG_PCI_IOV": "n"},
}
"""Both without CONFIG_RUST; with it, the series is built as the kernel of KERNEL=patched."""

_EVERYWHERE = {"CONFIG_RUST": "n", "CONFIG_WERROR": "y"}

_DIRECTORIES = ["arch/x86/pci/", "drivers/pci/", "drivers/cxl/", "drivers/nvme/"]
"""What is built after each patch: whatever uses what the series changes."""

_ELSEWHERE = {
    "powerpc": (
        "powerpc64le-linux-gnu-",
        "ppc64le_defconfig",
        "arch/powerpc/kernel/pci_of_scan.o",
    ),
    "sparc": ("sparc64-linux-gnu-", "sparc64_defconfig", "arch/sparc/kernel/pci.o"),
}
"""Compiler, configuration, and what the series changes for other architectures."""

_PRISTINE = "pristine"
"""The tag of the source without a patch."""

_IDENTITY = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Holdfast"), ("EMAIL", "holdfast@example.org"))
}


def _git(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return subprocess.run(
        ["git", "-C", str(tree), *arguments],
        env=env | _IDENTITY,
        capture_output=True,
        text=True,
        check=False,
    )


def _must_git(tree: Path, *arguments: str) -> None:
    answer = _git(tree, *arguments)
    if answer.returncode != 0:
        console.fail(f"git {arguments[0]} in {tree} failed: {answer.stderr.strip()}")


def _repository(patches: list[Path]) -> Path:
    """Make a copy of the pristine source with a repository of the files that are patched."""
    tree = paths.BUILD / "series" / "linux"
    shutil.rmtree(tree, ignore_errors=True)
    kernel_source.copy_of(kernel_source.stock(), tree)
    touched = {
        name
        for patch in patches
        for name in re.findall(r"^--- a/(\S+)", patch.read_text(), re.MULTILINE)
    }
    shutil.rmtree(tree / ".git", ignore_errors=True)
    _must_git(tree, "init", "--quiet")
    present = sorted(name for name in touched if (tree / name).exists())
    _must_git(tree, "add", "--force", *present)
    _must_git(tree, "commit", "--quiet", "--message=pristine")
    _must_git(tree, "tag", _PRISTINE)
    return tree


def _configure(tree: Path, objtree: Path, name: str, options: dict[str, str]) -> list[str]:
    """Configure one of the kernels, and return its make command."""
    objtree.mkdir(parents=True, exist_ok=True)
    log = paths.LOGS / "series-configure.log"
    env = toolchain.environment()
    make = toolchain.kernel_make(tree, f"O={objtree}", "ARCH=x86_64")
    console.step(f"Configuring {name}: tinyconfig", [*make, "tinyconfig"], log=log, env=env)
    fragment = objtree / "series.config"
    wanted = kernel.wanted_options(kernel.fragments("fast")) | _EVERYWHERE | options
    fragment.write_text("".join(f"{option}={value}\n" for option, value in wanted.items()))
    console.step(
        f"Configuring {name}: the options of tests/kernel",
        [str(tree / "scripts/kconfig/merge_config.sh"), "-m", "-O", str(objtree)]
        + [str(objtree / ".config"), str(fragment)],
        log=log,
        cwd=tree,
        env=env,
    )
    console.step(f"Configuring {name}: olddefconfig", [*make, "olddefconfig"], log=log, env=env)
    actual = kernel.options_of(objtree / ".config")
    for option, value in (_EVERYWHERE | options).items():
        if actual.get(option, "n") != value:
            console.fail(f"{option}={value} did not make it into {objtree}/.config.")
    return make


def _checkpatch(tree: Path, patch: Path) -> None:
    answer = subprocess.run(
        ["perl", str(tree / "scripts/checkpatch.pl"), "--strict", "--terse", "--no-summary"]
        + ["--show-types", "--ignore=FILE_PATH_CHANGES", str(patch)],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.stdout.strip():
        console.fail(f"checkpatch on {patch.name}: {answer.stdout.strip()}")


def _build(make: list[str], what: list[str], title: str, name: str) -> None:
    console.step(
        title,
        [*make, toolchain.jobs(), *what],
        log=paths.LOGS / f"series-{name.replace(' ', '-')}.log",
        env=toolchain.environment(),
        failure=f"{title} failed: the lines above say why.",
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what `make series` takes: nothing."""


def _build_elsewhere(tree: Path, architecture: str) -> None:
    """Compile what the series changes for another architecture, with GCC."""
    compiler, configuration, changed = _ELSEWHERE[architecture]
    objtree = paths.BUILD / "series" / architecture
    shutil.rmtree(objtree, ignore_errors=True)
    objtree.mkdir(parents=True)
    make = toolchain.kernel_make(tree, f"O={objtree}", f"ARCH={architecture}", "LLVM=")
    make += [f"CROSS_COMPILE={compiler}"]
    _build(make, [configuration], f"Configuring for {architecture}", architecture)
    what = [changed, "drivers/pci/"]
    _build(make, what, f"Building {', '.join(what)} for {architecture}", architecture)


def _apply(tree: Path, patch: Path) -> None:
    answer = _git(tree, "am", "--quiet", str(patch))
    if answer.returncode != 0:
        console.fail(f"git am does not apply {patch.name}: {answer.stderr.strip()}")


def run(_arguments: argparse.Namespace) -> int:
    """Apply one patch after the other, and build after each; with each configuration."""
    patches = kernel_source.series_patches()
    if not patches:
        console.fail("There is no series in patches/7.3: restore that folder.")
    packages.ensure("build", "cross")
    with cache.lock(f"series-{cache.key(str(paths.CHECKOUT))}"):
        tree = _repository(patches)
        # One after the other in one place: most objects do not depend on what differs.
        objtree = paths.BUILD / "series" / "objects"
        shutil.rmtree(objtree, ignore_errors=True)
        for name, options in CONFIGURATIONS.items():
            _must_git(tree, "reset", "--quiet", "--hard", _PRISTINE)
            make = _configure(tree, objtree, name, options)
            for count, patch in enumerate([None, *patches]):
                if patch is not None:
                    _apply(tree, patch)
                    _checkpatch(tree, patch)
                title = f"{count}/{len(patches)}: building {', '.join(_DIRECTORIES)} {name}"
                _build(make, _DIRECTORIES, title, name)
            _build(make, ["vmlinux"], f"Building all of it {name}", name)
        for architecture in _ELSEWHERE:
            _build_elsewhere(tree, architecture)
    everywhere = ", ".join([*CONFIGURATIONS, *(f"for {name}" for name in _ELSEWHERE)])
    console.note(
        f"{len(patches)} of {len(patches)} patches apply with git am, have nothing to say to "
        f"checkpatch --strict, and build {everywhere}"
    )
    return 0
