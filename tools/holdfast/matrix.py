# SPDX-License-Identifier: GPL-2.0
"""Races every operation on PCI devices against every other one, and makes a table of it.

The guest races (tests/guest/src/race.rs); here cells are handed to machines, two of
which run side by side, and judged. A machine runs cells until one of them leaves it
unfit for the next: hung, or with a report that lockdep gives once. What is known of a
cell is kept as soon as it is known, so a run can be stopped and goes on from there.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import math
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import (
    cache,
    console,
    guest_image,
    kernel,
    kernel_source,
    machine,
    paths,
    results,
    splats,
)

# Raise when cells come to something else although their sources are the same.
RECIPE = "4"

PF_STUB = "pci-pf-stub"
HOLDFAST = "holdfast"
DRIVERS = {"stock": [PF_STUB, HOLDFAST], "patched": [HOLDFAST]}
"""Who drives the PFs, by the kernel."""

MACHINES = 2
_CELLS_OF_A_MACHINE = 12
_ROUNDS = 500
_ROUNDS_WITH_VFS = 100
_PASSES = (100, _ROUNDS)
"""Rounds after which all cells have had so many, so that a run that is stopped leaves no gaps."""

_ROUNDS_WITH_LEAK_CHECK = 10
"""It takes twice the time, and what leaks does so in a few rounds or hardly in hundreds."""

_QUICK_ROUNDS = 4
_QUICK_ROUNDS_THAT_SLEEP = 2
_SILENCE = 300.0
"""Seconds for which a guest that races may say nothing. It says something every 2 s."""

_RUN_SECONDS = 24 * 3600.0
_PROGRESS_SECONDS = 30.0

# A port with both functions of a NIC, and nothing else: finding all devices is part of many cells.
# With ARI the kernel asks function 0 which one is next, and that would otherwise say none.
_DEVICES = (
    ("-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"),
    ("-device", "pcie-root-port,id=rp1,chassis=1,slot=1"),
    ("-device", "igb,id=pf1,bus=rp1,addr=0.1,multifunction=on,romfile="),
    ("-device", "igb,id=pf0,bus=rp1,addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on,romfile="),
)

PASS, HANG, BROKEN, SPLAT, LEAK, NO_OVERLAP = (
    "pass",
    "hang",
    "broken",
    "splat",
    "leak",
    "no-overlap",
)
VERDICTS = (PASS, HANG, BROKEN, SPLAT, LEAK, NO_OVERLAP)

_HUNG = splats.Expectation(r"INFO: task .* blocked (?:for|in)", "a task is blocked")
_LONGEST_DETAIL = 4000


@dataclass(frozen=True)
class Cell:
    """A pair of operations, and what the second is done to; as the guest describes it."""

    name: str
    a: str
    b: str
    target: str
    meaningless: str | None
    vfs: bool
    hotplug: bool
    instant: bool
    """Whether both can be inside at once for an instant only."""

    @property
    def sleeps(self) -> bool:
        """Whether most of its time is the core's sleep."""
        return self.vfs or self.hotplug


@dataclass
class Result:
    """What came of a cell."""

    a: str
    b: str
    target: str
    kernel: str
    driver: str
    rounds: int
    overlaps: int
    verdict: str
    detail: str
    seconds: float = 0.0
    leaks_checked: bool = False
    key: str = ""
    """What it was raced with: sources and kernel."""

    @property
    def name(self) -> str:
        """The cell's."""
        return f"{self.a}+{self.b}@{self.target}"

    def after(self, earlier: Result) -> Result:
        """Return what both come to: these rounds, and those before them, which passed."""
        return replace(
            self,
            rounds=earlier.rounds + self.rounds,
            overlaps=earlier.overlaps + self.overlaps,
            seconds=earlier.seconds + self.seconds,
            leaks_checked=earlier.leaks_checked or self.leaks_checked,
        )


def known(program: Path) -> list[Cell]:
    """Ask the guest's runner, which runs here just as well."""
    listed: list[dict[str, Any]] = json.loads(subprocess.check_output([program, "cells"]))
    return [Cell(**entry) for entry in listed]


def judge(
    told: Mapping[str, Any] | None,
    reports: Sequence[splats.Report],
    leaks: Sequence[str],
    problem: str | None,
    *,
    silent: bool = False,
    instant: bool = False,
) -> tuple[str, str]:
    """Say what a cell came to, and why.

    `told` is what the guest said at its end, None if it never did; then `problem` says how the
    machine ended, and `silent` that it had stopped to answer. Both sides must have met in half of
    the rounds, and in any if `instant` says that they hardly can.
    """
    said = told or {}
    why = [str(said["detail"])] if said.get("detail") else []
    if told is None:
        why.append(problem or "the machine ended within it")
    titles = [report.title for report in reports]
    counted = {title: titles.count(title) for title in titles}
    why += [f"{count} x {title}" if count > 1 else title for title, count in counted.items()]
    if said.get("taint"):
        why.append(f"taint: {said['taint']}")
    if said.get("lockdep_off"):
        why.append("lockdep is off")
    why += [leak.strip() for leak in leaks]
    detail = "; ".join(why)[:_LONGEST_DETAIL]

    hung = said.get("verdict") == "hang" or any(_HUNG.matches(report) for report in reports)
    if hung or silent:
        return HANG, detail
    if said.get("verdict") == "broken" or (told is None and not reports):
        return BROKEN, detail
    if reports or said.get("taint") or said.get("lockdep_off"):
        return SPLAT, detail
    if leaks:
        return LEAK, detail
    rounds, overlaps = int(said["rounds"]), int(said["overlaps"])
    if not overlaps or (2 * overlaps < rounds and not instant):
        return NO_OVERLAP, f"both sides were inside at once in {overlaps} of {rounds} rounds only"
    first, second = said["succeeded"]
    done = f"the first did what it is for {first} times, the second {second} times"
    return PASS, f"of {rounds} rounds, {done}"


class Table:
    """The cells of one kernel and driver, with what is known of them, on disk."""

    def __init__(self, path: Path, key: str, cells: Iterable[Cell], *, anew: bool) -> None:
        """Take up what an earlier run with the same key has left; forget `cells` if `anew`."""
        self.path = path
        self.key = key
        self.results = read_table(path, key)
        if anew:
            for cell in cells:
                self.results.pop(cell.name, None)

    def take_up(self, others: Iterable[Result], driver: str) -> int:
        """Add what another checkout has found with the same key; return of how many cells."""
        count = 0
        for other in others:
            ours = self.results.get(other.name)
            same = (other.key, other.driver) == (self.key, driver)
            if same and (ours is None or (ours.verdict == PASS and ours.rounds < other.rounds)):
                self.results[other.name] = other
                count += 1
        return count

    def set(self, name: str, result: Result) -> None:
        """Keep a result."""
        self.results[name] = result
        listed = {name: asdict(result) for name, result in self.results.items()}
        write_json(self.path, {"key": self.key, "cells": listed})


def read_table(path: Path, key: str) -> dict[str, Result]:
    """Read the results of a table, if they are of the same ingredients."""
    try:
        saved = json.loads(path.read_text())
        if saved["key"] != key:
            return {}
        return {name: Result(**(of | {"key": key})) for name, of in saved["cells"].items()}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _read_list(path: str) -> list[Result]:
    """Read a matrix.json."""
    try:
        return [Result(**result) for result in json.loads(Path(path).read_text())]
    except (OSError, ValueError, TypeError) as error:
        console.fail(f"TAKE_UP={path} is no matrix.json: {error}.")


def _of_present_sources(path: Path) -> dict[str, Result]:
    """Read the results of a table, whatever its kernel, unless the sources have changed."""
    try:
        key = json.loads(path.read_text())["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return read_table(path, key) if key.partition(" ")[0] == sources() else {}


def write_json(path: Path, content: object) -> None:
    """Write a file that is never half written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    partial.replace(path)


def sources() -> str:
    """Name what decides about a cell's result, but for the kernel."""
    wanted = ["rust/**/*", "samples/sriov_*.rs", "tests/guest/src/race/*.rs"]
    wanted += ["tests/guest/src/race.rs", "tests/guest/src/monitor.rs", "Kbuild"]
    found = sorted(path for glob in wanted for path in paths.CHECKOUT.glob(glob) if path.is_file())
    return cache.key(RECIPE, *[part for path in found for part in (path.name, path)])


@dataclass
class Batch:
    """Some cells for one machine."""

    number: int
    jumps: bool
    cells: list[Cell]


@dataclass
class Plan:
    """Which cells are left, and what the next machine gets of them."""

    cells: list[Cell]
    """Those that are left."""
    limit: int
    """At most so many cells for one machine."""
    least: int
    """And so many at least, although the other then has nothing to do."""
    clock: str
    """Of the machines: "jump", "real", or "" for what suits a cell."""
    taken: int = 0

    def _jumps(self, cell: Cell) -> bool:
        return cell.sleeps if self.clock == "" else self.clock == "jump"

    def take(self) -> Batch | None:
        """Return cells for one machine, of the kind of which most are left."""
        kinds = [
            [cell for cell in self.cells if self._jumps(cell) is jumps] for jumps in (False, True)
        ]
        if not self.cells:
            return None
        most = max(kinds, key=len)
        count = min(self.limit, max(self.least, math.ceil(len(most) / MACHINES)))
        chosen = most[:count]
        self.cells = [cell for cell in self.cells if cell not in chosen]
        self.taken += 1
        return Batch(self.taken, self._jumps(chosen[0]), chosen)

    def give_back(self, cells: Iterable[Cell]) -> None:
        """Leave cells for another machine, before all others."""
        self.cells = [*cells, *self.cells]


@dataclass
class _Told:
    """What a guest says while it races."""

    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    leaks: dict[str, list[str]] = field(default_factory=dict)
    leaks_checked: bool = False
    current: str | None = None
    at: float = field(default_factory=time.monotonic)

    def feed(self, line: str) -> str | None:
        """Take a line; return the cell that it ends, if it does."""
        self.at = time.monotonic()
        try:
            facts = json.loads(line)
            event, cell = facts["event"], facts.get("cell")
        except (ValueError, KeyError, TypeError):
            # A remark, or half a line of a machine that has ended.
            return None
        if event == "begins":
            self.current = cell
        elif event == "ends":
            self.ended[cell] = facts
            self.leaks.setdefault(cell, []).extend(facts["leaks"])
            self.current = None
            return str(cell)
        elif event == "leak" and cell is not None:
            self.leaks.setdefault(cell, []).append(facts["detail"])
        elif event == "leaks-checked":
            self.leaks_checked = True
        return None


class _Run:
    """One table being filled, by several machines."""

    def __init__(
        self,
        variant: str,
        driver: str,
        table: Table,
        cells: Sequence[Cell],
        options: argparse.Namespace,
        *,
        say: Callable[[str], None] = console.note,
    ) -> None:
        self.say = say
        self.variant = variant
        self.driver = driver
        self.table = table
        self.options = options
        self.all = list(cells)
        self._before = dict(table.results)
        self._settled: set[str] = set()
        left = [cell for cell in cells if self._rounds(cell)]
        self._wanted = len(left)
        # A quick run is short of time, and boots no more machines than it must.
        half = max(1, math.ceil(len(left) / MACHINES))
        limit, least = (half, half) if options.quick else (_CELLS_OF_A_MACHINE, 3)
        clock = options.clock or ("jump" if options.quick else "")
        self.plan = Plan(left, limit, least, clock)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._busy = 0
        self._begun = time.monotonic()
        self._said = self._begun
        self._done = 0.0
        self._not_begun: dict[str, int] = {}

    def fill(self) -> None:
        """Run machines until nothing is left."""
        if not self.plan.cells:
            return
        if self.options.at_most is not None:
            many = f"up to {self.options.at_most} rounds"
            checked = "" if self.options.leaks == "never" else ", leaks looked for"
            self.say(f"{many} each{checked}: {self._wanted} of {len(self.all)} cells are left")
        self.built, self.base = machine.prepare(self.options.flavour, self.variant)
        # Asked once, before two ask at the same time.
        machine.accelerator(self.built.image)
        with machine.side_by_side(MACHINES) as pool:
            for worker in [pool.submit(self._work) for _ in range(MACHINES)]:
                worker.result()

    def _work(self) -> None:
        while (batch := self._next()) is not None:
            left = batch.cells
            try:
                left = self._run_machine(batch)
            finally:
                with self._changed:
                    self._busy -= 1
                    self.plan.give_back(left)
                    self._changed.notify_all()

    def _next(self) -> Batch | None:
        """Return cells for another machine; None when nothing is left, and no one can leave any."""
        with self._changed:
            while not machine.interrupted():
                batch = self.plan.take()
                if batch is not None:
                    self._busy += 1
                    return batch
                if not self._busy:
                    return None
                self._changed.wait(1)
        return None

    def _rounds(self, cell: Cell) -> int:
        """Say how many rounds of a cell this run has to do, after those that are known."""
        wanted = rounds_of(cell, self.options)
        known_ = self._before.get(cell.name)
        if known_ is None:
            return wanted
        if known_.verdict != PASS:
            return 0
        if self.options.leaks != "never" and not known_.leaks_checked:
            return wanted
        return max(0, wanted - known_.rounds)

    def _run_machine(self, batch: Batch) -> list[Cell]:
        """Boot a machine for some cells, and return those that it did not come to."""
        told = _Told()
        by_name = {cell.name: cell for cell in batch.cells}
        words = [self.driver, self.options.leaks]
        words += [f"{cell.name}={self._rounds(cell)}" for cell in batch.cells]
        scanner = splats.Scanner()
        silent = False

        def on_result(line: str) -> None:
            ended = told.feed(line)
            if ended is not None and ended in by_name:
                # Judged again when the whole console is there.
                self._keep(by_name[ended], told, scanner.reports, None)
                self._progress(by_name[ended])

        def give_up() -> str | None:
            nonlocal silent
            if told.current and time.monotonic() - told.at > _SILENCE:
                silent = True
                return f"The guest said nothing for {_SILENCE:.0f} s"
            return None

        outcome = machine.boot(
            self.built,
            self.base,
            name=f"matrix-{self.variant}-{self.driver}-{batch.number}",
            run=f"#!/bin/sh\nexec holdfast-guest race {shlex.join(words)} >/dev/ttyS1\n",
            seconds=_RUN_SECONDS,
            command_line=[
                *machine.DEBUG_COMMAND_LINE,
                machine.NO_LEAK_CHECK if self.options.leaks == "never" else machine.LEAK_CHECK,
                "oops=panic",
                # Much of a round went into the interpreter of ACPI's tables, which was asked at
                # each bind for the line of an interrupt that nobody uses.
                "acpi=noirq",
                # The thread of a hotplug port goes before all others on its CPU; it must not
                # keep the side waiting that is to meet it.
                "irqaffinity=0",
            ],
            on_console=scanner.feed,
            on_result=on_result,
            hardware=machine.Hardware("q35", _DEVICES, batch.jumps, monitor_inside=True),
            give_up=give_up,
        )
        for name in told.ended:
            self._keep(by_name[name], told, scanner.reports, outcome.problem)
        if machine.interrupted():
            return [cell for cell in batch.cells if cell.name not in told.ended]
        if told.current is not None:
            self._keep(by_name[told.current], told, scanner.reports, outcome.problem, silent=silent)
            self._progress(by_name[told.current])
        elif not told.ended:
            self._did_not_begin(batch, told, scanner.reports, outcome)
        return [cell for cell in batch.cells if cell.name not in self._settled]

    def _did_not_begin(
        self,
        batch: Batch,
        told: _Told,
        reports: Sequence[splats.Report],
        outcome: machine.Outcome,
    ) -> None:
        """Give up on a cell whose machine twice did not get so far; it is not what is wrong."""
        first = batch.cells[0]
        with self._lock:
            count = self._not_begun[first.name] = self._not_begun.get(first.name, 0) + 1
        if count < 2:
            return
        outside = [report.title for report in reports if report.section == splats.OUTSIDE]
        why = outcome.problem or f"The guest ended with exit status {outcome.status}"
        console.fail(
            f"The machines do not get as far as the first race ({'; '.join([why, *outside])}): "
            f"see {outcome.console}, and the lines below.\n{machine.last_lines(outcome.console)}"
        )

    def _keep(
        self,
        cell: Cell,
        told: _Told,
        reports: Sequence[splats.Report],
        problem: str | None,
        *,
        silent: bool = False,
    ) -> None:
        said = told.ended.get(cell.name)
        ours = [report for report in reports if report.section == cell.name]
        leaks = told.leaks.get(cell.name, [])
        verdict, detail = judge(said, ours, leaks, problem, silent=silent, instant=cell.instant)
        said = said or {}
        result = Result(
            a=cell.a,
            b=cell.b,
            target=cell.target,
            kernel=self.variant,
            driver=self.driver,
            rounds=int(said.get("rounds", 0)),
            overlaps=int(said.get("overlaps", 0)),
            verdict=verdict,
            detail=detail,
            seconds=float(said.get("milliseconds", 0)) / 1000,
            leaks_checked=told.leaks_checked
            or (self.options.leaks == "each" and said.get("verdict") == "ok"),
            key=self.table.key,
        )
        if cell.name in self._before:
            result = result.after(self._before[cell.name])
        with self._lock:
            self._settled.add(cell.name)
            self.table.set(cell.name, result)

    def _weight(self, cell: Cell) -> float:
        return self._rounds(cell) * (1.0 + 2.0 * cell.vfs + 2.0 * cell.hotplug)

    def _progress(self, cell: Cell) -> None:
        """Say how far it is: for each cell, or in a quick run now and then."""
        result = self.table.results[cell.name]
        now = time.monotonic()
        with self._lock:
            self._done += self._weight(cell)
            if (
                self.options.quick
                and result.verdict == PASS
                and (now - self._said < _PROGRESS_SECONDS)
            ):
                return
            self._said = now
            settled = self._settled
            left = sum(self._weight(other) for other in self.all if other.name not in settled)
            elapsed = now - self._begun
            self.say(
                f"[{len(settled)}/{self._wanted}] {title(self.variant, self.driver)}: "
                f"{cell.a} + {cell.b} on {cell.target}: {result.verdict}, {result.rounds} rounds, "
                f"{result.overlaps} overlaps; {hours(elapsed)} so far, about "
                f"{hours(elapsed * left / self._done)} to go"
            )
            if result.verdict != PASS:
                self.say(f"    {result.detail[:300]}")


def rounds_of(cell: Cell, options: argparse.Namespace) -> int:
    """Say how many rounds of a cell are asked for."""
    if options.rounds is not None:
        wanted = int(options.rounds)
    elif options.quick:
        wanted = _QUICK_ROUNDS_THAT_SLEEP if cell.sleeps else _QUICK_ROUNDS
    else:
        wanted = _ROUNDS_WITH_VFS if cell.vfs else _ROUNDS
    return wanted if options.at_most is None else min(wanted, options.at_most)


def hours(seconds: float) -> str:
    """Write a long time as people do."""
    if seconds < 3600:
        return console.duration(seconds)
    return f"{int(seconds) // 3600} h {int(seconds) % 3600 // 60:02d} min"


def title(variant: str, driver: str) -> str:
    """Name a table for people."""
    return f"{variant} kernel, {driver}"


def table_path(variant: str, driver: str, *, quick: bool) -> Path:
    """Where what is known of a table is kept."""
    return paths.RESULTS / f"matrix-{variant}-{driver}{'-quick' if quick else ''}.json"


def _both(quick: Mapping[str, Result], whole: Mapping[str, Result]) -> dict[str, Result]:
    """Put a quick and a long run together: the long one counts, unless it missed a failure."""
    failed = {name for name, result in quick.items() if result.verdict != PASS}
    missed = {name for name in failed if name in whole and whole[name].verdict == PASS}
    return {**quick, **{name: whole[name] for name in whole if name not in missed}}


def _write_whole() -> Path:
    """Put all tables of the present sources into one file."""
    whole: list[dict[str, object]] = []
    for variant, drivers in DRIVERS.items():
        for driver in drivers:
            quick, long = (
                _of_present_sources(table_path(variant, driver, quick=is_quick))
                for is_quick in (True, False)
            )
            whole += [asdict(result) for result in _both(quick, long).values()]
    path = paths.RESULTS / "matrix.json"
    write_json(path, whole)
    return path


def _summary(cells: Sequence[Cell], table: Table) -> str:
    """Count verdicts, in the order of how bad they are, and say how much they rest on."""
    found = [table.results[cell.name] for cell in cells if cell.name in table.results]
    if not found:
        return "nothing run"
    verdicts = [result.verdict for result in found]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in VERDICTS if verdict in verdicts]
    if missing := len(cells) - len(found):
        counts.append(f"{missing} not run")
    rounds, overlaps = sum(result.rounds for result in found), sum(r.overlaps for r in found)
    text = f"{', '.join(counts)}; {rounds} rounds, {overlaps} overlaps"
    passed = [result.rounds for result in found if result.verdict == PASS]
    return text + (f"; {min(passed)} rounds or more of each that passes" if passed else "")


def _conclude(name: str, cells: Sequence[Cell], table: Table) -> None:
    """Say what a table has come to, and name what does not pass."""
    for cell in cells:
        result = table.results.get(cell.name)
        if result is not None and result.verdict != PASS:
            console.note(f"  {result.verdict:10} {cell.name}: {result.detail[:160]}")
    console.note(f"{name}: {_summary(cells, table)}")


def _write_ktap(variant: str, driver: str, cells: Sequence[Cell], table: Table) -> None:
    """Let `make test` count the cells of a kernel that is to have no bad one."""
    cases = []
    for cell in cells:
        result = table.results.get(cell.name)
        good = result is not None and result.verdict == PASS
        problem = None if good else f"{result.verdict}: {result.detail}" if result else "not run"
        cases.append(results.Case(cell.name, good, None, problem))
    results.write_ktap(paths.RESULTS / f"matrix-{variant}.tap", cases, suite=f"matrix-{driver}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what `make matrix` takes; make hands its variables over in the environment."""
    env = os.environ.get
    add = parser.add_argument
    add("--kernel", default=env("KERNEL", "patched"), choices=list(DRIVERS))
    add("--flavour", default=env("FLAVOUR", "debug"), choices=list(kernel.FRAGMENTS))
    add("--driver", default=env("DRIVER"), help="only this one of the kernel's drivers")
    add("--only", default=env("ONLY"), help="a cell, a+b@target, or a pattern")
    add("--quick", action="store_true", default=env("QUICK", "") not in ("", "0"))
    add("--rounds", type=int, default=env("ROUNDS"))
    add("--clock", default=env("CLOCK", ""), choices=["", "jump", "real"])
    add("--leaks", default=env("LEAKS"), choices=["never", "each", "end"])
    add("--take-up", default=env("TAKE_UP"), help="a matrix.json of another checkout")
    add("--again", action="store_true", default=env("AGAIN", "") not in ("", "0"))


def once(variant: str, driver: str, name: str, rounds: int) -> Result:
    """Race one cell on a machine of its own, and say nothing: for the demo."""
    options = argparse.Namespace(
        flavour="debug",
        quick=True,
        clock="",
        leaks="never",
        rounds=rounds,
        at_most=None,
    )
    cells = [cell for cell in known(guest_image.guest_program()) if cell.name == name]
    table = Table(paths.BUILD / "demo" / f"{variant}-{driver}.json", "", cells, anew=True)
    _Run(variant, driver, table, cells, options, say=lambda _text: None).fill()
    return table.results[name]


def _passes(options: argparse.Namespace) -> list[argparse.Namespace]:
    """Divide what is asked for into runs over all cells, each with more rounds than the last."""

    def one(leaks: str, at_most: int | None = None) -> argparse.Namespace:
        return argparse.Namespace(**(vars(options) | {"leaks": leaks, "at_most": at_most}))

    if options.quick:
        return [one(options.leaks or "never")]
    whole = [one(options.leaks or "never", at_most) for at_most in _PASSES]
    # A report says when its memory was allocated, and so in which cell.
    return whole if options.leaks else [one("end", _ROUNDS_WITH_LEAK_CHECK), *whole]


def run(options: argparse.Namespace) -> int:
    """Fill the tables of a kernel."""
    if options.kernel == "patched" and not kernel_source.series_patches():
        console.fail("KERNEL=patched is the stock kernel without patches/7.3: restore that folder.")
    drivers = DRIVERS[options.kernel]
    if options.driver:
        if options.driver not in drivers:
            console.fail(f"DRIVER={options.driver} is no driver here: use {' or '.join(drivers)}.")
        drivers = [options.driver]
    every = known(guest_image.guest_program())
    cells = [cell for cell in every if cell.meaningless is None]
    pattern = options.only or "*"
    chosen = [cell for cell in cells if fnmatch.fnmatch(cell.name, pattern)]
    if not chosen:
        console.fail(f"ONLY={pattern} is no cell: they are called like {cells[0].name}.")
    console.note(
        f"{len(chosen)} of {len(every)} pairs are raced; {len(every) - len(cells)} are meaningless"
    )
    built, _ = machine.prepare(options.flavour, options.kernel)
    key = f"{sources()} {built.modules.parent.name}"
    good = True
    try:
        for driver in drivers:
            path = table_path(options.kernel, driver, quick=options.quick)
            # A quick run is a test, which answers for now.
            table = Table(path, key, chosen, anew=options.again or options.quick)
            if options.take_up:
                count = table.take_up(_read_list(options.take_up), driver)
                console.note(f"{count} cells of {options.take_up} are taken up")
            try:
                for part in _passes(options):
                    _Run(options.kernel, driver, table, chosen, part).fill()
            finally:
                _conclude(title(options.kernel, driver), chosen, table)
            if options.kernel == "patched":
                _write_ktap(options.kernel, driver, chosen, table)
                good = good and all(table.results[cell.name].verdict == PASS for cell in chosen)
    finally:
        console.note(f"The matrix is in {os.path.relpath(_write_whole())}")
    sys.stdout.flush()
    return 0 if good else 1
