# SPDX-License-Identifier: GPL-2.0
"""System packages: only what is missing, and newer ones from Debian's other suites.

A suite that the machine does not list is read through a private apt directory in
the cache, so that the machine's own package sources stay as they are. Its base
address comes from those sources, so mirrors and proxies keep working.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from . import cache, console, paths

LLVM = str(paths.versions()["tools"]["llvm"])

GROUPS: dict[str, list[str]] = {
    "build": [
        "bc",
        "bison",
        f"clang-{LLVM}",
        "cpio",
        "flex",
        "gcc",
        "git",
        "kmod",
        f"libclang-{LLVM}-dev",
        "libc6-dev",
        "libelf-dev",
        "libssl-dev",
        f"lld-{LLVM}",
        f"llvm-{LLVM}",
        "make",
        "perl",
        "python3",
        "rsync",
        "xz-utils",
    ],
    "machine": ["busybox-static", "pciutils"],
    "lint": ["shellcheck", "sparse"],
    "cross": ["gcc-powerpc64le-linux-gnu", "gcc-sparc64-linux-gnu"],
    "rust": ["rustc-web", "rust-web-src", "rustfmt-web", "rust-web-clippy", "cargo-web"],
}

# ipxe-qemu is only recommended there, yet some devices do not start without it
QEMU = ["qemu-system-x86", "ipxe-qemu"]
QEMU_PROGRAM = "qemu-system-x86_64"

# Runs it with its own loader, libraries and firmware
WRAPPER = """#!/bin/sh
root=${0%/*}/root/usr
libraries=$root/lib/x86_64-linux-gnu
export QEMU_MODULE_DIR="$libraries/qemu"
exec "$root/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" \\
	"$root/bin/qemu-system-x86_64" -L "$root/share/qemu" -L "$root/share/seabios" \\
	-L "$root/lib/ipxe/qemu" "$@"
"""

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NETWORK = ["-o", "Acquire::Retries=2", "-o", "Acquire::http::Timeout=30"]


def installed(package: str) -> str | None:
    """Return the version of an installed package."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    state, _, version = answer.partition(" ")
    return version if state == "installed" else None


def missing(names: list[str]) -> list[str]:
    """Return those of the packages that are not installed."""
    answer = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    present = {line.split()[0] for line in answer.splitlines() if line.endswith(" installed")}
    return [name for name in names if name not in present]


def _as_root(what: str) -> list[str]:
    """Return what goes before a command that needs root."""
    if shutil.which("apt-get") is None:
        console.fail(
            f"This machine has no apt-get: install {what} by hand, "
            "or run this on Debian 12 or 13 or in a container of it."
        )
    if os.geteuid() == 0:
        return []
    allowed = (
        shutil.which("sudo")
        and not subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode
    )
    if not allowed:
        console.fail(
            f"Installing {what} needs root: run this as root or with a sudo that asks no "
            f"password, or run `apt-get install {what}` yourself."
        )
    return ["sudo", "-n"]


def _apt_get(
    title: str, arguments: list[str], *, what: str, root: bool = True, cwd: Path | None = None
) -> None:
    command = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
    command += ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", *NETWORK, *arguments]
    console.step(
        title,
        (_as_root(what) if root else []) + command,
        log=paths.LOGS / "packages.log",
        cwd=cwd,
        failure=f"{title} failed: the lines above say why; check the network, "
        "and run the same command again.",
    )


@functools.cache
def _update() -> None:
    """Bring the package lists up to date, once in a run."""
    _apt_get("Updating the package lists", ["update"], what="packages")


def install(names: list[str]) -> None:
    """Install those of the packages that are missing."""
    absent = missing(names)
    if not absent:
        return
    what = " ".join(absent)
    with cache.lock("packages"):
        absent = missing(absent)
        if not absent:
            return
        _as_root(what)
        _update()
        _apt_get(
            f"Installing {len(absent)} packages"
            if len(absent) > 3
            else f"Installing {', '.join(absent)}",
            ["install", "--no-install-recommends", *absent],
            what=what,
        )


def ensure(*groups: str) -> None:
    """Install what is missing of the groups; `machine` brings a recent QEMU too."""
    install([name for group in groups for name in GROUPS[group]])
    if "machine" in groups:
        qemu()


@functools.cache
def codename() -> str:
    """Return the name of the Debian release that this machine runs."""
    text = Path("/etc/os-release").read_text() if Path("/etc/os-release").exists() else ""
    found = re.search(r"^VERSION_CODENAME=\"?(\w+)", text, re.MULTILINE)
    if not found:
        console.fail("This is not a Debian release (no VERSION_CODENAME): use Debian 12 or 13.")
    return found.group(1)


def _base_address() -> str:
    """Return where this machine gets Debian itself from."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    for line in answer.splitlines():
        site, _, release = line.partition(" ")
        if release in (codename(), "stable", "oldstable"):
            return site
    console.fail(
        f"No package source of this machine is for Debian {codename()}: "
        "add Debian's own to /etc/apt/sources.list.d and run the same command again."
    )


class PrivateApt:
    """An apt directory of our own, which reads suites that the machine does not list."""

    def __init__(self, *suites: str) -> None:
        """Prepare the directory and fetch the lists of the suites."""
        if shutil.which("apt-get") is None:
            _as_root("the packages of tools/holdfast/packages.py")
        if not KEYRING.exists():
            install(["debian-archive-keyring"])
        self.name = "-".join(suites)
        self.directory = cache.root() / "apt" / self.name
        for part in ("lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        sources = self.directory / "sources.list"
        address = _base_address()
        sources.write_text(
            "".join(f"deb [signed-by={KEYRING}] {address} {suite} main\n" for suite in suites)
        )
        self.options = [
            option
            for setting in (
                f"Dir::Etc::sourcelist={sources}",
                "Dir::Etc::sourceparts=-",
                f"Dir::State::Lists={self.directory / 'lists'}",
                f"Dir::Cache={self.directory / 'cache'}",
                "APT::Sandbox::User=root",
                "APT::Update::Error-Mode=any",
            )
            for option in ("-o", setting)
        ]
        _apt_get(
            f"Reading the package lists of {', '.join(suites)}",
            [*self.options, "update"],
            what="",
            root=False,
        )

    def versions(self, package: str) -> list[str]:
        """Return the versions of a package that the suites have, best first."""
        answer = subprocess.run(
            ["apt-cache", *self.options, "madison", package],
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        return [line.split("|")[1].strip() for line in answer.splitlines() if "Packages" in line]

    def unpack(self, package: str, version: str, directory: Path) -> None:
        """Download a package and unpack it into a directory, without installing it."""
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory) as temporary:
            _apt_get(
                f"Downloading {package} {version}",
                [*self.options, "download", f"{package}={version}"],
                what="",
                root=False,
                cwd=Path(temporary),
            )
            (archive,) = Path(temporary).glob("*.deb")
            console.step(
                f"Unpacking {package}",
                ["dpkg-deb", "-x", str(archive), str(directory)],
                log=paths.LOGS / "unpack.log",
            )

    def unpack_with_dependencies(self, packages: list[str], suite: str, directory: Path) -> None:
        """Unpack packages of a suite, and all they depend on, as for a machine with nothing."""
        directory.mkdir(parents=True, exist_ok=True)
        nothing = self.directory / "status"
        nothing.touch()
        archives = self.directory / "cache/archives"
        _apt_get(
            f"Downloading {packages[0]} of {suite}, with its libraries",
            [
                *self.options,
                *("-o", f"Dir::State::status={nothing}", "-o", "Debug::NoLocking=1"),
                *("install", "--download-only", "--no-install-recommends", "-t", suite, *packages),
            ],
            what="",
            root=False,
        )
        for archive in sorted(archives.glob("*.deb")):
            subprocess.run(["dpkg-deb", "-x", str(archive), str(directory)], check=True)
        shutil.rmtree(self.directory / "cache", ignore_errors=True)


def qemu_version(program: str | Path = QEMU_PROGRAM) -> str | None:
    """Return the version of a QEMU, by default of the one on PATH."""
    found = shutil.which(program)
    if found is None:
        return None
    answer = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"version (\d+\.\d+(?:\.\d+)?)", answer.stdout)
    return version.group(1) if version else None


def at_least(version: str, wanted: str) -> bool:
    """Compare dotted versions."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)[:3]] for text in (version, wanted)]
    return numbers[0] >= numbers[1]


def _is_wanted(program: str | Path) -> bool:
    version = qemu_version(program)
    return version is not None and at_least(version, paths.versions()["tools"]["qemu_wanted"])


@functools.cache
def qemu() -> Path:
    """Return a QEMU that is new enough: the one on PATH, else Debian's newest, in the cache."""
    if _is_wanted(QEMU_PROGRAM):
        return Path(str(shutil.which(QEMU_PROGRAM)))
    with cache.lock("qemu"):
        directory = cache.root() / "qemu"
        for stamp in sorted(directory.glob("*/complete")):
            if _is_wanted(stamp.parent / QEMU_PROGRAM):
                return stamp.parent / QEMU_PROGRAM
        return _unpack_qemu(directory)


def _unpack_qemu(directory: Path) -> Path:
    """Unpack a QEMU with all the libraries that it needs, beside those of this machine."""
    cache.need_space(directory, paths.versions()["disk"]["qemu"], "QEMU and its libraries")
    tools = paths.versions()["tools"]
    suites, wanted = tools["qemu_suites"], tools["qemu_wanted"]
    apt = PrivateApt(*suites)
    versions = apt.versions(QEMU[0])
    if not versions or not at_least(versions[0].partition(":")[2], wanted):
        console.fail(
            f"QEMU {qemu_version() or '(none)'} is too old, and so is Debian {suites[-1]}'s "
            f"({', '.join(versions) or 'none'}): put {wanted} or later on PATH."
        )
    final = directory / versions[0].replace(":", "_")
    partial = directory / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    apt.unpack_with_dependencies(QEMU, suites[-1], partial / "root")
    wrapper = partial / QEMU_PROGRAM
    wrapper.write_text(WRAPPER)
    wrapper.chmod(0o755)
    if not _is_wanted(wrapper):
        console.fail(
            f"QEMU {versions[0]} does not run on this machine: put {wanted} or later on PATH."
        )
    cache.replace(partial, final)
    cache.write_stamp(final / "complete", versions[0])
    return final / QEMU_PROGRAM
