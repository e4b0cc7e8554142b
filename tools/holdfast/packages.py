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
    "rust": ["rustc-web", "rust-web-src", "rustfmt-web", "rust-web-clippy", "cargo-web"],
}

# ipxe-qemu is only recommended there, yet some devices do not start without it
QEMU = ["qemu-system-x86", "ipxe-qemu"]

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
        ensure_qemu()


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


def qemu_version() -> str | None:
    """Return the version of the QEMU on PATH."""
    program = shutil.which("qemu-system-x86_64")
    if program is None:
        return None
    answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"version (\d+\.\d+(?:\.\d+)?)", answer.stdout)
    return found.group(1) if found else None


def at_least(version: str, wanted: str) -> bool:
    """Compare dotted versions."""
    numbers = [[int(part) for part in re.findall(r"\d+", text)[:3]] for text in (version, wanted)]
    return numbers[0] >= numbers[1]


def ensure_qemu() -> None:
    """Install a QEMU that has the SR-IOV device, from backports where it must be."""
    wanted = paths.versions()["tools"]["qemu_wanted"]
    version = qemu_version()
    if version is not None and at_least(version, wanted):
        return
    with cache.lock("packages"):
        if codename() == "bookworm":
            suite = "bookworm-backports"
            apt = PrivateApt(codename(), suite)
            _apt_get(
                "Installing QEMU from bookworm-backports",
                [*apt.options, "install", "--no-install-recommends", "-t", suite] + QEMU,
                what="qemu-system-x86",
            )
            shutil.rmtree(apt.directory / "cache", ignore_errors=True)
        else:
            install(QEMU)
    version = qemu_version()
    if version is None or not at_least(version, wanted):
        console.fail(
            f"QEMU {version or '(none)'} is too old: {wanted} or later is needed; put one on PATH."
        )
