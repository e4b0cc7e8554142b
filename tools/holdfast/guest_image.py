# SPDX-License-Identifier: GPL-2.0
"""Makes the guest's initramfs.

An initramfs is a series of cpio archives one after another. The first holds what
every run needs; what one run adds (a script, somebody's files) is appended to it.
cpio gives everything to root by itself, so nothing here needs to be root.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from . import console, paths, toolchain
from .kernel import Kernel

_GUEST = paths.CHECKOUT / "tests" / "guest"
_FAULTY = paths.CHECKOUT / "tests" / "faulty"
_MOUNT_POINTS = ("dev", "proc", "sys", "tmp")
_DIRECTORIES = (*_MOUNT_POINTS, "bin", "sbin", "files", "holdfast", "etc", "lib/modules")
_WELCOME = """\

A Holdfast guest: {release}, {flavour}.
  modules      /lib/modules/holdfast/*.ko   (insmod holdfast.ko first)
  devices      lspci -nn
  your files   /files
  leave with   exit, or Ctrl-A then X

"""


@functools.cache
def guest_program() -> Path:
    """Build the scenario runner; static, so that the guest needs no libraries."""
    target = paths.BUILD / "guest-target"
    console.step(
        "Building the guest's scenario runner",
        ["cargo", "build", "--release", "--locked", "--target-dir", str(target)],
        log=paths.BUILD / "logs" / "guest.log",
        cwd=_GUEST,
        env=toolchain.environment(),
        expected_lines=40,
    )
    return target / "x86_64-unknown-linux-gnu" / "release" / "holdfast-guest"


def faulty_command(kernel: Kernel, output: Path, *arguments: str) -> list[str]:
    """Return the make command of the faulty C modules."""
    return toolchain.kernel_make(kernel.objtree, f"M={_FAULTY}", f"MO={output}", *arguments)


def faulty_modules(kernel: Kernel, output: Path) -> list[Path]:
    """Build the C modules whose faults the scenarios show."""
    output.mkdir(parents=True, exist_ok=True)
    console.step(
        "Building the faulty C modules",
        faulty_command(kernel, output, "modules"),
        log=output / "build.log",
        cwd=paths.CHECKOUT,
        env=toolchain.environment(),
        expected_lines=26,
    )
    return sorted(output.glob("*.ko"))


def build(
    kernel: Kernel,
    output: Path,
    *,
    modules: Iterable[Path] = (),
    program: Path | None = None,
    flavour: str = "",
) -> Path:
    """Write the archive that every run on this kernel starts from."""
    busybox = shutil.which("busybox")
    if busybox is None:
        console.fail("busybox is missing: install the package busybox-static.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-image-") as name:
        root = Path(name)
        for directory in _DIRECTORIES:
            (root / directory).mkdir(parents=True, exist_ok=True)
        shutil.copy2(busybox, root / "bin" / "busybox")
        applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True)
        for applet in applets.stdout.split():
            if applet != "busybox":
                (root / "bin" / applet).symlink_to("busybox")
        (root / "sbin" / "modprobe").symlink_to("../bin/busybox")
        _copy_program("lspci", root)
        shutil.copy2(_GUEST / "init", root / "init")
        if program is not None:
            shutil.copy2(program, root / "bin" / "holdfast-guest")
        (root / "holdfast" / "welcome").write_text(
            _WELCOME.format(release=kernel.release, flavour=flavour or "plain")
        )
        _install_modules(kernel, root, modules)
        _archive(root, output)
    return output


def extend(
    base: Path, output: Path, *, run: str | Path | None = None, files: Path | None = None
) -> Path:
    """Append what one run adds: its script as /holdfast/run, a folder as /files."""
    with tempfile.TemporaryDirectory(prefix="holdfast-image-") as name:
        root = Path(name) / "root"
        root.mkdir()
        if run is not None:
            script = root / "holdfast" / "run"
            script.parent.mkdir()
            if isinstance(run, Path):
                shutil.copyfile(run, script)
            else:
                script.write_text(run)
            script.chmod(0o755)
        if files is not None:
            shutil.copytree(files, root / "files", symlinks=True)
        addition = Path(name) / "addition.cpio"
        _archive(root, addition)
        with output.open("wb") as whole:
            for part in (base, addition):
                with part.open("rb") as source:
                    shutil.copyfileobj(source, whole)
    return output


def _install_modules(kernel: Kernel, root: Path, modules: Iterable[Path]) -> None:
    """Put the kernel's modules and ours where modprobe looks for them."""
    destination = root / "lib" / "modules" / kernel.release
    installed = Path(kernel.modules) / "lib" / "modules" / kernel.release
    if installed.is_dir():
        # The links `build` and `source` point to the host's trees.
        host_only = shutil.ignore_patterns("build", "source")
        shutil.copytree(installed, destination, symlinks=True, ignore=host_only)
    ours = destination / "holdfast"
    ours.mkdir(parents=True, exist_ok=True)
    for module in modules:
        shutil.copy2(module, ours / module.name)
    (root / "lib" / "modules" / "holdfast").symlink_to(f"{kernel.release}/holdfast")
    depmod = shutil.which("depmod", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if depmod is None:
        console.fail("depmod is missing: install the package kmod.")
    subprocess.run([depmod, "-b", str(root), kernel.release], check=True, capture_output=True)


def _copy_program(program: str, root: Path) -> None:
    """Copy a program of the host with the libraries that it is linked to."""
    path = shutil.which(program)
    if path is None:
        return
    linked = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    shutil.copy2(path, root / "sbin" / program)
    for library in re.findall(r"(/\S+)", linked):
        place = root / library.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library, place)


def _archive(root: Path, output: Path) -> None:
    """Pack a folder; sorted, so that equal contents make an equal archive."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    # Another run may be at it, too.
    partial = output.with_suffix(f".{os.getpid()}")
    with partial.open("wb") as archive:
        subprocess.run(
            ["cpio", "--null", "--create", "--format=newc", "--owner=+0:+0"]
            + ["--reproducible", "--quiet"],
            input="\0".join(names).encode(),
            stdout=archive,
            cwd=root,
            check=True,
        )
    partial.replace(output)
