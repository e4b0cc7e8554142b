# SPDX-License-Identifier: GPL-2.0
"""Code that the library's types must refuse, and what the compiler says about it.

Each file in tests/compile-fail is a crate that must not compile. It is compiled as
a driver is: with the command that kbuild compiled a sample with, against the same
metadata. Three things are looked at:

- its first lines: what it shows, and which promise of Documentation/design.rst it guards;
- its annotations: `//~ E0597` in the line of an error (`//~^` below it, `//~?` for an
  error outside the file) says which errors there are, and there must be no others;
- NAME.stderr beside it: all that the compiler says. Compilers word things differently,
  so this is compared only with the compiler and the kernel that tests/compile-fail/RUSTC
  names. `make compile-fail BLESS=1` writes these files, and refuses to write one that
  the annotations contradict.

A case is checked without generating code, which is where assertions of generic
constants are evaluated; one that is for such an assertion says `//@ build-fail`.

The files in tests/compile-fail/pass are the same code put right, and must compile
without a warning: a broken set-up refuses them too. tests/compile-fail/auxiliary/example.rs
is a crate that all of them can use.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import console, modules, paths, results, toolchain

DIRECTORY = paths.CHECKOUT / "tests/compile-fail"
MADE_WITH = DIRECTORY / "RUSTC"
SAMPLE = "samples/sriov_pf.o"
CXL = "holdfast_cxl"

# Compilers at a time, and how long one may take
JOBS = 2
TIMEOUT = 120

# An error as the annotations name it: its line in the case (none for an error in
# another file), and its code (an empty one for an error that has none).
Error = tuple[int | None, str]


@dataclass(frozen=True)
class Rustc:
    """How a case is compiled: in the directory of the build, with kbuild's own options."""

    program: str
    options: list[str]
    env: dict[str, str]
    directory: Path
    output: Path
    substitutions: list[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What the compiler says of a file."""

    errors: list[Error]
    warnings: int
    text: str


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a case, if anything is, and its new .stderr."""

    problems: list[str] = field(default_factory=list)
    text: str = ""


def annotations(source: str) -> list[Error]:
    """Read the errors that a case says it has."""
    found: list[Error] = []
    for number, line in enumerate(source.splitlines(), 1):
        for kind, code in re.findall(r"//~(\^*|\?)\s*(\w+)", line):
            where = None if kind == "?" else number - len(kind)
            found.append((where, "" if code == "ERROR" else code))
    return found


def heading(source: str) -> list[str]:
    """Say what is missing of the lines that every case begins with."""
    lines = [line for line in source.splitlines()[1:] if line.strip()]
    text = []
    for line in lines:
        if not line.startswith("//!"):
            break
        text.append(line[3:].strip())
    if not any(text):
        return ["it must begin with a `//!` line that says what it shows"]
    if not re.search(r"\bPromise \d\b", " ".join(text)):
        return ["its `//!` lines must name the promise of Documentation/design.rst that it guards"]
    return []


def _normalised(text: str, file: Path, substitutions: list[tuple[str, str]]) -> str:
    """Take out of the compiler's answer what depends on the machine, and no more."""
    # Longest first, as one directory can be inside another.
    pairs = [(str(file.parent), "$DIR"), *substitutions]
    for path, name in sorted(pairs, key=lambda pair: -len(pair[0])):
        text = text.replace(f"{path}/", f"{name}/")
    # Other files' lines move whenever those are changed. The numbers in the margin are
    # left out by the compiler.
    other = rf"(?!\$DIR/{re.escape(file.name)}:)\S+?"
    text = re.sub(rf"(?m)^( *(?:-->|:::) {other}):\d+:\d+", r"\1:LL:CC", text)
    # How many there are depends on what the kernel's configuration compiles.
    text = re.sub(r"(?m)^( +and )\d+ others$", r"\1COUNT others", text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def _line(span: dict[str, Any], file: Path) -> int | None:
    """Find the line of `file` that a place in the code is in, or was expanded from."""
    while Path(span["file_name"]) != file:
        if not span["expansion"]:
            return None
        span = span["expansion"]["span"]
    return int(span["line_start"])


def read_answer(output: str, file: Path, substitutions: list[tuple[str, str]]) -> Answer:
    """Read the compiler's messages, one JSON object a line."""
    errors: list[Error] = []
    warnings = 0
    rendered = []
    for line in output.splitlines():
        if not line.startswith("{"):
            # A crash of the compiler, or an option that it does not know
            errors.append((None, "not-a-message"))
            rendered.append(f"{line}\n")
            continue
        message = json.loads(line)
        rendered.append(message["rendered"])
        spans = message["spans"]
        if message["level"] == "warning" and spans:
            warnings += 1
        if not message["level"].startswith("error") or message["message"].startswith("aborting"):
            continue
        code = (message["code"] or {}).get("code", "")
        places = {_line(span, file) for span in spans if span["is_primary"]}
        errors += [(place, code) for place in places or {None}]
    return Answer(errors, warnings, _normalised("".join(rendered), file, substitutions))


def differences(expected: list[Error], found: list[Error]) -> list[str]:
    """Compare the errors of a case with its annotations."""

    def named(error: Error) -> str:
        line, code = error
        return f"{code or 'an error without a code'} " + (
            f"in line {line}" if line else "outside the case"
        )

    # How often the compiler says the same of the same line is its own affair, and so is
    # whether it says one thing of several lines in one message or in several.
    problems = [("annotated, but not reported", error) for error in expected if error not in found]
    problems += [("reported, but not annotated", error) for error in found if error not in expected]
    return [f"{what}: {named(error)}" for what, error in dict.fromkeys(problems)]


def judge(source: str, answer: Answer, kept: str | None, *, compare_text: bool) -> list[str]:
    """Say what is wrong with a case that must not compile."""
    problems = heading(source)
    expected = annotations(source)
    if not expected:
        problems.append("it has no annotation (`//~ E0597`) that says which error it is for")
    if not answer.errors:
        problems.append("it compiles, and must not: the library accepts what it promises to refuse")
    problems += differences(expected, answer.errors)
    if problems:
        problems.append("the compiler says:\n" + (answer.text or "(nothing)\n"))
    elif kept is None:
        problems.append("there is no .stderr: make it with BLESS=1, and read it")
    elif compare_text and kept != answer.text:
        problems.append(
            "the compiler does not say what the .stderr says:\n"
            + "".join(
                difflib.unified_diff(
                    kept.splitlines(keepends=True),
                    answer.text.splitlines(keepends=True),
                    "kept",
                    "found",
                )
            )
        )
    return problems


def judge_pass(source: str, answer: Answer) -> list[str]:
    """Say what is wrong with a file that must compile."""
    problems = heading(source)
    if answer.errors or answer.warnings:
        problems.append(f"it must compile without a warning; the compiler says:\n{answer.text}")
    return problems


def compile_file(rustc: Rustc, file: Path, *, emit: str = "metadata") -> Answer:
    """Compile a file as a crate of its own."""
    name = file.stem
    suffix = "rmeta" if emit == "metadata" else "o"
    target = rustc.output / f"lib{name}.{suffix}"
    command = [rustc.program, *rustc.options, f"--crate-name={name}", f"--emit={emit}={target}"]
    command += ["--error-format=json", "-Zui-testing", "-Zwrite-long-types-to-disk=no", str(file)]
    try:
        done = subprocess.run(
            command,
            cwd=rustc.directory,
            env=rustc.env | {"RUST_MODFILE": name},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer([(None, "timeout")], 0, f"rustc did not end within {TIMEOUT} s\n")
    answer = read_answer(done.stderr, file, rustc.substitutions)
    if done.returncode != 0 and not answer.errors:
        answer.errors.append((None, f"status {done.returncode}"))
    return answer


def prepare(output: Path, objtree: Path, env: dict[str, str]) -> Rustc:
    """Take the command from the sample that was built in `output`."""
    build_env, options = modules.rustc_command(output, SAMPLE)
    kept = []
    rest = iter(options)
    for option in rest:
        if option == "--out-dir":
            next(rest)
        elif not option.startswith("--emit="):
            kept.append(option)
    # Its last word is the source file.
    kept.pop()
    # Beside that of the library, where the kernel has what it takes.
    if (output / f"rust/lib{CXL}.rmeta").exists():
        kept += ["--extern", CXL]
    directory = paths.BUILD / "compile-fail"
    directory.mkdir(parents=True, exist_ok=True)
    kept += ["-L", str(directory)]
    env = env | build_env
    program = env.get("RUSTC", "rustc")
    source = (objtree / "source").resolve() if (objtree / "source").exists() else objtree
    sysroot = toolchain.output([program, "--print", "sysroot"], env)
    substitutions = [(str(paths.CHECKOUT), "$HOLDFAST"), (str(objtree), "$KERNEL")]
    substitutions += [(str(source), "$KERNEL"), (f"{sysroot}/lib/rustlib/src/rust", "$RUST")]
    # A kernel of the cache was compiled in a folder of its sources, and says "..".
    here = output.parent / "rust"
    partial = here.with_name(f"rust.{os.getpid()}")
    partial.symlink_to(source / "rust")
    partial.replace(here)
    substitutions.append(("../rust", "$KERNEL/rust"))
    if "RUST_LIB_SRC" in env:
        substitutions.append((str(Path(env["RUST_LIB_SRC"]).parent), "$RUST"))
    rustc = Rustc(program, kept, env, output, directory, substitutions)
    example = DIRECTORY / "auxiliary/example.rs"
    answer = compile_file(rustc, example)
    if answer.errors:
        console.note(answer.text)
        console.fail(
            f"{example.relative_to(paths.CHECKOUT)}, which the cases use, does not compile: "
            "put right what the compiler says above, and run the same command again."
        )
    kept += ["--extern", "example"]
    return rustc


def _versions(program: str, env: dict[str, str], objtree: Path) -> str:
    """Name the compiler and the kernel, as tests/compile-fail/RUSTC does."""
    rustc = " ".join(toolchain.output([program, "--version"], env).split()[:2])
    release = (objtree / "include/config/kernel.release").read_text().strip()
    return f"{rustc}, Linux {re.split('[-+]', release)[0]}"


def _kept_versions() -> str:
    if not MADE_WITH.exists():
        return "nothing"
    lines = MADE_WITH.read_text().splitlines()
    return next((line for line in lines if line and not line.startswith("#")), "nothing")


def _lacks(rustc: Rustc, file: Path) -> str | None:
    """Say why a case cannot be checked with this kernel."""
    if CXL in file.read_text() and CXL not in rustc.options:
        return "this kernel has no CXL, or its source tree is not at hand"
    return None


def _check(rustc: Rustc, file: Path, *, compare_text: bool, bless: bool) -> Verdict:
    source = file.read_text()
    if file.parent != DIRECTORY:
        return Verdict(judge_pass(source, compile_file(rustc, file)))
    emit = "obj" if re.search(r"^//@ build-fail$", source, re.MULTILINE) else "metadata"
    answer = compile_file(rustc, file, emit=emit)
    stderr = file.with_suffix(".stderr")
    kept = stderr.read_text() if stderr.exists() else None
    if bless:
        kept = answer.text
    return Verdict(judge(source, answer, kept, compare_text=compare_text), answer.text)


def _verdicts(
    rustc: Rustc, files: list[Path], *, compare_text: bool, bless: bool
) -> Iterator[tuple[Path, Verdict]]:
    """Check all files, some at a time, in their order."""
    pool = ThreadPoolExecutor(JOBS)
    try:
        futures = [
            pool.submit(_check, rustc, file, compare_text=compare_text, bless=bless)
            for file in files
        ]
        for file, future in zip(files, futures, strict=True):
            yield file, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def check(rustc: Rustc, *, compare_text: bool, bless: bool = False) -> list[results.Case]:
    """Check every case, and write the .stderr files when asked to."""
    failing = sorted(DIRECTORY.glob("*.rs"))
    passing = sorted((DIRECTORY / "pass").glob("*.rs"))
    cases = []
    files = []
    for file in [*failing, *passing]:
        lack = _lacks(rustc, file)
        if lack is None:
            files.append(file)
        else:
            name = str(file.relative_to(DIRECTORY).with_suffix(""))
            cases.append(results.Case(name, passed=True, skipped=lack))
    for file, verdict in _verdicts(rustc, files, compare_text=compare_text, bless=bless):
        name = str(file.relative_to(DIRECTORY).with_suffix(""))
        problem = "\n".join(verdict.problems)
        cases.append(results.Case(name, not verdict.problems, None, problem))
        stderr = file.with_suffix(".stderr")
        if bless and file.parent == DIRECTORY and not verdict.problems:
            if not stderr.exists() or stderr.read_text() != verdict.text:
                console.note(f"blessed {stderr.relative_to(paths.CHECKOUT)}: read it")
            stderr.write_text(verdict.text)
    for stderr in sorted(DIRECTORY.glob("*.stderr")):
        if not stderr.with_suffix(".rs").exists():
            problem = "a .stderr without its .rs: remove it"
            cases.append(results.Case(stderr.name, passed=False, problem=problem))
    for kind, found in (("cases", failing), ("cases that compile", passing)):
        if not found:
            problem = f"there are no {kind}"
            cases.append(results.Case(kind.replace(" ", "_"), passed=False, problem=problem))
    return cases


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `compile-fail`."""
    parser.add_argument("--kdir", type=Path, help="a configured and built kernel")
    parser.add_argument("--bless", action="store_true", help="write the .stderr files")
    parser.set_defaults(kernel="stock", flavour="debug", root=None)


def run(arguments: argparse.Namespace) -> int:
    """Build the modules, then check every case against them."""
    target = modules.target(arguments)
    target.build()
    begin = time.monotonic()
    rustc = prepare(target.output, target.objtree, target.env)
    versions = _versions(rustc.program, rustc.env, target.objtree)
    kept = _kept_versions()
    if arguments.bless:
        if arguments.kdir:
            console.fail("BLESS=1 is for the kernel of the tests: run it without KDIR=.")
        MADE_WITH.write_text(
            "# SPDX-License-Identifier: GPL-2.0\n"
            "# What the .stderr files here were made with\n"
            f"{versions}\n"
        )
        kept = versions
    compare_text = kept == versions and not arguments.kdir
    cases = check(rustc, compare_text=compare_text, bless=arguments.bless)
    results.write_ktap(paths.RESULTS / "compile-fail.tap", cases, suite="compile-fail")

    for case in cases:
        if not case.passed:
            console.note(f"  FAIL {case.name}: {case.problem}")
    if arguments.bless:
        how = "the .stderr files are written anew"
    elif compare_text:
        how = f"all that {versions.partition(',')[0]} says was compared"
    else:
        how = f"lines and codes of errors were compared, as the .stderr files are those of {kept}"
        how += " and its test configuration" if kept == versions else f", and this is {versions}"
    failed = sum(not case.passed for case in cases)
    console.note(
        f"compile-fail: {len(cases) - failed} of {len(cases)} cases pass in "
        f"{console.duration(time.monotonic() - begin)}; {how}"
    )
    return 1 if failed else 0
