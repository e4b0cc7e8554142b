# SPDX-License-Identifier: GPL-2.0
"""Which rustc, bindgen and clang build everything, and how kernel makes find them.

The kernel's Makefile assigns RUSTC and its like itself, so an environment variable
does not reach it, while PATH does: all tools are linked into one directory of the
cache, which goes first.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import cache, console, packages, paths

TOOLS = paths.versions()["tools"]
LLVM_BIN = Path(f"/usr/lib/llvm-{TOOLS['llvm']}/bin")

# What a caller's environment could change about a build behind our back
FOREIGN = (
    "ARCH CARGO_BUILD_TARGET CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR CROSS_COMPILE KBUILD_OUTPUT "
    "KCFLAGS KCPPFLAGS KRUSTFLAGS MAKEFLAGS MAKELEVEL MAKEOVERRIDES MFLAGS RUSTC_WRAPPER "
    "RUSTDOCFLAGS RUSTFLAGS RUSTUP_TOOLCHAIN"
).split()


@dataclass(frozen=True)
class Rust:
    """A Rust toolchain: the directory of its programs, and rustc itself."""

    rustc: Path
    programs: Path
    description: str
    version: str


def output(command: list[str | Path], env: dict[str, str] | None = None) -> str:
    """Return what a short command prints, or nothing when it fails or is not there."""
    try:
        return subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=True,
            env=env,
            stdin=subprocess.DEVNULL,
            timeout=60,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _find(program: str) -> Path | None:
    """Look on PATH, and where rustup puts its programs, which CI often has not on PATH."""
    home = Path(os.environ.get("CARGO_HOME") or Path("~/.cargo").expanduser())
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{home / 'bin'}")
    return Path(found) if found else None


@functools.cache
def rust() -> Rust:
    """Find a Rust toolchain that can build kernels; install Debian's where there is none."""
    chosen = os.environ.get("RUSTC")
    if chosen:
        rustc = _find(chosen)
        if rustc is None:
            console.fail(f"RUSTC={chosen} does not exist: set RUSTC to a rustc, or unset it.")
    else:
        rustc = None
        rustup = _find("rustup")
        if rustup is not None:
            rustc_of_rustup = output([rustup, "which", "rustc"])
            rustc = Path(rustc_of_rustup) if rustc_of_rustup else None
        rustc = rustc or _find("rustc")
        if rustc is None:
            packages.ensure("rust")
            rustc = Path("/usr/bin/rustc")
    description = output([rustc, "--version", "--verbose"])
    found = re.search(r"^release: (\S+)", description, re.MULTILINE)
    if not found:
        console.fail(
            f"{rustc} is not a working rustc (`rustc --version` fails): "
            "repair it, or set RUSTC to another one."
        )
    version = found.group(1)
    minimum = TOOLS["rustc_minimum"]
    if not packages.at_least(version, minimum):
        console.fail(
            f"{rustc} is rustc {version}, and the kernel needs {minimum} or later: run `rustup "
            "update`, or remove it so that Debian's is used, or set RUSTC to a newer one."
        )
    # Behind rustup's stand-in, or behind a link, are the tools that belong together
    sysroot = Path(output([rustc, "--print", "sysroot"]))
    programs = sysroot / "bin"
    real = programs / "rustc"
    if chosen or not real.exists():
        real, programs = rustc, rustc.resolve().parent
        if not (programs / "rustdoc").exists():
            programs = rustc.parent
    return Rust(real, programs, description, version)


def _library_of(rust_: Rust) -> Path | None:
    """Return the sources of core that are installed and match rustc exactly."""
    sysroot = Path(output([rust_.rustc, "--print", "sysroot"]))
    candidates = [
        sysroot / "lib/rustlib/src/rust/library",
        Path(f"/usr/src/rustc-{rust_.version}/library"),
        cache.root() / "rust-source" / rust_.version / "library",
    ]
    named = os.environ.get("RUST_LIB_SRC")
    if named:
        candidates.insert(0, Path(named))
    return next((path for path in candidates if (path / "core/src/lib.rs").exists()), None)


def _fetch_library(rust_: Rust) -> None:
    """Get the sources of core: from rustup, else from whichever Debian suite has them."""
    rustup = _find("rustup")
    if rustup is not None and "rustup" in str(rust_.rustc):
        console.note(f"Asking rustup for the sources of rustc {rust_.version} ...")
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [str(rustup), "component", "add", "rust-src"],
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=90,
            )
        if _library_of(rust_):
            return
        console.note("rustup cannot fetch them; looking for Debian's package of the same version.")

    directory = cache.root() / "rust-source"
    cache.need_space(directory, paths.versions()["disk"]["tools"], "the sources of Rust's core")
    apt = packages.PrivateApt(packages.codename(), *TOOLS["rust_source_suites"])
    for package in ("rust-src", "rust-web-src"):
        for version in apt.versions(package):
            if re.match(rf"{re.escape(rust_.version)}[+~-]", version):
                with cache.lock("rust-source"):
                    if _library_of(rust_):
                        return
                    temporary = directory / f"{rust_.version}.partial"
                    shutil.rmtree(temporary, ignore_errors=True)
                    apt.unpack(package, version, temporary)
                    cache.replace(
                        temporary / f"usr/src/rustc-{rust_.version}", directory / rust_.version
                    )
                    shutil.rmtree(temporary, ignore_errors=True)
                return
    console.fail(
        f"No sources of rustc {rust_.version} are to be had, neither from rustup nor from Debian: "
        "run `rustup component add rust-src`, or set RUSTC to a rustc that has its rust-src."
    )


def library() -> Path:
    """Return the sources of core that match rustc."""
    found = _library_of(rust())
    if found is None:
        _fetch_library(rust())
        found = _library_of(rust())
    if found is None:
        console.fail(
            f"The sources fetched for rustc {rust().version} have no core/src/lib.rs: "
            f"remove {cache.root() / 'rust-source'} and run the same command again."
        )
    return found


def _cargo() -> Path:
    """Return the cargo that belongs to rustc."""
    beside = rust().programs / "cargo"
    cargo = beside if beside.exists() else _find("cargo")
    if cargo is None:
        console.fail(
            f"There is no cargo for {rust().rustc}: install cargo (rustup has it, "
            "Debian's package is cargo-web), and run the same command again."
        )
    return cargo


def _bindgen() -> Path:
    """Build bindgen into the cache; it reads libclang when it runs, so one fits all."""
    version = TOOLS["bindgen"]
    directory = cache.root() / f"bindgen-{version}"
    program = directory / "bin/bindgen"
    stamp = directory / "complete"
    if cache.read_stamp(stamp) is not None:
        return program
    with cache.lock(directory.name):
        if cache.read_stamp(stamp) is not None:
            return program
        cache.need_space(directory, paths.versions()["disk"]["tools"], "building bindgen")
        log = directory / "build.log"
        console.step(
            f"Building bindgen {version}",
            [str(_cargo()), "install", "bindgen-cli", "--version", version, "--locked"]
            + ["--force", "--root", str(directory), "--target-dir", str(directory / "target")],
            log=log,
            env=_plain_environment() | {"RUSTC": str(rust().rustc)},
            expected_lines=cache.expected_lines(
                "bindgen", paths.versions()["expected_lines"]["bindgen"]
            ),
            failure=f"Building bindgen {version} failed: the lines above say why; check the "
            "network, and run the same command again.",
        )
        cache.remember_lines("bindgen", log)
        shutil.rmtree(directory / "target", ignore_errors=True)
        cache.write_stamp(stamp, version)
    return program


def _plain_environment() -> dict[str, str]:
    """Return the caller's environment without what would change a build unseen."""
    kept = {name: value for name, value in os.environ.items() if name not in FOREIGN}
    kept["LC_ALL"] = "C.UTF-8"
    return kept


def _link_programs() -> Path:
    """Link the tools into one directory, for kernel makes to find first on PATH."""
    links = {name: rust().programs / name for name in ("rustdoc", "rustfmt", "clippy-driver")}
    links |= {name: rust().programs / name for name in ("cargo-clippy", "cargo-fmt")}
    links["rustc"] = rust().rustc
    links["cargo"] = _cargo()
    links["bindgen"] = _bindgen()
    links["python3"] = Path("/usr/bin/python3")
    for variable, name in (("RUSTDOC", "rustdoc"), ("RUSTFMT", "rustfmt"), ("BINDGEN", "bindgen")):
        chosen = _find(os.environ[variable]) if os.environ.get(variable) else None
        if chosen is not None:
            links[name] = chosen
    present = {name: target for name, target in links.items() if target.exists()}
    name = cache.key(*(f"{name}={target}" for name, target in sorted(present.items())))
    directory = cache.root() / "programs" / name
    if directory.exists():
        return directory
    with cache.lock("programs"):
        if not directory.exists():
            temporary = directory.with_suffix(".partial")
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            for link, target in present.items():
                (temporary / link).symlink_to(target)
            temporary.rename(directory)
    return directory


@functools.cache
def _environment() -> dict[str, str]:
    packages.ensure("build")
    library_ = library()
    programs = _link_programs()
    env = _plain_environment()
    env["PATH"] = f"{programs}:{LLVM_BIN}:{env.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}"
    env["RUST_LIB_SRC"] = str(library_)
    env["LLVM"] = "1"
    env["LIBCLANG_PATH"] = str(LLVM_BIN.parent / "lib")
    env["RUSTC"] = str(programs / "rustc")
    env["RUSTDOC"] = str(programs / "rustdoc")
    env["CARGO"] = str(programs / "cargo")
    return env


def environment() -> dict[str, str]:
    """Return the environment for kernel makes and cargo, after fetching what it names."""
    return dict(_environment())


@functools.cache
def identity() -> str:
    """Describe the toolchain, for the names of cache entries."""
    env = _environment()
    return "\n".join(
        [
            rust().description,
            output([Path(env["PATH"].split(":")[0]) / "bindgen", "--version"], env),
            output([LLVM_BIN / "clang", "--version"], env),
        ]
    )


def jobs() -> str:
    """Return make's -j for this machine."""
    return f"-j{len(os.sched_getaffinity(0))}"


def kernel_make(source_or_objects: Path, *arguments: str) -> list[str]:
    """Return the command of a kernel make with our toolchain."""
    verbose = ["V=1"] if console.verbose() else []
    return ["make", "-C", str(source_or_objects), "LLVM=1", *verbose, *arguments]
