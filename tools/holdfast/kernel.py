# SPDX-License-Identifier: GPL-2.0
"""The kernels that the virtual machine boots, built once for each set of ingredients."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import cache, console, kernel_source, paths, toolchain

# Raise when this file builds kernels differently from the same ingredients.
RECIPE = "2"

FRAGMENTS = {
    "fast": ["base"],
    "debug": ["base", "debug"],
    "debug-kobject-release": ["base", "debug", "kobject-release"],
}


@dataclass(frozen=True)
class Kernel:
    """A complete kernel build; `objtree` serves as KDIR."""

    image: Path
    objtree: Path
    source: Path
    modules: Path
    release: str
    config: Path


def fragments(flavour: str) -> list[Path]:
    """Return the config fragments of a flavour, in the order of merging."""
    if flavour not in FRAGMENTS:
        console.fail(f"FLAVOUR={flavour} is not a flavour: use {', '.join(FRAGMENTS)}.")
    return [paths.CHECKOUT / "tests/kernel" / f"{name}.config" for name in FRAGMENTS[flavour]]


def wanted_options(files: list[Path]) -> dict[str, str]:
    """Merge fragments as merge_config.sh does: the last word on an option counts."""
    options: dict[str, str] = {}
    for file in files:
        for name, value in re.findall(r"^(CONFIG_\w+)=(.*)$", file.read_text(), re.MULTILINE):
            options[name] = value
        for name in re.findall(r"^# (CONFIG_\w+) is not set$", file.read_text(), re.MULTILINE):
            options[name] = "n"
    return options


def options_of(config: Path) -> dict[str, str]:
    """Read a .config."""
    return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", config.read_text(), re.MULTILINE))


def _require_options(
    wanted: dict[str, str], config: Path, env: dict[str, str], make: list[str]
) -> None:
    """Kconfig drops what it cannot have without a word; say which option it was."""
    actual = options_of(config)
    if wanted.get("CONFIG_RUST") == "y" and actual.get("CONFIG_RUST") != "y":
        log = config.parent / "rustavailable.log"
        console.step(
            "Asking the kernel why it has no CONFIG_RUST",
            [*make, "rustavailable"],
            log=log,
            env=env,
            failure="The kernel's configuration refuses CONFIG_RUST with this toolchain, "
            "for the reason above: put that right and run the same command again.",
        )
        console.fail(
            "The kernel's configuration has no CONFIG_RUST although its toolchain is complete: "
            "some option in tests/kernel excludes it; see `depends on` of config RUST, "
            f"and {config}."
        )
    for name, value in wanted.items():
        found = actual.get(name, "n")
        if found != value:
            console.fail(
                f"{name}={value} of tests/kernel did not make it into the configuration (it is "
                f"{found}): a dependency is missing there or this kernel has no such option; "
                f"see {config}."
            )


def _configure(  # noqa: PLR0917 - one caller
    directory: Path,
    source: Path,
    objtree: Path,
    files: list[Path],
    make: list[str],
    env: dict[str, str],
) -> None:
    log = directory / "configure.log"
    console.step("Configuring: tinyconfig", [*make, "tinyconfig"], log=log, env=env)
    console.step(
        "Configuring: the options of tests/kernel",
        [str(source / "scripts/kconfig/merge_config.sh"), "-m", "-O", str(objtree)]
        + [str(objtree / ".config"), *map(str, files)],
        log=directory / "merge.log",
        cwd=source,
        env=env,
    )
    console.step("Configuring: what follows from them", [*make, "olddefconfig"], log=log, env=env)
    _require_options(wanted_options(files), objtree / ".config", env, make)


def _objects(directory: Path, source: kernel_source.Source) -> tuple[Path, Path]:
    """Return where a kernel's sources and its objects are.

    The cache's own sources are linked into the entry, and the objects are right below them:
    that is where kbuild writes no absolute path into what it builds, so that another entry can
    begin with a copy of it.
    """
    if source.own:
        return directory / "linux", directory / "linux" / "objects"
    return source.path, directory / "objects"


def _complete(directory: Path, source: kernel_source.Source) -> Kernel:
    tree, objtree = _objects(directory, source)
    release = (objtree / "include/config/kernel.release").read_text().strip()
    return Kernel(
        image=objtree / "arch/x86/boot/bzImage",
        objtree=objtree,
        source=tree,
        modules=directory / "modules",
        release=release,
        config=objtree / ".config",
    )


def _files(tree: Path, leave_out: Path) -> dict[str, int]:
    """Return the inode of each file of a tree."""
    found = {}
    for place, directories, names in os.walk(tree):
        if Path(place) == tree and leave_out.name in directories:
            directories.remove(leave_out.name)
        with os.scandir(place) as entries:
            inodes = {entry.name: entry.inode() for entry in entries}
        for name in names:
            found[f"{place}/{name}".removeprefix(f"{tree}/")] = inodes[name]
    return found


def _nearness(entry: Path, directory: Path, wanted: dict[str, str]) -> tuple[bool, int, float]:
    """Say how little of a complete kernel another one has to build again; more is better."""
    same_flavour = entry.name.rpartition("-")[0] == directory.name.rpartition("-")[0]
    theirs = options_of(entry / "linux/objects/.config")
    agreed = sum(theirs.get(name, "n") == value for name, value in wanted.items())
    return same_flavour, agreed, (entry / "complete").stat().st_mtime


def _begin_with_another(
    directory: Path, tree: Path, objtree: Path, family: str, wanted: dict[str, str]
) -> bool:
    """Copy the objects of a complete kernel, so that make builds only what differs from it.

    make compares times, and a source file that differs may be older than the objects of the
    other kernel: it is made new. Files that are the same are one file with two links.
    """
    others = [
        stamp.parent
        for stamp in directory.parent.glob("*/complete")
        if (stamp.parent / "family").exists()
        and (stamp.parent / "family").read_text() == family
        and (stamp.parent / "linux/objects/vmlinux.o").exists()
    ]
    if not others:
        return False
    other = max(others, key=lambda entry: _nearness(entry, directory, wanted))
    partial = directory / "objects.partial"
    shutil.rmtree(partial, ignore_errors=True)
    console.step(
        f"Copying the objects of {other.name}",
        ["cp", "-a", str(other / "linux/objects"), str(partial)],
        log=directory / "copy.log",
    )
    theirs = _files(other / "linux", objtree)
    for name, inode in _files(tree, objtree).items():
        if theirs.get(name) != inode:
            file = tree / name
            copy = file.with_name(file.name + ".holdfast")
            shutil.copyfile(file, copy)
            shutil.copymode(file, copy)
            copy.rename(file)
    partial.rename(objtree)
    return True


def _keep_objtool(objtree: Path, make: list[str], env: dict[str, str]) -> None:
    """Prepare a copied kernel, and keep the time of its objtool.

    Everything depends on objtool, which is built again because kbuild does write absolute
    paths into what it knows of its tools. It is the same one.
    """
    tool = objtree / "tools/objtool"
    before = (tool / "objtool").stat()
    log = objtree.parent.parent / "prepare.log"
    console.step("Preparing what has been copied", [*make, "prepare"], log=log, env=env)
    for file in tool.rglob("*"):
        if file.is_file():
            os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def ensure(flavour: str, variant: str = "stock") -> Kernel:
    """Return a kernel, built now if this machine has none with the same ingredients."""
    files = fragments(flavour)
    env = toolchain.environment()
    source = kernel_source.ensure(variant)
    options = sorted(wanted_options(files).items())
    name = cache.key(RECIPE, source.name, json.dumps(options), toolchain.identity())
    # What can be made out of each other, changing what differs.
    family = cache.key(RECIPE, kernel_source.stock().name, toolchain.identity())
    directory = cache.root() / "kernels" / f"{flavour}-{name}"
    stamp = directory / "complete"
    if cache.read_stamp(stamp) == source.state:
        return _complete(directory, source)

    with cache.lock(f"kernel-{flavour}-{name}"):
        if cache.read_stamp(stamp) == source.state:
            return _complete(directory, source)
        cache.need_space(directory, paths.versions()["disk"]["kernel"], f"the {flavour} kernel")
        stamp.unlink(missing_ok=True)
        tree, objtree = _objects(directory, source)
        copied = False
        if source.own and not tree.exists():
            kernel_source.copy_of(source, tree)
            copied = _begin_with_another(directory, tree, objtree, family, dict(options))
        objtree.mkdir(parents=True, exist_ok=True)
        make = toolchain.kernel_make(tree, f"O={objtree}", "ARCH=x86_64")
        _configure(directory, tree, objtree, files, make, env)
        if copied:
            _keep_objtool(objtree, make, env)
        log = directory / "build.log"
        title = f"Building the {variant} {flavour} kernel"
        lines = f"kernel-{flavour}"
        # Only a build from nothing prints as many lines as the next one will.
        from_nothing = not (objtree / "vmlinux.o").exists() and not log.exists()
        console.step(
            title,
            [*make, toolchain.jobs(), "all"],
            log=log,
            env=env,
            expected_lines=cache.expected_lines(lines, paths.versions()["expected_lines"][lines]),
        )
        if from_nothing:
            cache.remember_lines(lines, log)
        modules = directory / "modules"
        shutil.rmtree(modules, ignore_errors=True)
        console.step(
            "Installing its modules",
            [*make, f"INSTALL_MOD_PATH={modules}", "modules_install"],
            log=directory / "modules.log",
            env=env,
        )
        (directory / "family").write_text(family)
        cache.write_stamp(stamp, source.state)
    return _complete(directory, source)
