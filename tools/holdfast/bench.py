# SPDX-License-Identifier: GPL-2.0
"""Measures Holdfast beside what it is compared with, in the same runs.

Instructions are counted in a virtual machine whose clock counts them: they repeat. Times are
those of user-mode Linux, which runs natively, and of KVM where there is one: they do not.
Documentation/performance.rst says what is measured, how and why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import (
    bench_picture,
    cache,
    console,
    guest_image,
    intree,
    kernel,
    kernel_source,
    machine,
    modules,
    object_code,
    packages,
    paths,
    toolchain,
)

RECIPE = "1"
INSTRUCTIONS = "instructions"
TIMES = "times"
PARTS = (INSTRUCTIONS, TIMES)

_SECONDS = 900.0
_PREFIX = "holdfast-bench: "
# The suites are no part of what drivers load, nor of what is measured.
_OPTIONS = ("HOLDFAST_BENCH=m", "CONFIG_HOLDFAST_KUNIT_TEST=", "CONFIG_HOLDFAST_EXAMPLES=")
_OBJECTS = (
    "tests/bench/bench.o",
    "tests/bench/peers.o",
    "rust/holdfast.o",
    "rust/helpers/helpers.o",
)
# Two runs of the same are expected to.
_AGREES = 0.005
_CONFIG = paths.CHECKOUT / "tests" / "bench"
_MISSED = _CONFIG / "missed.toml"
_UML = {"uml": ["uml.config"], "uml-preempt": ["uml.config", "uml-preempt.config"]}
# What of a configuration changes the figures.
_SAID = ("PREEMPT", "PREEMPT_LAZY", "PREEMPT_VOLUNTARY", "PREEMPT_NONE", "PREEMPT_RCU", "SMP", "HZ")

OURS = "ours"
_TRY_ACCESS = "Revocable"
# Each of them waits for the readers of one object only.
_ISOLATING = ("srcu", "srcu-fast", "rwsem", "percpu_ref", "mutex")


@dataclass(frozen=True)
class Figure:
    """What one thing took: the value, and between what it varied."""

    value: float
    low: float
    high: float


@dataclass
class Entry:
    """A line of the result."""

    name: str
    unit: str
    ours: float | None
    peers: dict[str, float | None]
    ratio: float | None = None
    """To the peer that the mark names, or to the best one."""
    where: str = ""
    mark: str | None = None
    met: bool | None = None
    checked: bool = False
    """Whether it repeats, so that CHECK=1 can rely on it."""
    spread: dict[str, tuple[float, float]] = field(default_factory=dict)


class Figures:
    """All figures of one machine."""

    def __init__(
        self, name: str, where: str, configuration: dict[str, str], *, exact: bool
    ) -> None:
        """Begin with none. `exact` ones repeat, and the lowest counts."""
        self.name = name
        self.where = where
        self.configuration = configuration
        self.exact = exact
        self._raw: dict[tuple[str, str, int], list[float]] = {}
        self.status: int | None = None

    def read(self, lines: Iterable[str]) -> None:
        """Take the figures out of a kernel's log."""
        for line in lines:
            _, found, text = line.partition(_PREFIX)
            if not found:
                continue
            said = json.loads(text)
            if "done" in said:
                self.status = said["done"]
            elif "row" in said:
                values = [value / said["count"] for value in said["values"]]
                self._raw.setdefault((said["row"], said["who"], said["n"]), []).extend(values)

    def require_complete(self, log: Path) -> None:
        """End with a sentence unless all was measured."""
        if self.status != 0:
            what = "did not come to an end" if self.status is None else f"failed ({self.status})"
            console.fail(f"Measuring on {self.where} {what}: see {os.path.relpath(log)}.")

    def get(self, row: str, who: str, n: int = 1) -> Figure | None:
        """Return a figure; for a short operation, without the loop around it."""
        values = self._raw.get((row, who, n))
        if not values:
            return None
        around = self._raw.get(("empty", "c", 1)) if row in _SHORT else None
        less = min(around) if around and self.exact else statistics.median(around or [0])
        values = [value - less for value in values]
        if self.exact:
            return Figure(min(values), min(values), max(values))
        low, high = min(values), max(values)
        if len(values) > 3:
            low, _, high = statistics.quantiles(values, n=4)
        return Figure(statistics.median(values), low, high)

    def value(self, row: str, who: str, n: int = 1) -> float | None:
        """Return the value alone."""
        found = self.get(row, who, n)
        return None if found is None else found.value

    def who(self, row: str) -> list[str]:
        """Return who was measured."""
        return list(dict.fromkeys(who for known, who, _ in self._raw if known == row))

    def numbers(self, row: str, who: str) -> list[int]:
        """Return the numbers of things with which it was measured."""
        return sorted(n for known, other, n in self._raw if (known, other) == (row, who))


# Rows that are a loop around a call, whose cost is that of "empty".
_SHORT = {
    "access",
    "access-contended",
    "access-atomic",
    "bound",
    "rescan-first",
    "rescan-again",
    "known-1000",
}

_TITLES = {
    "access": "sleepable access, enter and leave",
    "access-contended": "the same, another CPU in the same object",
    "access-atomic": "access in atomic context",
    "bound": "access with what is bound in hand",
    "object": "an object: allocate, register, end",
    "rescan-first": "rescan lock: take and release",
    "rescan-again": "rescan lock: reentry and its release",
}


def _ratio(ours: float | None, other: float | None) -> float | None:
    if ours is None or not other:
        return None
    return ours / other


def _entry(  # noqa: PLR0917 - a line has so many parts
    figures: Figures,
    row: str,
    title: str,
    unit: str,
    n: int = 1,
    peers: Sequence[str] | None = None,
) -> Entry:
    """Put what was measured of one row side by side; without a mark."""
    everybody = [who for who in figures.who(row) if who != OURS]
    others = [who for who in everybody if peers is None or who in peers]
    entry = Entry(title, unit, figures.value(row, OURS, n), {}, where=figures.where)
    for who in others:
        entry.peers[who] = figures.value(row, who, n)
    for who in (OURS, *others):
        found = figures.get(row, who, n)
        if found is not None and not figures.exact:
            entry.spread[who] = (round(found.low, 1), round(found.high, 1))
    known = [value for who, value in entry.peers.items() if value and not who.startswith(OURS)]
    entry.ratio = _ratio(entry.ours, min(known, default=None))
    return entry


def _mark(
    entry: Entry, mark: str, ratio: float | None, fine: Callable[[float], bool], *, checked: bool
) -> Entry:
    """Say which mark there is and whether it is met."""
    entry.mark, entry.ratio, entry.checked = mark, ratio, checked
    entry.met = None if ratio is None else fine(ratio)
    return entry


def _best(entry: Entry, among: Iterable[str]) -> float | None:
    known = [entry.peers[who] for who in among if entry.peers.get(who) is not None]
    return min((value for value in known if value is not None), default=None)


def doors(figures: Figures, unit: str) -> list[Entry]:
    """Compare the ways to get at an object."""
    checked = figures.exact
    found = []
    for row in ("access", "access-contended"):
        if not figures.who(row):
            continue
        entry = _entry(figures, row, _TITLES[row], unit)
        if row == "access":
            # Measured in a row of its own, in the same run.
            entry.peers[_TRY_ACCESS] = figures.value("access-atomic", _TRY_ACCESS)
        best = _best(entry, _ISOLATING)
        below = "fewer than the best that isolates objects"
        found.append(
            _mark(entry, below, _ratio(entry.ours, best), lambda r: r < 1, checked=checked)
        )
        if row == "access":
            again = Entry(
                f"{entry.name}, against try_access()",
                unit,
                entry.ours,
                {_TRY_ACCESS: entry.peers[_TRY_ACCESS]},
                where=figures.where,
            )
            twice = _ratio(entry.ours, entry.peers[_TRY_ACCESS])
            found.append(_mark(again, "at most 2", twice, lambda r: r <= 2, checked=checked))
    atomic = _entry(figures, "access-atomic", _TITLES["access-atomic"], unit)
    other = _ratio(atomic.ours, atomic.peers.get(_TRY_ACCESS))
    found.append(_mark(atomic, "at most 1", other, lambda r: r <= 1, checked=checked))
    found.append(_entry(figures, "bound", _TITLES["bound"], unit))
    return found


def objects(figures: Figures, unit: str) -> list[Entry]:
    """Compare what objects cost, one of them and many."""
    checked = figures.exact
    one = _entry(figures, "object", _TITLES["object"], unit)
    found = [
        _mark(one, "at most 1.05", one.ratio, lambda r: r <= 1.05, checked=checked),
    ]
    for row, what in (("many-register", "register"), ("many-end", "end")):
        for n in figures.numbers(row, OURS):
            entry = _entry(figures, row, f"{what} {n} objects below one", unit, n)
            if n == 10000:
                _mark(entry, "at most 1.1", entry.ratio, lambda r: r <= 1.1, checked=checked)
            found.append(entry)
        if (tenth := _tenth(figures, row, OURS)) is not None:
            linear = Entry(
                f"{what}: ten times as many, each of them",
                "ratio",
                tenth,
                {"device_add": _tenth(figures, row, "device_add")},
                where=figures.where,
            )
            found.append(
                _mark(linear, "at most 1.1", linear.ours, lambda r: r <= 1.1, checked=checked)
            )
    return found


def _tenth(figures: Figures, row: str, who: str) -> float | None:
    few, many = (figures.value(row, who, n) for n in (1000, 10000))
    ratio = _ratio(many, few)
    return None if ratio is None else ratio / 10


def rescan(figures: Figures, code: object_code.ObjectCode, unit: str) -> list[Entry]:
    """Compare the rescan/remove lock with and without an owner."""
    if not figures.who("rescan-first"):
        return []
    first = _entry(figures, "rescan-first", _TITLES["rescan-first"], unit)
    bare = _ratio(first.ours, first.peers.get("mutex"))
    _mark(first, "at most 1.2 times the mutex", bare, lambda r: r <= 1.2, checked=True)
    again = _entry(figures, "rescan-again", _TITLES["rescan-again"], unit)
    # The owner's way is the one with the fewest: the others call something.
    reentry = code.path("holdfast_rescan_lock").fewest
    alone = Entry(
        "rescan lock: reentry alone",
        unit,
        reentry.instructions,
        {},
        where=f"object code of {figures.where.partition(',')[0]}",
        mark="at most 10, and nothing locked",
        met=reentry.instructions <= 10 and reentry.total == 0,
        checked=True,
    )
    return [first, again, alone]


def memory(figures: Figures) -> list[Entry]:
    """Compare bytes."""
    ours = figures.value("bytes", OURS, 0)
    beyond = Entry("memory of an object beyond its own", "bytes", ours, {}, where=figures.where)
    for who in ("Devres", "srcu"):
        beyond.peers[who] = figures.value("bytes", who, 0)
    # Not for CHECK=1, which is about instructions.
    beyond.mark, beyond.met = "at most 64", None if ours is None else ours <= 64
    each = figures.value("bytes-per-cpu", OURS, 0)
    per_cpu = Entry("the same for each CPU", "bytes", each, {}, where=figures.where)
    per_cpu.peers["srcu"] = figures.value("bytes-per-cpu", "srcu", 0)
    per_cpu.mark, per_cpu.met = "none", None if each is None else each == 0
    return [beyond, per_cpu]


_PATHS = {
    "access": (
        _TITLES["access"],
        {
            OURS: ("access", "holdfast_door_leave$"),
            "ours-managed": ("managed", "holdfast_door_leave$"),
            "srcu": ("c_srcu", ""),
            "srcu-fast": ("c_srcu_fast", ""),
            "rwsem": ("c_rwsem", "^up_read"),
            "percpu_ref": ("c_percpu_ref", ""),
            "mutex": ("c_mutex", "^mutex_unlock"),
            "drm_dev_enter": ("c_drm", ""),
            _TRY_ACCESS: ("revocable", ""),
        },
    ),
    "access-atomic": (
        _TITLES["access-atomic"],
        {OURS: ("access_atomic", ""), _TRY_ACCESS: ("revocable", ""), "Devres": ("devres", "")},
    ),
    "rescan-first": (
        _TITLES["rescan-first"],
        {
            OURS: ("rescan_first", "^mutex_lock ^mutex_unlock"),
            "mutex": ("c_rescan_mutex", "^mutex_lock ^mutex_unlock"),
            "v14": ("c_rescan_v14", "^mutex_lock ^mutex_unlock"),
        },
    ),
    "rescan-again": (_TITLES["rescan-again"], {OURS: ("rescan_again", "rescan_unlock$")}),
}


def _opcodes(code: object_code.ObjectCode, name: str) -> list[str]:
    return [text.split()[0] for text in code.text(name) if not text.startswith(("nop", "int3"))]


def locked(code: object_code.ObjectCode, where: str) -> list[Entry]:
    """Compare locked instructions and full barriers."""
    found = []
    for row, (title, ways) in _PATHS.items():
        if not code.has(f"holdfast_bench_{ways[OURS][0]}"):
            continue
        counted = {
            who: code.path(f"holdfast_bench_{name}", must) for who, (name, must) in ways.items()
        }
        entry = Entry(
            f"locked operations and full barriers: {title}",
            "instructions",
            counted[OURS].fewest.total,
            {who: path.fewest.total for who, path in counted.items() if who != OURS},
            where=f"object code of {where}",
            # Those of the ways that are seldom taken are the upper bound.
            spread={who: (path.fewest.total, path.all.total) for who, path in counted.items()},
        )
        if row == "access":
            best = _best(entry, _ISOLATING)
            entry.mark, entry.checked = "no more than the best that isolates objects", True
            if best is not None and entry.ours is not None:
                entry.met = entry.ours <= best
        found.append(entry)
    ours, plain = (_opcodes(code, f"holdfast_bench_{name}") for name in ("bound", "plain"))
    same = Entry(
        "with what is bound in hand: the code",
        "instructions",
        len(ours),
        {"plain": len(plain)},
        where=f"object code of {where}",
    )
    found.append(
        _mark(
            same, "the same", _ratio(len(ours), len(plain)), lambda _: ours == plain, checked=True
        )
    )
    return found


def sizes(files: Iterable[Path]) -> list[Entry]:
    """Report what modules take, beside what the faulty C modules do."""
    found = []
    for file in files:
        output = toolchain.output(["llvm-size", str(file)], toolchain.environment())
        text, data, bss = (int(word) for word in output.splitlines()[-1].split()[:3])
        found.append(
            Entry(f"{file.name}: text", "bytes", text, {}, where="x86-64"),
        )
        found.append(Entry(f"{file.name}: data and bss", "bytes", data + bss, {}, where="x86-64"))
    return found


def times(figures: Figures) -> list[Entry]:
    """Compare what takes time: grace periods, and those who are waited for."""
    found = []
    for n in figures.numbers("unbind", OURS):
        found.append(_entry(figures, "unbind", f"unbind with {n} bound", "ns", n))
    few, hundred, many = (figures.value("unbind", OURS, n) for n in (1, 100, 1000))
    theirs = figures.value("unbind", "Devres", 100)
    grows = Entry("unbind with 1000, to that with 1", "ratio", _ratio(many, few), {})
    grows.where = figures.where
    grows.peers["Devres"] = _ratio(
        figures.value("unbind", "Devres", 1000), figures.value("unbind", "Devres", 1)
    )
    found.append(_mark(grows, "at most 1.5", grows.ours, lambda r: r <= 1.5, checked=False))
    faster = Entry("unbind with 100: Devres to ours", "ratio", _ratio(theirs, hundred), {})
    faster.where = figures.where
    found.append(_mark(faster, "at least 50", faster.ours, lambda r: r >= 50, checked=False))

    for row, what in (("files-idle", "idle"), ("files-blocked", "with a reader asleep")):
        none = figures.value(row, OURS, 0)
        for n in figures.numbers(row, OURS):
            entry = _entry(figures, row, f"unregister, {n} files open, {what}", "ns", n)
            if n and none is not None and entry.ours is not None:
                # The linear part: what is above 1.2 times that without files, for each file.
                each = (entry.ours - 1.2 * none) / n
                entry.mark, entry.met = "below 1.2 times none plus 2000 a file", each < 2000
            found.append(entry)

    alone, beside = (figures.value("stuck", OURS, n) for n in (0, 1))
    if alone is not None and beside is not None:
        stuck = Entry("delay by a reader stuck in another object", "ns", beside - alone, {})
        stuck.where = figures.where
        for who in figures.who("stuck"):
            without, with_ = (figures.value("stuck", who, n) for n in (0, 1))
            if who != OURS and without is not None and with_ is not None:
                stuck.peers[who] = with_ - without
        stuck.mark = "none (below a tenth of the half second that it is stuck)"
        stuck.met = beside - alone < 50e6
        found.append(stuck)
    return found


def configuration(config: Path) -> dict[str, str]:
    """Return what of a kernel's configuration belongs to the figures."""
    options = kernel.options_of(config)
    return {name: options.get(f"CONFIG_{name}", "n") for name in _SAID}


def _named(options: dict[str, str]) -> str:
    chosen = [name for name in _SAID[:4] if options[name] == "y"]
    return f"{' '.join(chosen) or 'no preemption model'}, HZ={options['HZ']}"


@dataclass(frozen=True)
class Guest:
    """A virtual machine's kernel and what it loads."""

    kernel: kernel.Kernel
    output: Path
    base: Path


def _guest() -> Guest:
    packages.ensure("machine")
    built = kernel.ensure("fast", "stock")
    place = paths.BUILD / "guest" / "fast-stock-bench"
    output = place / "modules"
    found = modules.build(built, output, *_OPTIONS)
    loaded = [file for file in found if file.name in ("holdfast.ko", "holdfast_bench.ko")]
    base = guest_image.build(built, place / "base.cpio", modules=loaded, flavour="fast")
    return Guest(built, output, base)


def _boot(guest: Guest, figures: Figures, part: str, *, counts: bool) -> None:
    """Measure in a virtual machine."""
    console.note(f"Measuring on {figures.where} ...")
    directory = "/lib/modules/holdfast"
    script = (
        "#!/bin/sh\n"
        f"insmod {directory}/holdfast.ko && insmod {directory}/holdfast_bench.ko parts={part}\n"
    )
    outcome = machine.boot(
        guest.kernel,
        guest.base,
        name=f"bench-{part}",
        run=script,
        seconds=_SECONDS,
        # What is where in memory decides about a few instructions of the allocator.
        command_line=["nokaslr"] if counts else [],
        on_console=lambda line: figures.read([line]),
        hardware=machine.Hardware(machine="q35", devices=(), counts=counts),
    )
    if outcome.problem or outcome.scanner.reports:
        what = outcome.problem or outcome.scanner.reports[0].title
        console.fail(f"Measuring on {figures.where} failed: {what}; see {outcome.console}.")
    figures.require_complete(outcome.console)


def count_instructions(guest: Guest) -> tuple[Figures, list[Entry]]:
    """Count instructions, in the guest and in object code."""
    said = configuration(guest.kernel.config)
    figures = Figures(INSTRUCTIONS, f"x86-64, {_named(said)}, -icount shift=0", said, exact=True)
    _boot(guest, figures, INSTRUCTIONS, counts=True)
    known = figures.value("known-1000", "c")
    # QEMU 11.1 counts 998 of them, and always the same ones.
    if known is None or not 990 <= known <= 1010:
        console.fail(
            f"The guest's clock counts {known} where there are 1001 instructions: this QEMU's "
            "-icount does not count them, or the guest has another clock."
        )
    objects_ = [guest.output / name for name in _OBJECTS]
    code = object_code.ObjectCode(objects_, guest.kernel.objtree / "vmlinux")
    unit = "instructions"
    found = doors(figures, unit) + locked(code, figures.where.partition(",")[0])
    found += rescan(figures, code, unit) + objects(figures, unit) + memory(figures)
    names = ("holdfast.ko", "holdfast_chardev.ko", "holdfast_sriov_pf.ko")
    of_ours = [guest.output / name for name in names if (guest.output / name).exists()]
    faulty = guest_image.faulty_modules(guest.kernel, guest.output.parent / "faulty")
    found += sizes(of_ours + [file for file in faulty if file.name == "devm_chardev.ko"])
    return figures, found


def _build_uml(flavour: str) -> tuple[Path, Path]:
    """Build user-mode Linux with the library and the bench in it; return it and its config."""
    env = toolchain.environment()
    source = kernel_source.ensure("stock")
    name = cache.key(RECIPE, source.name, toolchain.identity(), *kernel_source.series_patches())
    directory = cache.root() / "uml-bench" / name
    tree, build = directory / "linux", directory / flavour
    with cache.lock(f"uml-bench-{name}"):
        directory.mkdir(parents=True, exist_ok=True)
        if cache.read_stamp(directory / "source") != source.state:
            cache.need_space(directory, paths.versions()["disk"]["uml"], "user-mode Linux")
            kernel_source.copy_of(source, tree)
            cache.write_stamp(directory / "source", source.state)
        intree.sync(tree, ["tests/bench"])
        build.mkdir(exist_ok=True)
        files = [_CONFIG / file for file in _UML[flavour]]
        wanted = kernel.wanted_options(files)
        lines = [
            f"# {option} is not set" if value == "n" else f"{option}={value}"
            for option, value in sorted(wanted.items())
        ]
        asked = "\n".join(lines) + "\n"
        make = toolchain.kernel_make(tree, "ARCH=um", f"O={build}")
        if cache.read_stamp(build / "asked") != asked:
            (build / ".config").write_text(asked)
            console.step(
                f"Configuring user-mode Linux ({flavour})",
                [*make, "olddefconfig"],
                log=paths.LOGS / f"bench-{flavour}-config.log",
                env=env,
            )
            actual = kernel.options_of(build / ".config")
            for option, value in wanted.items():
                if actual.get(option, "n") != value:
                    console.fail(
                        f"{option}={value} of {_CONFIG} did not make it into the configuration of "
                        "user-mode Linux: a dependency is missing there."
                    )
            cache.write_stamp(build / "asked", asked)
        log = paths.LOGS / f"bench-{flavour}-build.log"
        console.step(
            f"Building user-mode Linux ({flavour})",
            [*make, "HOLDFAST_BENCH=y", toolchain.jobs(), "all"],
            log=log,
            env=env,
            expected_lines=cache.expected_lines("uml", paths.versions()["expected_lines"]["uml"])
            if not (build / "linux").exists()
            else None,
        )
    return build / "linux", build / ".config"


def measure_times(flavour: str, cpus: int) -> tuple[Figures, list[Entry]]:
    """Measure times on user-mode Linux."""
    program, config = _build_uml(flavour)
    said = configuration(config)
    where = f"user-mode Linux, {cpus} CPU{'s' if cpus > 1 else ''}, {_named(said)}"
    figures = Figures(f"{flavour}-{cpus}", where, said, exact=False)
    console.note(f"Measuring on {figures.where} ...")
    raw = paths.RESULTS / f"bench-{flavour}-{cpus}.log"
    arguments = ["mem=512M", f"ncpus={cpus}", "seccomp=on", "console=tty", "panic=-1"]
    with raw.open("wb") as log:
        try:
            subprocess.run(
                [str(program), *arguments, f"holdfast_bench.parts={TIMES}"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            console.note(f"It was not done after {_SECONDS:.0f} s")
    figures.read(re.split(r"\r?\n", raw.read_text(errors="replace")))
    figures.require_complete(raw)
    found = doors(figures, "ns") + objects(figures, "ns")
    if cpus == 1:
        # The same code runs on any number of them.
        built = program.parent / "drivers" / "holdfast"
        objects_ = [built / name for name in _OBJECTS]
        code = object_code.ObjectCode(objects_, program.parent / "vmlinux")
        found += locked(code, figures.where)
    return figures, [_unmarked(entry) for entry in found] + times(figures)


def _unmarked(entry: Entry) -> Entry:
    """Return an entry as a report only, as its mark is one of instructions on real processors.

    The variables of a CPU are slow in user-mode Linux, and its atomics are not those of x86-64.
    """
    return replace(entry, mark=None, met=None, checked=False)


def compare(other: Path) -> int:
    """Say which numbers of instructions differ from those of another run."""
    if not other.exists():
        console.fail(f"COMPARE={other} does not exist: name the bench.json of another run.")
    ours = paths.RESULTS / "bench.json"
    if not ours.exists():
        console.fail("There is nothing to compare with: run make bench PART=instructions first.")

    def numbers(file: Path) -> dict[tuple[str, str, str], float]:
        return {
            (entry["where"], entry["name"], who): value
            for entry in json.loads(file.read_text())
            if entry["unit"] == INSTRUCTIONS
            for who, value in {OURS: entry["ours"], **entry["peers"]}.items()
            if value is not None
        }

    here, there = numbers(ours), numbers(other)
    worst, differ = 0.0, 0
    for key in sorted(here.keys() | there.keys()):
        left, right = here.get(key), there.get(key)
        if left is None or right is None:
            console.note(f"{': '.join(key)}: measured in one of the two only")
            differ += 1
            continue
        distance = abs(left - right) / max(abs(left), abs(right), 1e-9)
        worst = max(worst, distance)
        if distance > _AGREES:
            console.note(f"{': '.join(key)}: {_number(left)} and {_number(right)}")
            differ += 1
    console.note(f"{len(here)} numbers of instructions, {differ} differ; at most by {worst:.2%}")
    return 1 if differ or not here else 0


def _write(entries: Sequence[Entry], machines: Sequence[Figures], kvm: str | None) -> None:
    """Write the result; one of a part keeps that of the other one."""
    file = paths.RESULTS / "bench.json"
    listed: list[dict[str, Any]] = []
    if kvm is None and file.exists():
        now = {entry.where for entry in entries}
        listed += [old for old in json.loads(file.read_text()) if old["where"] not in now]
    settings = {figures.where: figures.configuration for figures in machines}
    for entry in entries:
        where = entry.where.removeprefix("object code of ")
        known = next((said for name, said in settings.items() if name.startswith(where)), {})
        listed.append(
            {
                "name": entry.name,
                "unit": entry.unit,
                "ours": entry.ours,
                "peers": entry.peers,
                "ratio": entry.ratio,
                "where": entry.where,
                "config": known,
                "mark": entry.mark,
                "met": entry.met,
                "spread": entry.spread,
                "kvm": kvm or "not measured: a part of the run was asked for",
            }
        )
    paths.RESULTS.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(listed, indent=1) + "\n")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(entries: Sequence[Entry]) -> str:
    """Write the result for people: what was measured where, below one another."""
    lines: list[str] = []
    for where in dict.fromkeys(entry.where for entry in entries):
        lines += ["", f"{where}:"]
        for entry in entries:
            if entry.where != where:
                continue
            verdict = {True: "met", False: "MISSED", None: ""}[entry.met]
            ratio = "" if entry.ratio is None else f"  ratio {entry.ratio:.2f}"
            lines.append(f"  {entry.name}: {_number(entry.ours)} {entry.unit}{ratio}")
            if entry.peers:
                others = [f"{who} {_number(value)}" for who, value in entry.peers.items()]
                lines.append(f"      {', '.join(others)}")
            if entry.mark:
                lines.append(f"      mark: {entry.mark}: {verdict or 'not measured'}")
    return "\n".join(lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the arguments of `bench`."""
    parser.add_argument("--part", choices=PARTS, help="one part of the run")
    parser.add_argument("--compare", type=Path, help="only compare with this bench.json")
    parser.add_argument(
        "--check", action="store_true", help="fail if a mark of instructions is missed that was not"
    )


def check(entries: Sequence[Entry], missed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Say what is worse than it is known to be, of what repeats."""
    checked = [entry for entry in entries if entry.checked]
    if not checked:
        return ["nothing was measured that repeats: leave PART=times out"]
    problems = []
    for entry in checked:
        known = missed.get(entry.name)
        if known is None:
            if entry.met is not True:
                problems.append(f"{entry.name} ({entry.mark}) is missed")
        elif entry.met is True:
            problems.append(f"{entry.name} is met: take it out of {_MISSED.name}")
        elif entry.ours is None or entry.ours > known["ours"] * (1 + _AGREES):
            problems.append(f"{entry.name}: {_number(entry.ours)}, and was {known['ours']}")
    names = {entry.name for entry in checked}
    problems += [
        f"{_MISSED.name} has {name!r}, which there is not" for name in missed.keys() - names
    ]
    return problems


def run(arguments: argparse.Namespace) -> int:
    """Measure, and say which marks are missed."""
    if arguments.compare is not None:
        return compare(arguments.compare)
    paths.RESULTS.mkdir(parents=True, exist_ok=True)
    entries: list[Entry] = []
    machines: list[Figures] = []
    kvm: str | None = None
    if arguments.part != TIMES:
        guest = _guest()
        figures, found = count_instructions(guest)
        machines.append(figures)
        entries += found
        if arguments.part is None and machine.accelerator(guest.kernel.image) == "kvm":
            said = figures.configuration
            figures = Figures("kvm", f"x86-64, {_named(said)}, KVM", said, exact=False)
            _boot(guest, figures, TIMES, counts=False)
            machines.append(figures)
            entries += doors(figures, "ns") + objects(figures, "ns") + times(figures)
            kvm = "measured"
        elif arguments.part is None:
            kvm = "not measured: this machine has no working KVM"
            console.note("Times under KVM are not measured: this machine has no working KVM")
        # What comes next may fail, and this has taken its time.
        _write(entries, machines, kvm)
    if arguments.part != INSTRUCTIONS:
        for flavour in _UML:
            for cpus in (1, 2):
                figures, found = measure_times(flavour, cpus)
                machines.append(figures)
                entries += found
                _write(entries, machines, kvm)
    console.note(table(entries))
    for figures in machines:
        bench_picture.draw(figures, paths.RESULTS)
    missed = [entry for entry in entries if entry.met is False]
    console.note("")
    console.note(f"{len(missed)} of {sum(e.met is not None for e in entries)} marks are missed")
    if arguments.check:
        problems = check(entries, tomllib.loads(_MISSED.read_text()))
        for problem in problems:
            console.note(f"CHECK: {problem}")
        return 1 if problems else 0
    return 0
