# SPDX-License-Identifier: GPL-2.0
"""The KUnit suites, built into user-mode Linux and run by the kernel's own kunit.py.

Rust modules do not load there, so Holdfast is put into a copy of the kernel's
source and built in. The x86-64 half runs in the virtual machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from . import cache, console, intree, kernel_source, paths, results, splats, toolchain

RECIPE = "1"
ALL_SUITES = "holdfast*"
KUNITCONFIG = paths.CHECKOUT / "tests/kunit/holdfast.kunitconfig"
# SMP on user-mode Linux needs seccomp; kunit.py itself adds the console.
KERNEL_ARGUMENTS = ["mem=512M", "ncpus=2", "seccomp=on"]
# Seconds: a run that takes longer hangs. The races take most of the time.
TIME_LIMIT = 300 + int(os.environ.get("RACE_ROUNDS") or 0)


def _kunit(tree: Path, build: Path, verb: str, *arguments: str) -> list[str]:
    return [
        sys.executable,
        str(tree / "tools/testing/kunit/kunit.py"),
        verb,
        "--arch=um",
        f"--build_dir={build}",
        "--make_options=LLVM=1",
        *arguments,
    ]


def _build(directory: Path, source: kernel_source.Source, env: dict[str, str]) -> tuple[Path, Path]:
    """Bring the slot's source up to date with the checkout and build it."""
    tree, build = directory / "linux", directory / "build"
    stamp = directory / "source"
    if cache.read_stamp(stamp) != source.state:
        cache.need_space(directory, paths.versions()["disk"]["uml"], "user-mode Linux")
        kernel_source.copy_of(source, tree)
        cache.write_stamp(stamp, source.state)
    intree.sync(tree)
    from_nothing = not (build / ".config").exists()
    build.mkdir(exist_ok=True)
    console.step(
        "Configuring user-mode Linux",
        _kunit(tree, build, "config", f"--kunitconfig={KUNITCONFIG}"),
        log=paths.LOGS / "kunit-config.log",
        cwd=tree,
        env=env,
        failure="The configuration in tests/kunit does not work out: the lines above say why.",
    )
    # kunit.py's own build is this same command, with its progress thrown away.
    incomplete = not (build / "linux").exists()
    log = paths.LOGS / "kunit-build.log"
    default = paths.versions()["expected_lines"]["uml"]
    console.step(
        "Building user-mode Linux",
        toolchain.kernel_make(tree, "ARCH=um", f"O={build}", toolchain.jobs(), "all"),
        log=log,
        env=env,
        expected_lines=cache.expected_lines("uml", default) if incomplete else None,
    )
    if from_nothing:
        cache.remember_lines("uml", log)
    return tree, build


def asked_rounds() -> int:
    """How many rounds the races are to have, if RACE_ROUNDS says so, else 0."""
    rounds = os.environ.get("RACE_ROUNDS") or "0"
    if not rounds.isdecimal():
        console.fail(f"RACE_ROUNDS={rounds} is not a number: say how many rounds the races have.")
    return int(rounds)


def race_rounds() -> list[str]:
    """Tell the kernel how many rounds the races have, if RACE_ROUNDS says so."""
    rounds = asked_rounds()
    return [f"holdfast.race_rounds={rounds}"] if rounds else []


def run_uml(suites: str = ALL_SUITES) -> bool:
    """Run the suites on user-mode Linux; tell whether all passed, and at least one ran."""
    env = toolchain.environment()
    source = kernel_source.ensure("stock")
    name = cache.key(RECIPE, source.name, toolchain.identity(), *kernel_source.series_patches())
    directory = cache.root() / "uml" / name
    raw, tap = paths.RESULTS / "kunit-uml.log", paths.RESULTS / "kunit-uml.tap"
    failure = tap.with_name("kunit-uml-run.tap")
    paths.RESULTS.mkdir(parents=True, exist_ok=True)
    for file in (raw, tap, failure):
        file.unlink(missing_ok=True)
    with cache.lock(f"uml-{name}"):
        directory.mkdir(parents=True, exist_ok=True)
        tree, build = _build(directory, source, env)
        console.note(f"Running {suites} on user-mode Linux with 2 CPUs ...")
        begin = time.monotonic()
        command = _kunit(
            tree,
            build,
            "exec",
            f"--timeout={TIME_LIMIT}",
            "--raw_output=all",
            *(f"--kernel_args={argument}" for argument in KERNEL_ARGUMENTS + race_rounds()),
            suites,
        )
        with raw.open("wb") as output:
            status = subprocess.run(
                command,
                cwd=tree,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        elapsed = time.monotonic() - begin
    return _judge(raw, tap, status, elapsed)


def _judge(raw: Path, tap: Path, status: int, elapsed: float) -> bool:
    """Write the KTAP of a run, show it, and say what was wrong."""
    lines = raw.read_text(errors="replace").splitlines()
    ktap = [str(line) for line in results.kernel_parser().extract_tap_lines(lines)]
    counts = results.parse(ktap, show=True).counts
    scanner = splats.Scanner()
    for line in lines:
        scanner.feed(line)
    reason = None
    if elapsed >= TIME_LIMIT:
        reason = f"it hung and was ended after {TIME_LIMIT} s"
    elif any("Kernel panic" in line for line in lines):
        reason = "the kernel panicked"
    elif status != 0:
        reason = f"kunit.py ended with status {status}"
    elif counts.total() == 0:
        reason = "no test ran"
    elif scanner.reports:
        reason = f"the kernel reported: {scanner.reports[0].title}"
    if counts.total():
        tap.write_text("\n".join(ktap) + "\n")
    if reason is not None:
        # Every test can pass and the run still fail: that must count as a failure too.
        results.write_ktap(
            tap.with_name("kunit-uml-run.tap"),
            [results.Case("kunit-uml", passed=False, problem=reason)],
        )
        console.note(f"KUnit on user-mode Linux failed: {reason}; see {os.path.relpath(raw)}")
    return reason is None and not (counts.failed or counts.crashed or counts.errors)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `kunit`."""
    parser.add_argument("--suites", default=ALL_SUITES, help="glob of suites, on user-mode Linux")
    parser.add_argument("--only", choices=["uml", "x86"], help="one half of the run")


def run(arguments: argparse.Namespace) -> int:
    """Run the suites on user-mode Linux and on x86-64."""
    if arguments.suites != ALL_SUITES and arguments.only != "uml":
        console.fail("All suites run on x86-64: say --only uml as well, or leave --suites out.")
    passed = True
    if arguments.only != "x86":
        passed = run_uml(arguments.suites)
    if arguments.only != "uml":
        from . import scenarios  # noqa: PLC0415 - the virtual machine is not needed for the rest

        passed = scenarios.run_kunit() == 0 and passed
    return 0 if passed else 1
