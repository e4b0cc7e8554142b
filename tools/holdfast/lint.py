# SPDX-License-Identifier: GPL-2.0
"""Every linter, with no finding tolerated."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from . import (
    console,
    doc,
    examples,
    guest_image,
    kernel,
    kernel_source,
    modules,
    packages,
    paths,
    toolchain,
)

# Checks of checkpatch that cannot apply to files outside the kernel's tree:
CHECKPATCH_IGNORED = [
    "FILE_PATH_CHANGES",  # asks for an entry in the kernel's MAINTAINERS
    "LINUX_VERSION_CODE",  # forbids what a module for several kernel versions needs
    "MODULE_AUTHOR",  # expects the kernel's own conventions of mailboxes
]

# Of one file: the exports are generated, so they stand apart from what they export,
# as in the kernel's own rust/exports.c.
CHECKPATCH_IGNORED_IN = {"rust/exports.c": ["EXPORT_SYMBOL", "MACRO_ARG_REUSE"]}

# Debian's sparse does not know this keyword of C23, and kbuild then goes on without
# sparse. The keyword without "unqual" is near enough for what sparse looks for.
SPARSE = "sparse -D__typeof_unqual__=__typeof__"

# Files that cannot carry a line of ours
WITHOUT_SPDX = re.compile(
    r"^(LICENSES/.*|patches/.*\.patch|.*\.stderr|.*/Cargo\.lock|.*\.(json|png|svg))$"
)


@dataclass(frozen=True)
class Check:
    """A linter: what it is called, and a function that returns its findings."""

    title: str
    findings: Callable[[], list[str]]


def files(*patterns: str) -> list[Path]:
    """Return the checkout's files, tracked or new but not ignored, that match a glob."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=paths.CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode == 0:
        names = sorted(set(answer.stdout.split("\0")) - {""})
    else:  # a tarball of the project, not a clone
        found = (path.relative_to(paths.CHECKOUT) for path in paths.CHECKOUT.rglob("*"))
        names = sorted(
            str(path)
            for path in found
            if path.parts[0] not in ("build", ".git")
            and (not patterns or any(path.match(pattern) for pattern in patterns))
        )
    return [path for name in names if (path := paths.CHECKOUT / name).is_file()]


def _relative(path: Path) -> str:
    return str(path.relative_to(paths.CHECKOUT))


def _output(command: list[str | Path], *, env: dict[str, str] | None = None) -> list[str]:
    """Run a linter; no finding is exit status 0, whatever it prints."""
    answer = subprocess.run(
        [str(part) for part in command],
        cwd=paths.CHECKOUT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if answer.returncode == 0:
        return []
    lines = (answer.stdout + answer.stderr).strip().splitlines()
    return lines or [f"{command[0]} ended with status {answer.returncode}"]


def _need(program: str, component: str) -> None:
    if not (Path(toolchain.environment()["PATH"].split(":")[0]) / program).exists():
        console.fail(
            f"{toolchain.rust().rustc} comes without {program}: run `rustup component add "
            f"{component}` (or install that package), and run the same command again."
        )


def spdx() -> list[str]:
    """Every file says under which licence it is."""
    found = []
    for path in files():
        name = _relative(path)
        if WITHOUT_SPDX.match(name):
            continue
        with path.open(errors="replace") as file:
            head = [line for line, _ in zip(file, range(3), strict=False)]
        if not any("SPDX-License-Identifier: " in line for line in head):
            found.append(f"{name}: no SPDX-License-Identifier in its first three lines")
    return found


def unsafe_in_drivers() -> list[str]:
    """Drivers on Holdfast are written without `unsafe`; that is what it is for."""
    found = []
    for path in files("samples/*.rs", "tests/modules/*.rs"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line).partition("//")[0]
            if re.search(r"\bunsafe\b", code):
                found.append(f"{_relative(path)}:{number}: a driver must not contain `unsafe`")
    return found


def _crates() -> list[Path]:
    return [path for path in files("*Cargo.toml") if path.parent.name != "compile-fail"]


def rustfmt() -> list[str]:
    """Formatting as in the kernel, in the modules and in the programs of the tests."""
    _need("rustfmt", "rustfmt")
    sources = files("*.rs")
    if not sources:
        return []
    configuration = kernel_source.stock().path / ".rustfmt.toml"
    # rustfmt follows modules from the roots, yet every file is given, to miss none.
    lines = _output(
        [
            "rustfmt",
            "--check",
            "--color",
            "never",
            "--edition",
            "2021",
            "--config-path",
            configuration,
        ]
        + [*sources],
        env=toolchain.environment(),
    )
    # A file met twice is reported twice; once is enough.
    return list(dict.fromkeys(re.split(r"\n(?=Diff in )", "\n".join(lines)))) if lines else []


def clippy_of_programs() -> list[str]:
    """Clippy on the programs that run on the host or as the guest's runner."""
    _need("clippy-driver", "clippy")
    found = []
    for manifest in _crates():
        target = paths.BUILD / "lint" / manifest.parent.name
        found += _output(
            ["cargo", "clippy", "--quiet", "--all-targets", "--locked"]
            + ["--manifest-path", manifest, "--target-dir", target, "--", "-D", "warnings"],
            env=toolchain.environment(),
        )
    return found


def module_build() -> list[str]:
    """Clippy and W=1 on the modules, sparse on the C shims, in builds from nothing."""
    _need("clippy-driver", "clippy")
    packages.ensure("lint")
    if not (paths.CHECKOUT / "Kbuild").exists():
        return []
    kernel_ = kernel.ensure("debug")
    output = paths.BUILD / "lint" / "modules"
    faulty = paths.BUILD / "lint" / "faulty"
    with_sparse = [modules.TESTS, "HOLDFAST_BENCH=m", "CLIPPY=1", "W=1", "C=2", f"CHECK={SPARSE}"]
    with_sparse.append("modules")
    found = _strict_build(output, modules.command(kernel_.objtree, output, *with_sparse))
    # Those are wrong on purpose, and in no other way. Debian's sparse does not get past
    # the kernel's MODULE_LICENSE(), of which the shims have none.
    return found + _strict_build(
        faulty, guest_image.faulty_command(kernel_, faulty, "W=1", "modules")
    )


def _strict_build(output: Path, command: list[str]) -> list[str]:
    """Build from nothing: what was compiled before would not be looked at again."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    log = paths.LOGS / f"lint-{output.name}.log"
    console.step(
        f"Building {output.name}, strictly",
        command,
        log=log,
        env=toolchain.environment(),
    )
    return list(_warnings(log.read_text(errors="replace").splitlines()))


def _warnings(lines: list[str]) -> Iterable[str]:
    """Pick the warnings out of a build's output.

    sparse reports what it dislikes in the kernel's own headers too. Those are not
    ours; a warning about a file of ours, or without a file, is.
    """
    if any("not available or not up to date" in line for line in lines):
        yield "sparse did not run: kbuild finds it unsuitable (scripts/checker-valid.sh)"
    headers = re.compile(r"(^|/)(include|arch|drivers|rust/helpers/[^ ]*/include)/[^ ]*\.h:\d+:")
    for number, line in enumerate(lines):
        if not re.search(r"\b(warning|error)(\[\w+\])?:", line):
            continue
        if headers.search(line) and str(paths.CHECKOUT) not in line:
            continue
        yield line
        # rustc says on the following lines where
        yield from (more for more in lines[number + 1 : number + 4] if more.startswith(" "))


def examples_of_items() -> list[str]:
    """Every public item of the library has an example, and every example is a test."""
    sources = files("rust/*.rs")
    found = [
        finding
        for path in sources
        for finding in examples.not_run(_relative(path), path.read_text())
    ]
    output = paths.BUILD / "modules" / "stock-debug"
    modules.build(kernel.ensure("debug"), output)
    directory = paths.BUILD / "lint" / "items"
    prefix = f"{paths.CHECKOUT}/"
    as_json = ["-Zunstable-options", "--output-format=json", "--output", str(directory)]
    for crate in doc.CRATES:
        rustdoc, env = doc.command(output, crate, *as_json)
        console.step(
            f"Asking rustdoc what is public in {crate}",
            rustdoc,
            log=paths.LOGS / f"lint-items-{crate}.log",
            cwd=output,
            env=env,
        )
        described = json.loads((directory / f"{crate}.json").read_text())
        found += [finding.removeprefix(prefix) for finding in examples.missing(described)]
    return found


def checkpatch() -> list[str]:
    """The kernel's checkpatch, as strict as it gets."""
    script = kernel_source.stock().path / "scripts/checkpatch.pl"
    wanted = ["rust/*.rs", "rust/*.c", "rust/*.h", "samples/*.rs", "samples/*.c", "tests/*.c"]
    wanted += [
        "tests/*.h",
        "tests/modules/*.rs",
        "tests/bench/*.rs",
        "Kconfig",
        "*/Kconfig",
        "Kbuild",
        "*/Kbuild",
    ]
    found = []
    for path in files(*wanted):
        ignored = CHECKPATCH_IGNORED + CHECKPATCH_IGNORED_IN.get(_relative(path), [])
        found += _output(
            ["perl", script, "--strict", "--no-tree", "--terse", "--no-summary", "--show-types"]
            + [f"--ignore={','.join(ignored)}", "-f", _relative(path)]
        )
    return found


def shellcheck() -> list[str]:
    """Shell scripts, recognised by name or by their first line."""
    packages.ensure("lint")
    scripts = [
        path
        for path in files()
        if path.suffix == ".sh"
        or (not path.suffix and path.read_bytes()[:40].startswith((b"#!/bin/sh", b"#!/bin/bash")))
        or path == paths.CHECKOUT / ".ci/run"
    ]
    return _output(["shellcheck", *scripts]) if scripts else []


def ruff() -> list[str]:
    """Python: mistakes, and formatting."""
    program = Path(sys.executable).parent / "ruff"
    configuration = paths.CHECKOUT / "tools/ruff.toml"
    sources = files("*.py")
    options: list[str | Path] = ["--quiet", "--no-cache", "--config", configuration]
    return _output([program, "check", "--output-format=concise", *options, *sources]) + _output(
        [program, "format", "--check", *options, *sources]
    )


CHECKS = [
    Check("SPDX licence tags", spdx),
    Check("no unsafe in samples/ and tests/modules/", unsafe_in_drivers),
    Check("ruff check and ruff format on Python", ruff),
    Check("shellcheck on shell scripts", shellcheck),
    Check("rustfmt with the kernel's configuration", rustfmt),
    Check("checkpatch --strict on C, Rust and Kconfig", checkpatch),
    Check("clippy on the programs of the tests", clippy_of_programs),
    Check("clippy and W=1 on the modules, sparse on the C shims", module_build),
    Check("an example of every public item of the library", examples_of_items),
]


def run(_arguments: argparse.Namespace) -> int:
    """Run every check, so that one run shows all findings."""
    packages.ensure("build", "lint")
    kernel_source.ensure()
    failed = 0
    for check in CHECKS:
        findings = check.findings()
        console.note(f"lint: {check.title}: {'clean' if not findings else 'FINDINGS'}")
        for finding in findings:
            console.note(f"  {finding}")
        failed += bool(findings)
    if failed:
        console.note(f"lint: {failed} of {len(CHECKS)} checks have findings")
    return 1 if failed else 0
