# SPDX-License-Identifier: GPL-2.0
"""Runs the guest's scenarios, and judges what the kernel printed meanwhile.

The guest says what it saw; the console says what the kernel saw. A scenario has
passed only if both are content, and the result files carry that verdict.
"""

from __future__ import annotations

import argparse
import fnmatch
import itertools
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import (
    console,
    guest_image,
    kernel,
    kernel_source,
    kunit,
    machine,
    paths,
    results,
    selftest,
    splats,
)

# Each with the number of machines that its scenarios share. Delayed releases are waited for more
# than worked for, so two of those machines run well side by side.
FLAVOURS = {"debug-kobject-release": 2, "debug": 1}
KUNIT = "kunit"
# One for each module with suites, in the order in which the guest loads them.
KUNIT_RESULTS = [
    "kunit-x86_64",
    "kunit-x86_64-examples",
    "kunit-x86_64-cxl",
    "kunit-x86_64-cxl-examples",
]
_NO_LEAKS = "no-leaks"
_MACHINE_SECONDS = 300.0
"""For booting, the leak check and powering off, beyond the scenarios' own limits."""

_GRACE_SECONDS = 60.0
"""In which a guest that still runs has said that a scenario has exceeded its limit."""

_SECONDS_PER_ROUND = 3.0
"""What a scenario is given for each round that RACE_ROUNDS asks for; the guest's limit is that."""

_RESULT = re.compile(r"^(?P<verdict>ok|not ok) \d+ (?P<name>\S+)(?: # SKIP ?(?P<skip>.*))?$")
_REMARK = re.compile(r"^# (?P<name>[\w-]+): (?P<text>.*)$")


@dataclass(frozen=True)
class Scenario:
    """What the guest says about one of its scenarios."""

    name: str
    description: str
    seconds: float
    machine: str
    """Of which kind: "shared", "faulty" or "own"."""
    command_line: str
    flavour: str | None
    kernel: str
    """Whose PCI core it is for: "stock" or "patched"."""
    expected: tuple[splats.Expectation, ...]


def known(program: Path) -> list[Scenario]:
    """Ask the guest's runner, which is static and runs here just as well."""
    listed: list[dict[str, Any]] = json.loads(subprocess.check_output([program, "list"]))
    return [
        Scenario(
            name=entry["name"],
            description=entry["description"],
            seconds=entry["seconds"],
            machine=entry["machine"],
            command_line=entry["command_line"],
            flavour=entry["flavour"],
            kernel=entry["kernel"],
            expected=tuple(splats.Expectation(**report) for report in entry["expected"]),
        )
        for entry in listed
    ]


def _limit(scenario: Scenario) -> float:
    """Say how many seconds the guest gives a scenario."""
    return scenario.seconds + _SECONDS_PER_ROUND * kunit.asked_rounds()


def machines(chosen: Sequence[Scenario], count: int = 1) -> list[list[Scenario]]:
    """Group scenarios by the machine that they run in: `count` for those that share one.

    What a faulty module leaves behind must not be blamed on anything else, so those
    scenarios have another one together; but for a single one, which runs last, no
    machine is booted.
    """
    shared = [scenario for scenario in chosen if scenario.machine == "shared"]
    faulty = [scenario for scenario in chosen if scenario.machine == "faulty"]
    together = [group for number in range(count) if (group := shared[number::count])]
    if together and len(faulty) == 1:
        together[-1] += faulty
    elif faulty:
        together.append(faulty)
    return together + [[scenario] for scenario in chosen if scenario.machine == "own"]


class _Progress:
    """Prints a line for each scenario as it ends, from the guest's KTAP."""

    def __init__(self, group: Sequence[Scenario]) -> None:
        self.remarks: dict[str, list[str]] = {}
        self.verdicts: dict[str, tuple[bool, str | None]] = {}
        self._limits = {scenario.name: _limit(scenario) for scenario in group}
        self._running: str | None = None
        self._begun = time.monotonic()

    def feed(self, line: str) -> None:
        """Take a line of the guest's results."""
        remark = _REMARK.match(line)
        if remark and remark["text"] == "begins":
            self._running = remark["name"]
            self._begun = time.monotonic()
        elif remark and remark["name"] != "holdfast":
            self.remarks.setdefault(remark["name"], []).append(remark["text"])
        elif line.startswith("#   "):
            for texts in list(self.remarks.values())[-1:]:
                texts.append(line[4:])
        result = _RESULT.match(line)
        if result:
            self._running = None
            self.verdicts[result["name"]] = (result["verdict"] == "ok", result["skip"])
            if sys.stdout.isatty():
                elapsed = time.monotonic() - self._begun
                console.note(f"    {result['verdict']} {result['name']} ({elapsed:.1f} s)")

    def give_up(self) -> str | None:
        """Say that the whole machine stands still: it did not end a scenario at its limit."""
        if self._running not in self._limits:
            return None
        limit = self._limits[self._running]
        if time.monotonic() - self._begun <= limit + _GRACE_SECONDS:
            return None
        return f"The guest stood still: {self._running} did not end, not even at {limit:.0f} s"


def _judge_machine(
    group: Sequence[Scenario], outcome: machine.Outcome, progress: _Progress
) -> list[results.Case]:
    """Join what the guest said with what its console shows."""
    reports = outcome.scanner.reports
    cases = []
    for scenario in group:
        passed, skipped = progress.verdicts.get(scenario.name, (False, None))
        remarks = progress.remarks.get(scenario.name, [])
        problem = []
        if scenario.name not in progress.verdicts:
            problem.append(f"no result: {outcome.problem or 'the guest did not run it'}")
        elif not passed:
            problem += remarks
        # What was skipped announced its reports in vain.
        expected = () if skipped is not None else scenario.expected
        verdict = splats.judge(reports, scenario.name, expected)
        for report in verdict.unexpected:
            problem += ["the kernel reported, unexpectedly:", *report.lines]
        if scenario.name in progress.verdicts and passed:
            for expectation in verdict.missing:
                problem.append(f"the kernel did not report: {expectation.reason}")
                problem.append(f"  (no report matches /{expectation.pattern}/)")
        good = passed and verdict.clean
        why_not_run = skipped if good else None
        # What a scenario that passed has measured is worth keeping.
        lines = remarks if good else problem
        cases.append(results.Case(scenario.name, good, why_not_run, "\n".join(lines)))
    if _NO_LEAKS in progress.verdicts:
        passed, _ = progress.verdicts[_NO_LEAKS]
        problem = [] if passed else list(progress.remarks.get(_NO_LEAKS, []))
        found = splats.Expectation(r"kmemleak: \d+ new suspected", "what the remarks tell in full")
        for report in splats.judge(reports, _NO_LEAKS, [found]).unexpected:
            problem += ["the kernel reported, unexpectedly:", *report.lines]
        cases.append(results.Case(_NO_LEAKS, not problem, None, "\n".join(problem)))
    return cases + _judge_rest(group, outcome)


def _judge_rest(group: Sequence[Scenario], outcome: machine.Outcome) -> list[results.Case]:
    """Judge the machine itself: how it ended, and what it reported between the scenarios."""
    name = f"machine-of-{group[0].name}"
    problem = []
    if outcome.problem:
        problem.append(f"{outcome.problem}; the end of its console, {outcome.console}:")
        problem += machine.last_lines(outcome.console).splitlines()
    for report in splats.judge(outcome.scanner.reports, splats.OUTSIDE, ()).unexpected:
        problem += ["the kernel reported, outside of all scenarios:", *report.lines]
    return [results.Case(name, not problem, None, "\n".join(problem))]


@dataclass(frozen=True)
class _Job:
    """A machine to boot, and the scenarios to run in it."""

    flavour: str
    built: kernel.Kernel
    base: Path
    group: Sequence[Scenario]

    @property
    def checks_leaks(self) -> bool:
        """Delayed frees would look like leaks, and a faulty module is one."""
        return self.flavour == "debug" and all(s.machine == "shared" for s in self.group)


@dataclass(frozen=True)
class _Done:
    """What came of a job."""

    cases: list[results.Case]
    outcome: machine.Outcome


_printing = threading.Lock()
"""Keeps the verdicts of a machine together."""


def _run_jobs(jobs: Sequence[_Job]) -> list[_Done]:
    """Run machines side by side: each keeps at most little more than one of its CPUs busy."""
    # Asked once, before two ask at the same time.
    machine.accelerator(jobs[0].built.image)
    with machine.side_by_side(4) as pool:
        return list(pool.map(_run_machine, jobs))


def _run_machine(job: _Job) -> _Done:
    """Boot one machine, run its scenarios, and print their verdicts."""
    built, base, group, flavour = job.built, job.base, job.group, job.flavour
    progress = _Progress(group)
    names = [scenario.name for scenario in group]
    name = f"scenarios-{flavour}-{group[0].name}"
    count = "1 scenario" if len(group) == 1 else f"{len(group)} scenarios"
    log = os.path.relpath(paths.BUILD / "console" / f"{name}.log")
    console.note(f"{flavour}: booting for {count}; console in {log}")
    outcome = machine.boot(
        built,
        base,
        name=name,
        run=f"#!/bin/sh\nholdfast-guest run {shlex.join(names)} >/dev/ttyS1\n",
        seconds=_MACHINE_SECONDS + sum(map(_limit, group)),
        command_line=[
            *machine.DEBUG_COMMAND_LINE,
            machine.LEAK_CHECK if job.checks_leaks else machine.NO_LEAK_CHECK,
            # The report first, all of it; then the end.
            "oops=panic",
            *group[0].command_line.split(),
            *kunit.race_rounds(),
        ],
        on_result=progress.feed,
        give_up=progress.give_up,
    )
    cases = _judge_machine(group, outcome, progress)
    if job.checks_leaks and _NO_LEAKS not in progress.verdicts:
        cases.append(results.Case(_NO_LEAKS, False, None, "the guest did not look for leaks"))
    booted = f"{outcome.boot_seconds:.0f} s to boot" if outcome.boot_seconds else "did not boot"
    with _printing:
        console.note(f"{flavour}: done in {outcome.seconds:.0f} s, of that {booted}")
        for case in cases:
            _show(case)
    return _Done(cases, outcome)


def _show(case: results.Case) -> None:
    """Print a compact line for a result, and the reason below it if it failed."""
    word = "skip" if case.skipped is not None else "ok  " if case.passed else "FAIL"
    note = f": {case.skipped}" if case.skipped is not None else ""
    console.note(f"  {word} {case.name}{note}")
    if not case.passed:
        lines = (case.problem or "").splitlines()
        for line in lines[:40]:
            console.note(f"       {line}")
        if len(lines) > 40:
            console.note(f"       ... {len(lines) - 40} more lines in the result file")


def _jobs(flavour: str, every: Sequence[Scenario], program: Path, only: str | None) -> list[_Job]:
    """Make ready what a flavour needs, and list its machines."""
    wanted = [s for s in every if not only or fnmatch.fnmatch(s.name, only)]
    if not wanted:
        console.fail(f"ONLY={only} is no scenario: use {', '.join(s.name for s in every)}.")
    jobs = []
    for variant, count in (("stock", FLAVOURS[flavour]), ("patched", 1)):
        chosen = [s for s in wanted if s.flavour in (None, flavour) and s.kernel == variant]
        if chosen and (variant == "stock" or kernel_source.series_patches()):
            built, base = machine.prepare(flavour, variant, program=program)
            jobs += [_Job(flavour, built, base, group) for group in machines(chosen, count)]
    return jobs


def _judge_kunit(done: _Done) -> bool:
    """Have the kernel's parser judge what the suites printed on the console."""
    printed = done.outcome.scanner.sections.get(KUNIT, [])
    ktap = [str(line) for line in results.kernel_parser().extract_tap_lines(printed)]
    cases = list(done.cases)
    failed = False
    # The library's suites, and the examples of each crate.
    for name, document in itertools.zip_longest(KUNIT_RESULTS, results.separate(ktap)):
        counts = results.parse(document or [], show=True).counts
        if name and counts.total():
            (paths.RESULTS / f"{name}.tap").write_text("\n".join(document) + "\n")
        else:
            problem = "no test ran" if name else "there are more results than modules"
            cases.append(results.Case(f"{name or KUNIT}-ran", passed=False, problem=problem))
        failed |= bool(counts.failed or counts.crashed or counts.errors)
    # Every test can pass and the machine still have something to say.
    results.write_ktap(paths.RESULTS / "kunit-x86_64-run.tap", cases, suite="kunit-x86_64-run")
    return not failed and all(case.passed for case in cases)


def run_all(
    flavours: Sequence[str], only: str | None = None, *, kunit: bool, scenarios: bool = True
) -> bool:
    """Run the scenarios, the KUnit suites, or both; tell whether all is well."""
    paths.RESULTS.mkdir(parents=True, exist_ok=True)
    stale = [*KUNIT_RESULTS, "kunit-x86_64-run"] if kunit else []
    stale += [f"scenarios-{flavour}" for flavour in flavours] if scenarios else []
    for name in stale:
        (paths.RESULTS / f"{name}.tap").unlink(missing_ok=True)

    program = guest_image.guest_program()
    listed = known(program)
    every = [scenario for scenario in listed if scenario.name != KUNIT]
    jobs = []
    if scenarios:
        for flavour in flavours:
            jobs += _jobs(flavour, every, program, only)
    if kunit:
        suites = [scenario for scenario in listed if scenario.name == KUNIT]
        jobs += _jobs("debug", suites, program, None)

    if not jobs:
        return True

    # The machines that run many scenarios take longest, and begin first.
    jobs.sort(key=lambda job: len(job.group), reverse=True)

    good = True
    cases: dict[str, list[results.Case]] = {}
    for job, done in zip(jobs, _run_jobs(jobs), strict=True):
        if job.group[0].name == KUNIT:
            good = _judge_kunit(done) and good
        else:
            cases.setdefault(job.flavour, []).extend(done.cases)
    for flavour, found in cases.items():
        results.write_ktap(
            paths.RESULTS / f"scenarios-{flavour}.tap", found, suite=f"scenarios-{flavour}"
        )
        good = all(case.passed for case in found) and good
    return good


def run_kunit() -> int:
    """Run the library's KUnit suites in the guest."""
    return 0 if run_all((), kunit=True, scenarios=False) else 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what `make scenarios` takes; make hands its variables over in the environment."""
    only = os.environ.get("ONLY")
    parser.add_argument("--only", default=only, help="a scenario's name, or a pattern")
    parser.add_argument("--flavour", action="append", choices=list(FLAVOURS), help="default: all")
    parser.add_argument("--kunit", action="store_true", help="the KUnit suites, too")


def run(arguments: argparse.Namespace) -> int:
    """Run all scenarios on all debug kernels."""
    # First of all the judge is judged.
    good = [selftest.run()]
    good += [run_all(arguments.flavour or list(FLAVOURS), arguments.only, kunit=arguments.kunit)]
    return 0 if all(good) else 1
