# SPDX-License-Identifier: GPL-2.0
"""The kernel's sources: Debian's package, a tarball or a tree of the user's.

Debian's and a tarball are unpacked once into the cache. A tree of the user's is
never written to: it is built with O=, and copied where something must be added.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import cache, console, packages, paths, toolchain

PINNED = paths.versions()["kernel"]
DISK = paths.versions()["disk"]


@dataclass(frozen=True)
class Source:
    """A kernel source tree.

    `name` says which tree it is and goes into the key of what is built from it.
    `state` changes when its contents do; kbuild then rebuilds what is affected.
    """

    path: Path
    name: str
    state: str
    own: bool


def series_patches() -> list[Path]:
    """Return the C series, in the order in which it is applied."""
    return sorted((paths.PATCHES / PINNED["series"]).glob("*.patch"))


def version_of(tree: Path) -> str | None:
    """Read the version out of a tree's Makefile."""
    try:
        text = (tree / "Makefile").read_text(errors="replace")[:400]
    except OSError:
        return None
    fields = dict(re.findall(r"^(VERSION|PATCHLEVEL|SUBLEVEL) *= *(\d+)", text, re.MULTILINE))
    if len(fields) < 3:
        return None
    return f"{fields['VERSION']}.{fields['PATCHLEVEL']}.{fields['SUBLEVEL']}"


def require_suitable(tree: Path, named: str) -> None:
    """End with a sentence unless this is a kernel tree that Holdfast builds against."""
    version = version_of(tree)
    if version is None:
        console.fail(f"{named} is not a kernel source tree (no version in its Makefile).")
    if not packages.at_least(version, PINNED["series"]):
        console.fail(
            f"{named} is Linux {version}, and Holdfast needs {PINNED['series']} or later: "
            "name a newer tree."
        )
    options = tree / "init/Kconfig"
    supported = options.exists() and re.search(r"^config RUST$", options.read_text(), re.MULTILINE)
    if not supported or not (tree / "rust/kernel/lib.rs").exists():
        console.fail(
            f"{named} has no support for CONFIG_RUST (no `config RUST` in init/Kconfig, or no "
            "rust/kernel): name a tree of the mainline kernel."
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, checksum: str) -> Source:
    """Unpack a tarball once; its name in the cache is its checksum."""
    directory = cache.root() / "sources" / checksum[:16]
    stamp = directory / "complete"
    tree = directory / "linux"
    if cache.read_stamp(stamp) is None:
        with cache.lock(f"source-{checksum[:16]}"):
            if cache.read_stamp(stamp) is None:
                cache.need_space(directory, DISK["source"], "the kernel's sources")
                partial = directory / "partial"
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir(parents=True)
                try:
                    console.step(
                        f"Unpacking {archive.name}",
                        ["tar", "-C", str(partial), "-xf", str(archive)],
                        log=paths.LOGS / "unpack.log",
                        failure=f"Unpacking {archive} failed: the lines above say why; "
                        "is it a complete kernel tarball?",
                    )
                    tops = list(partial.iterdir())
                    if len(tops) != 1 or not (tops[0] / "Makefile").exists():
                        console.fail(
                            f"{archive} is not a kernel tarball: it has no single top folder."
                        )
                    require_suitable(tops[0], str(archive))
                    cache.replace(tops[0], tree)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
                cache.write_stamp(stamp, checksum)
    return Source(tree, checksum, checksum, own=True)


def _debian() -> Source:
    """Return the pinned source, or the newest of the series when Debian has replaced it."""
    pinned = PINNED["sha256"]
    if cache.read_stamp(cache.root() / "sources" / pinned[:16] / "complete") is not None:
        return _unpack(Path(PINNED["tarball"]), pinned)
    successor = cache.root() / "sources" / "successor"
    checksum = cache.read_stamp(successor)
    if checksum and cache.read_stamp(cache.root() / "sources" / checksum[:16] / "complete"):
        return _unpack(Path(PINNED["tarball"]), checksum)

    with cache.lock("kernel-download"):
        if cache.read_stamp(cache.root() / "sources" / pinned[:16] / "complete") is not None:
            return _unpack(Path(PINNED["tarball"]), pinned)
        cache.need_space(cache.root(), DISK["download"] + DISK["source"], "the kernel's sources")
        apt = packages.PrivateApt(PINNED["suite"])
        available = apt.versions(PINNED["package"])
        version = PINNED["package_version"]
        if version not in available:
            if not available:
                console.fail(
                    f"{PINNED['suite']} has no {PINNED['package']} any more: "
                    "pass KERNEL_TARBALL= or KERNEL_SRC= with a kernel of that series."
                )
            console.note(
                f"Debian has replaced {PINNED['package']} {version}; taking {available[0]} "
                "instead, whose checksum is not pinned here but vouched for by Debian's signature."
            )
        download = cache.root() / "sources" / "download.partial"
        shutil.rmtree(download, ignore_errors=True)
        try:
            replaced = version not in available
            apt.unpack(PINNED["package"], available[0] if replaced else version, download)
            archive = download / "usr/src" / PINNED["tarball"]
            checksum = _sha256(archive)
            if not replaced and checksum != pinned:
                console.fail(
                    f"The checksum of {PINNED['tarball']} is {checksum}, not {pinned}: it was "
                    "damaged or changed on its way; nothing was kept, run the same command again, "
                    "and if it persists pass KERNEL_TARBALL= with a copy that you trust."
                )
            source = _unpack(archive, checksum)
            if replaced:
                cache.write_stamp(successor, checksum)
            return source
        finally:
            shutil.rmtree(download, ignore_errors=True)


def _state_of(tree: Path) -> str:
    """Tell one state of a tree from another by names, sizes and times."""
    answer = subprocess.run(
        ["find", ".", "-name", ".git", "-prune", "-o", "-type", "f", "-printf", "%P %s %T@\n"],
        cwd=tree,
        capture_output=True,
        check=True,
    ).stdout
    return cache.key(b"\n".join(sorted(answer.splitlines())))


def _tree(named: str) -> Source:
    tree = Path(named).absolute()
    if not tree.is_dir():
        console.fail(f"KERNEL_SRC={named} is not a directory: name a kernel source tree.")
    require_suitable(tree, f"KERNEL_SRC={named}")
    if (tree / ".config").exists() or (tree / "include/config").exists():
        console.fail(
            f"KERNEL_SRC={named} was built in place, and the kernel's make then refuses O=: "
            f"run `make -C {tree} mrproper` (this removes its .config) and try again."
        )
    return Source(tree, f"tree {tree}", _state_of(tree), own=False)


@functools.cache
def stock() -> Source:
    """Return the kernel source that this run uses, unpatched."""
    tree = os.environ.get("KERNEL_SRC")
    if tree:
        return _tree(tree)
    tarball = os.environ.get("KERNEL_TARBALL")
    if tarball:
        path = Path(tarball).absolute()
        if not path.is_file():
            console.fail(f"KERNEL_TARBALL={tarball} is not a file: name a kernel tarball.")
        return _unpack(path, _sha256(path))
    return _debian()


def copy_of(source: Source, directory: Path) -> None:
    """Make `directory` a copy of a source tree that may be changed without harm to it.

    Files of the cache's own tree are hard links: whoever changes one must replace
    it, as rsync, git apply and replace_file() do.
    """
    partial = directory.with_name(directory.name + ".partial")
    if source.own and not directory.exists():
        cache.need_space(directory, 0.3, "a copy of the kernel's sources")
        shutil.rmtree(partial, ignore_errors=True)
        partial.parent.mkdir(parents=True, exist_ok=True)
        console.step(
            "Copying the kernel's sources",
            ["cp", "-al", str(source.path), str(partial)],
            log=paths.LOGS / "copy.log",
        )
        partial.rename(directory)
    elif not source.own:
        cache.need_space(directory, DISK["source"], "a copy of the kernel's sources")
        directory.mkdir(parents=True, exist_ok=True)
        console.step(
            f"Copying {source.path}",
            ["rsync", "-a", "--delete", "--exclude=/.git", "--exclude=/drivers/holdfast"]
            + [f"{source.path}/", f"{directory}/"],
            log=paths.LOGS / "copy.log",
        )


def replace_file(path: Path, content: str) -> None:
    """Write a file anew instead of through its hard links, and only if it changes."""
    if path.exists() and path.read_text() == content:
        return
    temporary = path.with_name(path.name + ".holdfast")
    temporary.write_text(content)
    if path.exists():
        shutil.copymode(path, temporary)
    temporary.rename(path)


def _git_apply(tree: Path, patch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git apply on a tree, be it a repository of its own, inside another, or none."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env["GIT_CEILING_DIRECTORIES"] = str(tree.absolute().parent)
    return subprocess.run(
        ["git", "apply", "--whitespace=nowarn", *arguments, str(patch)],
        cwd=tree,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def _applied(tree: Path, series: list[Path], scratch: Path) -> int:
    """Count the patches of the series that the tree already has.

    A later patch can change the lines of an earlier one, so the only sound test is
    to take them off again, last first, from a copy of the files concerned.
    """
    touched = {
        name
        for patch in series
        for name in re.findall(r"^(?:---|\+\+\+) [ab]/(\S+)", patch.read_text(), re.MULTILINE)
    }
    for count in range(len(series), 0, -1):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        for name in touched:
            if (tree / name).exists():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(tree / name, scratch / name)
        if all(
            _git_apply(scratch, patch, "--reverse").returncode == 0
            for patch in reversed(series[:count])
        ):
            return count
    return 0


def apply_series(tree: Path) -> int:
    """Apply what the tree lacks of the C series; return how many patches that were."""
    series = series_patches()
    if not series:
        return 0
    packages.install(["git"])
    scratch = paths.BUILD / "patch-check"
    present = _applied(tree, series, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    for patch in series[present:]:
        answer = _git_apply(tree, patch)
        if answer.returncode != 0:
            reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
            console.fail(
                f"{patch.name} does not apply to {tree} ({reason}): the series is for Linux "
                f"{PINNED['series']}; take off what conflicts, or use a tree of that series."
            )
    return len(series) - present


def patched() -> Source:
    """Return the kernel source with the C series, which is the stock one when there is none."""
    source = stock()
    series = series_patches()
    if not series:
        return source
    name = cache.key(source.name, *series)
    directory = cache.root() / "sources" / f"patched-{name}"
    tree = directory / "linux"
    stamp = directory / "complete"
    if cache.read_stamp(stamp) != source.state:
        with cache.lock(f"source-patched-{name}"):
            if cache.read_stamp(stamp) != source.state:
                copy_of(source, tree)
                apply_series(tree)
                cache.write_stamp(stamp, source.state)
    return Source(tree, f"patched {name}", source.state, own=True)


def ensure(variant: str = "stock") -> Source:
    """Return the kernel source of a variant, fetched and unpacked."""
    if variant not in ("stock", "patched"):
        console.fail(f"KERNEL={variant} is not a kernel: use stock or patched.")
    toolchain.environment()
    return stock() if variant == "stock" else patched()
