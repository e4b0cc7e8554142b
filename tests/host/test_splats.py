# SPDX-License-Identifier: GPL-2.0
"""Shows that the console scanner can fail: it gets real reports, whole and torn."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import splats

KASAN = """\
[   21.400001] ==================================================================
[   21.400002] BUG: KASAN: slab-use-after-free in faulty_read+0x9f/0x130 [devm_chardev]
[   21.400003] Read of size 4 at addr ffff888007a3c3d8 by task holdfast-guest/78
[   21.400004]
[   21.400005] CPU: 1 UID: 0 PID: 78 Comm: holdfast-guest Tainted: G           O        7.3.4 #1
[   21.400006] Call Trace:
[   21.400007]  <TASK>
[   21.400008]  dump_stack_lvl+0x69/0x90
[   21.400009]  faulty_read+0x9f/0x130 [devm_chardev]
[   21.400010]  </TASK>
[   21.400011] Allocated by task 77:
[   21.400012]  devm_kmalloc+0x5c/0x120
[   21.400013] Freed by task 78:
[   21.400014]  devres_release_all+0x12c/0x1a0
[   21.400015] ==================================================================
[   21.400016] Disabling lock debugging due to kernel taint
"""

WARNING = """\
[   30.000001] ------------[ cut here ]------------
[   30.000002] WARNING: drivers/pci/remove.c:128 at pci_stop_and_remove_bus_device+0x5e, CPU#0: sh
[   30.000003] Modules linked in: holdfast_sriov_pf(O) holdfast(O)
[   30.000004] RIP: 0010:pci_stop_and_remove_bus_device+0x5e/0x70
[   30.000005] Call Trace:
[   30.000006]  <TASK>
[   30.000007]  pci_iov_remove_virtfn+0x1b0/0x230
[   30.000008]  </TASK>
[   30.000009] ---[ end trace 0000000000000000 ]---
"""

REFCOUNT = """\
[   31.000001] ------------[ cut here ]------------
[   31.000002] refcount_t: underflow; use-after-free.
[   31.000003] WARNING: lib/refcount.c:28 at refcount_warn_saturate+0xb2/0x110, CPU#1: rmmod/70
[   31.000004] Call Trace:
[   31.000005] ---[ end trace 0000000000000000 ]---
"""

LOCKDEP = """\
[   40.000001] ======================================================
[   40.000002] WARNING: possible circular locking dependency detected
[   40.000003] 7.3.4 #1 Tainted: G           O
[   40.000004] ------------------------------------------------------
[   40.000005] sh/60 is trying to acquire lock:
[   40.000006] stack backtrace:
[   40.000007] Call Trace:
[   40.000008]  <TASK>
[   40.000009]  __lock_acquire+0x15a3/0x2530
[   40.000010]  </TASK>
"""

HUNG = """\
[   61.000001] INFO: task sh:60 blocked for more than 20 seconds.
[   61.000002]       Tainted: G           O        7.3.4 #1
[   61.000003] "echo 0 > /proc/sys/kernel/hung_task_timeout_secs" disables this message.
[   61.000004] task:sh state:D stack:0 pid:60
[   61.000005] Call Trace:
[   61.000006]  <TASK>
[   61.000007]  schedule+0x6b/0x110
[   61.000008]  </TASK>
"""

OOPS = """\
[   70.000001] BUG: kernel NULL pointer dereference, address: 0000000000000008
[   70.000002] #PF: supervisor read access in kernel mode
[   70.000003] Oops: Oops: 0000 [#1] SMP KASAN
[   70.000004] RIP: 0010:faulty_read+0x9f/0x130 [devm_chardev]
[   70.000005] Call Trace:
[   70.000006] ---[ end trace 0000000000000000 ]---
[   70.000007] Kernel panic - not syncing: Fatal exception
"""

SINGLE_LINES = (
    "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:591",
    "BUG: scheduling while atomic: sh/60/0x00000002",
    "WARNING: suspicious RCU usage",
    "WARNING: inconsistent lock state",
    "WARNING: possible recursive locking detected",
    "ODEBUG: free active (active state 0) object: 00000000 object type: work_struct",
    "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
    "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [rmmod:70]",
    "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
    "kobject: 'pf0' ((____ptrval____)): does not have a release() function, it is broken",
    "Device 'pf0' does not have a release() function, it is broken and must be fixed.",
    "sysfs: cannot create duplicate filename '/class/holdfast_pf'",
    "list_del corruption. prev->next should be ffff88, but was dead000000000100",
    "UBSAN: array-index-out-of-bounds in drivers/x.c:10:3",
    "kernel BUG at mm/slub.c:563!",
    "Oops: general protection fault, probably for non-canonical address 0xdffffc0000000000",
    "pci 0000:01:00.0: driver left SR-IOV enabled after remove",
    "unreferenced object 0xffff888005a6b000 (size 512):",
    "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
    "BUG kmalloc-64 (Tainted: G           O): Poison overwritten",
    "rust_kernel: panicked at samples/sriov_pf.rs:10:5:",
    "** 37 printk messages dropped **",
    "Call Trace:",
    "Disabling lock debugging due to kernel taint",
)

HARMLESS = """\
[    0.000000] kmemleak: Kernel memory leak detector initialized (mem pool available: 39000)
[    0.000001] KernelAddressSanitizer initialized (generic)
[    0.000002] Warning: unable to open an initial console.
[    0.000003] PCI: if necessary, use "pci=nocrs" and report a bug
[    0.000004] NMI watchdog: Enabled. Permanently consumes one hw-PMU counter.
[    0.000005] watchdog: Delayed init of the lockup detector failed: -19
[    5.000006] holdfast: loading out-of-tree module taints kernel.
[    5.000007] ODEBUG: selftest passed
[    5.000008]     ok 1 unregister_happens_once
"""


def scan(text: str) -> splats.Scanner:
    """Feed a whole console."""
    scanner = splats.Scanner()
    for line in text.splitlines():
        scanner.feed(line)
    return scanner


def section(name: str, text: str) -> str:
    """Put a console's lines between a scenario's markers."""
    begins = f"[    1.000000] holdfast: scenario {name} begins\n"
    return f"{begins}{text}[    9.000000] holdfast: scenario {name} ends\n"


class Reports(unittest.TestCase):
    """What counts as a report."""

    def test_every_kind_is_one_report(self) -> None:
        """A report is found once, not once for each of its lines."""
        for text in (KASAN, WARNING, REFCOUNT, LOCKDEP, HUNG):
            with self.subTest(text.splitlines()[1]):
                self.assertEqual(len(scan(text).reports), 1)

    def test_oops_then_panic(self) -> None:
        """A panic is a report of its own."""
        titles = [report.title for report in scan(OOPS).reports]
        self.assertEqual(len(titles), 2)
        self.assertIn("NULL pointer", titles[0])
        self.assertIn("Kernel panic", titles[1])

    def test_single_lines(self) -> None:
        """Also what comes without a stack, also with other output before it."""
        for line in SINGLE_LINES:
            with self.subTest(line):
                self.assertEqual(len(scan(f"[    3.141592] {line}").reports), 1)
                self.assertEqual(len(scan(f"half a line[    3.141592][  T55] {line}").reports), 1)

    def test_harmless(self) -> None:
        """What a healthy kernel says is no report."""
        self.assertEqual([r.title for r in scan(HARMLESS).reports], [])

    def test_nothing_hides_behind_another(self) -> None:
        """Reports that follow one another, or interrupt one another, all count."""
        self.assertEqual(len(scan(WARNING + KASAN + LOCKDEP + HUNG + REFCOUNT).reports), 5)
        torn = KASAN.splitlines()[:6] + WARNING.splitlines()
        self.assertEqual(len(scan("\n".join(torn)).reports), 2)
        torn = WARNING.splitlines()[:5] + KASAN.splitlines()
        self.assertEqual(len(scan("\n".join(torn)).reports), 2)

    def test_two_warnings_in_one_breath(self) -> None:
        """A second warning is not part of an unfinished first one."""
        torn = WARNING.splitlines()[:4] + REFCOUNT.splitlines()
        self.assertEqual(len(scan("\n".join(torn)).reports), 2)


class Judgement(unittest.TestCase):
    """Whom a report belongs to, and whether it was announced."""

    rescan = splats.Expectation(r"WARNING: drivers/pci/remove\.c:\d+ at pci_stop_and", "stock")

    def test_unexpected(self) -> None:
        """A report that nobody announced fails the scenario that it appears in, and no other."""
        scanner = scan(section("a", KASAN) + section("b", HARMLESS))
        self.assertFalse(splats.judge(scanner.reports, "a", []).clean)
        self.assertTrue(splats.judge(scanner.reports, "b", []).clean)
        self.assertTrue(splats.judge(scanner.reports, splats.OUTSIDE, []).clean)

    def test_announced(self) -> None:
        """An announced report is fine, but only that one."""
        scanner = scan(section("a", WARNING) + section("b", WARNING + REFCOUNT))
        self.assertTrue(splats.judge(scanner.reports, "a", [self.rescan]).clean)
        verdict = splats.judge(scanner.reports, "b", [self.rescan])
        self.assertEqual(len(verdict.unexpected), 1)
        self.assertIn("refcount_t", verdict.unexpected[0].title)

    def test_announced_elsewhere(self) -> None:
        """An announcement covers its own scenario only, and must come true there."""
        scanner = scan(section("a", HARMLESS) + section("b", WARNING))
        verdict = splats.judge(scanner.reports, "a", [self.rescan])
        self.assertEqual(verdict.missing, [self.rescan])
        self.assertFalse(splats.judge(scanner.reports, "b", []).clean)

    def test_between_scenarios(self) -> None:
        """A report between scenarios belongs to the machine."""
        scanner = scan(section("a", HARMLESS) + LOCKDEP)
        self.assertFalse(splats.judge(scanner.reports, splats.OUTSIDE, []).clean)

    def test_unfinished_report_at_the_end_of_a_section(self) -> None:
        """A report that was cut off still counts, where it began."""
        scanner = scan(section("a", "\n".join(LOCKDEP.splitlines()[:4]) + "\n") + HARMLESS)
        self.assertFalse(splats.judge(scanner.reports, "a", []).clean)
        self.assertTrue(splats.judge(scanner.reports, splats.OUTSIDE, []).clean)


if __name__ == "__main__":
    unittest.main()
