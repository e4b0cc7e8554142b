# SPDX-License-Identifier: GPL-2.0
"""Tells the stories that Holdfast is about, while they happen in the guest.

Nothing here is staged: each line is printed because the guest reported that step,
and the kernel's report is the one on its console.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import textwrap
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from . import console, kernel, machine, matrix, splats

_SECONDS = 420.0
_STEPS = ("loaded", "read", "vfs-on", "vfs-off", "stock-c", "unbound", "no-vf-left")
_STEPS += ("unloaded", "library-unloaded")
_STEPS += ("region", "region-written", "region-deleted", "region-again")
_KASAN = splats.Expectation(r"BUG: KASAN: slab-use-after-free in faulty_read", "the fault")
_ANY_KASAN = splats.Expectation(r"BUG: KASAN: slab-use-after-free", "the fault, again")
_RESCAN_LOCK = splats.Expectation(
    r"WARNING: drivers/pci/remove\.c:\d+ at pci_stop_and_remove_bus_device", "the PCI core's own"
)
_TOLD_LINES = 7


def _paint(code: str, text: str) -> str:
    """Colour a text, for people only."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{code}m{text}\033[0m"


def _heading(text: str) -> None:
    console.note("\n" + _paint("1", text))


def _explain(text: str) -> None:
    console.note(textwrap.fill(text, 88))


def _good(text: str) -> None:
    console.note(f"  {_paint('32', '+')} {text}")


def _bad(text: str) -> None:
    console.note(f"  {_paint('31', '!')} {text}")


class _Teller:
    """Turns the guest's steps into a story, as they come."""

    def __init__(self) -> None:
        self.told: dict[str, dict[str, Any]] = {}
        self.kasan_lines: list[str] = []
        self._in_report = False

    def console(self, raw: str) -> None:
        """Keep the lines of KASAN's first report that say what happened."""
        if len(self.kasan_lines) >= _TOLD_LINES:
            return
        line = re.sub(r"^\[\s*\d+\.\d+\] ?", "", raw)
        if "BUG: KASAN" in line:
            self._in_report = True
        says = re.match(r"BUG: KASAN|(?:Read|Write) of size|Allocated by|Freed by", line)
        in_stack = re.match(r" (?:devm_kmalloc|faulty_probe|devres_release|faulty_read)", line)
        if self._in_report and (says or (in_stack and self._after_header())):
            self.kasan_lines.append(line)

    def _after_header(self) -> bool:
        return any("by task" in line and "size" not in line for line in self.kasan_lines)

    def result(self, line: str) -> None:
        """Tell the step that the guest reports."""
        if not line.startswith("{"):
            return
        facts = json.loads(line)
        self.told[facts["step"]] = facts
        getattr(self, "_" + facts["step"].replace("-", "_"))(facts)

    def _loaded(self, facts: dict[str, Any]) -> None:
        _heading("A Rust driver on a PCI device")
        _good("insmod holdfast.ko, insmod holdfast_sriov_pf.ko")
        _good(f"{facts['driver']} is bound to {facts['address']}; it made {facts['node']}")

    def _read(self, facts: dict[str, Any]) -> None:
        _good(f'reading it: "{facts["text"]}", the igb\'s status register')

    def _vfs_on(self, facts: dict[str, Any]) -> None:
        _good(f'echo 2 >sriov_numvfs: {" and ".join(facts["vfs"])} appear; "{facts["text"]}"')

    def _vfs_off(self, facts: dict[str, Any]) -> None:
        _good(f'echo 0 >sriov_numvfs: they are gone; "{facts["text"]}"')
        _heading("The driver is unbound while a process holds the device open: stock C")
        _explain(
            "tests/faulty/devm_chardev.c keeps what open files point to in devm_kzalloc() memory, "
            "which is freed at unbind, as so many drivers do."
        )

    def _stock_c(self, facts: dict[str, Any]) -> None:
        _good(f'open, read: "{facts["before"]}"')
        _good(f"unbind: returned after {facts['milliseconds']} ms")
        _bad(f'read again: "{facts["after"]}", from freed memory; KASAN says:')
        for line in self.kasan_lines:
            console.note(_paint("31", f"      {line[:82]}"))
        _heading("The same with Holdfast")
        _explain(
            "samples/sriov_pf.rs, with no unsafe in it: the memory lives until the last reference "
            "is gone, and what it does ends when the device is unbound."
        )

    def _unbound(self, facts: dict[str, Any]) -> None:
        _good(f'open, read: "{facts["before"]}"')
        _good(f"unbind: returned after {facts['milliseconds']} ms, the file still open")
        _good("read again: ENODEV; open again: no such device")

    def _no_vf_left(self, facts: dict[str, Any]) -> None:
        _good(f"bind again, 2 VFs on, unbind: {facts['milliseconds']} ms, and no VF is left")
        console.note("    (The PCI core sleeps 1 s of that, and warns of a lock that it should")
        console.note("    have taken: see below.)")

    def _unloaded(self, facts: dict[str, Any]) -> None:
        _good(f"rmmod of the driver, a file still open: {facts['milliseconds']} ms; ENODEV")

    def _library_unloaded(self, _facts: dict[str, Any]) -> None:
        _good("close drops the last reference, and rmmod of the library succeeds")

    def _region(self, facts: dict[str, Any]) -> None:
        _heading("A CXL region is deleted under an open file and a touched mapping")
        _explain(
            "samples/cxl_region.rs, with no unsafe in it, is bound to a region and offers its "
            "memory as a file. User space deletes the region while it uses both."
        )
        of = "one memory device" if facts["ways"] == 1 else f"{facts['ways']} memory devices"
        size = facts["size"] >> 20
        _good(f"{facts['name']}, {size} MiB interleaved over {of}, is {facts['node']}")

    def _region_written(self, facts: dict[str, Any]) -> None:
        _good(f"a pattern is written to the file and read through mmap: {facts['checksum']}")

    def _region_deleted(self, facts: dict[str, Any]) -> None:
        _good(f"delete_region: returned after {facts['milliseconds']} ms, the file still open")
        _good("read, write, seek, ioctl, mmap: ENODEV; poll: HUP and ERR")
        _good(f"another process touches what it had mapped: signal {facts['signal']}, SIGBUS")

    def _region_again(self, facts: dict[str, Any]) -> None:
        _good(f"{facts['name']} is created again; the memory has the same checksum")


def _problems(teller: _Teller, outcome: machine.Outcome) -> list[str]:
    """Return what did not happen as told."""
    problems = [outcome.problem] if outcome.problem else []
    missing = [step for step in _STEPS if step not in teller.told]
    if missing:
        problems.append(f"the guest did not come to: {', '.join(missing)}")
    reports = outcome.scanner.reports
    if not splats.judge(reports, "stock-c", [_KASAN, _ANY_KASAN]).clean:
        problems.append("the kernel's reports on the C driver are not KASAN's use after free")
    allowed = {"sample": [], "holdfast": [_RESCAN_LOCK], "region": [], splats.OUTSIDE: []}
    for section, expected in allowed.items():
        for report in splats.judge(reports, section, expected).unexpected:
            problems.append(f"the kernel reported: {report.title}")
    if not problems and outcome.status != 0:
        problems.append(f"the guest ended with exit status {outcome.status}")
    return problems


_RACE = "sriov_numvfs-up+port-remove@port"
_ROUNDS = {"stock": 100, "patched": 20}
"""The stock kernel hung in the sixth round, each of three times."""


def _deadlock(stock: matrix.Result, patched: matrix.Result) -> list[str]:
    """Tell what two processes did to one PF, on both kernels; return what is not as told."""
    _heading("A PF's VFs are enabled while the port above it is removed: the stock PCI core")
    _explain(
        "One process writes 2 to the PF's sriov_numvfs, another 1 to the port's remove. The first "
        "has the PF's device lock and waits for the rescan/remove lock, the second the other way "
        "round: in the PCI core, whatever the driver does."
    )
    problems = []
    if stock.verdict == matrix.HANG:
        _bad(f"round {stock.rounds + 1}: neither returns, and no PCI device can be removed again")
        for side in stock.detail.split("; ")[:2]:
            what, _, stack = side.partition(": ")
            _bad(what)
            for line in textwrap.wrap(stack, 80, max_lines=2):
                console.note(_paint("31", f"      {line}"))
    else:
        problems.append(f"the stock kernel: {stock.verdict}: {stock.detail}")
    _heading("The same with patches/7.3, and the same driver")
    _explain(
        "The owner of the rescan/remove lock lends it to whoever works on the VFs of the device "
        "whose lock it waits for."
    )
    if patched.verdict == matrix.PASS:
        _good(f"{patched.rounds} rounds, {patched.overlaps} of them with both inside at once")
        _good("both returned each time, no VF was left, and the device works; lockdep is silent")
    else:
        problems.append(f"the patched kernel: {patched.verdict}: {patched.detail}")
    console.note("    (make matrix does this with every pair of operations.)")
    return problems


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe what `make demo` takes: nothing yet."""


def run(_arguments: argparse.Namespace) -> int:
    """Boot the debug kernel and tell what happens in it."""
    machine.prepare("debug", "patched")
    built, base = machine.prepare("debug", "stock")
    accelerated = machine.accelerator(built.image)
    _heading("Holdfast: safe lifetimes for Rust drivers in the Linux kernel")
    _explain(
        f"Booting Linux {built.release} with KASAN and lockdep in QEMU, {platform.machine()}, "
        f"under {machine.describe(accelerated)}: a NIC with SR-IOV (igb), an NVMe controller, "
        "CXL memory. This takes a moment."
    )
    with machine.side_by_side(2) as beside:
        stock = beside.submit(matrix.once, "stock", matrix.HOLDFAST, _RACE, _ROUNDS["stock"])
        patched = beside.submit(matrix.once, "patched", matrix.HOLDFAST, _RACE, _ROUNDS["patched"])
        return _tell(built, base, stock, patched)


def _tell(
    built: kernel.Kernel,
    base: Path,
    stock: Future[matrix.Result],
    patched: Future[matrix.Result],
) -> int:
    teller = _Teller()
    outcome = machine.boot(
        built,
        base,
        name="demo",
        run="#!/bin/sh\nexec 2>/dev/kmsg\nholdfast-guest demo >/dev/ttyS1\n",
        seconds=_SECONDS,
        command_line=[*machine.DEBUG_COMMAND_LINE, machine.NO_LEAK_CHECK],
        on_console=teller.console,
        on_result=teller.result,
    )
    problems = _problems(teller, outcome)
    if not problems:
        problems += _deadlock(stock.result(), patched.result())
    if problems:
        console.note("")
        for problem in problems:
            _bad(problem)
        console.fail(f"The demo did not go as told; its console is in {outcome.console}.")
    console.note("")
    console.note(
        _paint(
            "1",
            "Shown: stock C used freed memory, and the stock PCI core hung; Holdfast answered "
            "ENODEV, waited for no file, left no VF and no module behind, and nothing hung.",
        )
    )
    return 0
