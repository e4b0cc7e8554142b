# SPDX-License-Identifier: GPL-2.0
"""Tests of the harness itself: one that cannot fail would prove nothing."""

from __future__ import annotations

import unittest
from collections.abc import Iterator

from . import console, paths, results


def _cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from _cases(item)
        else:
            yield item


def run() -> bool:
    """Run tests/host, which takes no time, and tell whether all passed."""
    loader = unittest.TestLoader()
    tests = list(_cases(loader.discover(str(paths.CHECKOUT / "tests" / "host"))))
    cases = []
    for test in tests:
        outcome = unittest.TestResult()
        # What a test prints is told with its failure, and else not at all.
        outcome.buffer = True
        test.run(outcome)
        found = [text for _, text in [*outcome.failures, *outcome.errors]]
        name = test.id().replace(" ", "_")
        cases.append(results.Case(name, not found, None, "\n".join(found)))
    if not cases:
        cases.append(results.Case("harness", passed=False, problem="tests/host has no tests"))
    results.write_ktap(paths.RESULTS / "harness.tap", cases, suite="harness")
    failed = [case for case in cases if not case.passed]
    console.note(f"harness: {len(cases) - len(failed)} of {len(cases)} tests of its own pass")
    for case in failed:
        console.note(f"  FAIL {case.name}\n{case.problem}")
    return not failed
