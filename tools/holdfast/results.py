# SPDX-License-Identifier: GPL-2.0
"""Results as KTAP, read with the kernel's own parser, so that both agree on what failed."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from . import kernel_source, paths


@dataclass(frozen=True)
class Case:
    """One result; `problem` says what was wrong with one that failed."""

    name: str
    passed: bool
    skipped: str | None = None
    problem: str | None = None


def write_ktap(path: Path, cases: Iterable[Case], *, suite: str | None = None) -> None:
    """Write results as KTAP, below one suite if it is named."""
    listed = list(cases)
    lines = []
    for number, case in enumerate(listed, 1):
        lines += [f"# {line}" for line in (case.problem or "").splitlines()]
        verdict = "ok" if case.passed or case.skipped is not None else "not ok"
        directive = "" if case.skipped is None else f" # SKIP {case.skipped}"
        lines.append(f"{verdict} {number} {case.name}{directive}")
    body = ["KTAP version 1", f"1..{len(listed)}", *lines]
    if suite is not None:
        good = all(case.passed or case.skipped is not None for case in listed)
        nested = ["KTAP version 1", f"# Subtest: {suite}", *body[1:]]
        body = ["KTAP version 1", "1..1", *(f"    {line}" for line in nested)]
        body.append(f"{'ok' if good and listed else 'not ok'} 1 {suite}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(body) + "\n")


@functools.cache
def kernel_parser() -> ModuleType:
    """Import the parser of the kernel's tools/testing/kunit."""
    directory = str(kernel_source.stock().path / "tools/testing/kunit")
    if directory not in sys.path:
        sys.path.append(directory)
    return importlib.import_module("kunit_parser")


def parse(lines: Iterable[str], *, show: bool = False) -> Any:  # noqa: ANN401 - the parser's class
    """Parse console output or a KTAP file into the parser's tree of tests."""
    parser = kernel_parser()
    printers = importlib.import_module("kunit_printer")
    return parser.parse_run_tests(list(lines), printers.stdout if show else printers.null_printer)


def separate(lines: Iterable[str]) -> list[list[str]]:
    """Take apart what the modules of a kernel printed, each a KTAP document of its own."""
    documents: list[list[str]] = []
    for line in lines:
        if line.startswith("KTAP version"):
            documents.append([])
        if documents:
            documents[-1].append(line)
    return documents


def totals(files: Iterable[Path]) -> tuple[int, int, int]:
    """Add up passed, failed and skipped tests; what crashed or is malformed failed."""
    passed = failed = skipped = 0
    for file in files:
        counts = parse(file.read_text(errors="replace").splitlines()).counts
        passed += counts.passed
        failed += counts.failed + counts.crashed
        # The parser's errors are complaints about the form; a run that ended early
        # has them without a failed test.
        if counts.errors and not counts.failed and not counts.crashed:
            failed += 1
        skipped += counts.skipped
    return passed, failed, skipped


def files() -> list[Path]:
    """Return the KTAP files of this run."""
    return sorted(paths.RESULTS.glob("*.tap"))


def start_run() -> None:
    """Remove the results of earlier runs, but for the matrix, which takes hours and goes on.

    Those of make bench are no results of tests.
    """
    paths.RESULTS.mkdir(parents=True, exist_ok=True)
    for file in paths.RESULTS.iterdir():
        keeps = file.match("matrix-*.json") and not file.match("*-quick.json")
        keeps = keeps or file.match("bench*")
        if file.suffix in (".tap", ".log", ".json") and not keeps:
            file.unlink()
