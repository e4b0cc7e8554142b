# SPDX-License-Identifier: GPL-2.0
"""Shows that make bench can fail, with figures and object code that are made up."""

from __future__ import annotations

import json
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import bench, bench_picture, object_code

CONFIGURATION = {name: "y" for name in bench._SAID}

# A door whose fast way has nothing locked, and a slow one that has.
CODE = """\
0000000000000000 <enter>:
       0:      \tpushq\t%rbx
       1:      \tcallq\t0x6 <enter+0x6>
\t\t0000000000000002:  R_X86_64_PLT32\tclaim-0x4
       6:      \ttestq\t%rax, %rax
       9:      \tje\t0x10 <enter+0x10>
       b:      \tpopq\t%rbx
       c:      \tretq
      10:      \tlock
      11:      \taddq\t$0x4, (%rbx)
      15:      \tcallq\t0x1a <enter+0x1a>
\t\t0000000000000016:  R_X86_64_PLT32\tcounted-0x4
      1a:      \tjmp\t0xb <enter+0xb>

0000000000000020 <claim>:
      20:      \tlock\t\taddl\t$0x0, -0x4(%rsp)
      25:      \tretq

0000000000000030 <counted>:
      30:      \txchgq\t%rax, (%rdi)
      33:      \tretq
"""


def line(row: str, who: str, values: list[int], n: int = 1, count: int = 1) -> str:
    """Say what a kernel says."""
    said = {"row": row, "who": who, "n": n, "count": count, "values": values}
    return f"[    1.000000] holdfast_bench: holdfast-bench: {json.dumps(said)}"


def figures(ours: int, *, exact: bool = True) -> bench.Figures:
    """Return figures of all rows, with what the library's doors took, around an empty loop of 5."""
    made = bench.Figures("test", "somewhere", CONFIGURATION, exact=exact)
    lines = [line("empty", "c", [5000, 5010], count=1000)]
    for row in ("access", "access-contended", "access-atomic", "rescan-first", "rescan-again"):
        lines.append(line(row, "ours", [(ours + 5) * 1000, 999_999], count=1000))
    for who in ("srcu", "srcu-fast", "rwsem", "percpu_ref", "mutex", "drm_dev_enter"):
        lines.append(line("access", who, [45_000, 46_000], count=1000))
        lines.append(line("access-contended", who, [45_000, 46_000], count=1000))
    lines.append(line("access-atomic", "Revocable", [35_000, 35_000], count=1000))
    for n in (1, 100, 1000):
        lines.append(line("unbind", "ours", [20, 21, 22, 23, 24], n=n))
        lines.append(line("unbind", "Devres", [20 * n], n=n))
    for n in (0, 10):
        lines.append(line("files-idle", "ours", [100_000], n=n))
    for n in (0, 1):
        lines.append(line("stuck", "ours", [100], n=n))
        lines.append(line("stuck", "drm_dev_enter", [100 + n * 500_000_000], n=n))
    for row in ("many-register", "many-end"):
        for n in (1000, 10000):
            for who in ("ours", "device_add"):
                lines.append(line(row, who, [n * 100], n=n))
    lines += [line("object", who, [100]) for who in ("ours", "device_add")]
    lines.append('holdfast-bench: {"done":0}')
    made.read(["no figure", *lines])
    return made


def verdicts(entries: list[bench.Entry]) -> dict[str, bool | None]:
    """Return which marks are met."""
    return {entry.name: entry.met for entry in entries if entry.mark}


class Marks(unittest.TestCase):
    """Marks are met and missed."""

    def test_loop_is_taken_off(self) -> None:
        """An operation does not pay for the loop around it, and the lowest round counts."""
        self.assertEqual(figures(20).value("access", "ours"), 20)

    def test_met(self) -> None:
        """Figures below their marks."""
        found = verdicts(bench.doors(figures(20), "instructions"))
        self.assertEqual(set(found.values()), {True})

    def test_missed(self) -> None:
        """Figures above them."""
        found = verdicts(bench.doors(figures(61), "instructions"))
        self.assertEqual(set(found.values()), {False})

    def test_times(self) -> None:
        """What takes time."""
        found = bench.times(figures(20, exact=False))
        missed = [entry.name for entry in found if entry.met is False]
        self.assertEqual(missed, [])
        self.assertIn("drm_dev_enter", found[-1].peers)

    def test_objects(self) -> None:
        """Linear, and no more than in C."""
        self.assertNotIn(False, verdicts(bench.objects(figures(20), "instructions")).values())

    def test_known_to_be_missed(self) -> None:
        """Such a mark must not get worse, and must not stay in the list when it is met."""
        entry = bench.Entry("door", "instructions", 40.0, {}, mark="at most 30", checked=True)
        entry.met = False
        self.assertEqual(len(bench.check([entry], {})), 1)
        self.assertEqual(bench.check([entry], {"door": {"ours": 40}}), [])
        self.assertEqual(len(bench.check([entry], {"door": {"ours": 39}})), 1)
        entry.met = True
        self.assertEqual(len(bench.check([entry], {"door": {"ours": 40}})), 1)
        self.assertEqual(len(bench.check([entry], {"gone": {"ours": 40}})), 1)
        self.assertEqual(len(bench.check([], {})), 1)

    def test_incomplete(self) -> None:
        """A run that did not come to an end is none."""
        made = bench.Figures("test", "somewhere", CONFIGURATION, exact=True)
        made.read([line("access", "ours", [1])])
        with self.assertRaises(SystemExit):
            made.require_complete(Path("log"))

    def test_compare(self) -> None:
        """Runs that agree, and runs that do not."""
        with tempfile.TemporaryDirectory() as name:
            directory, before = Path(name), bench.paths.RESULTS
            bench.paths.RESULTS = directory
            try:
                bench._write(bench.doors(figures(200), "instructions"), [], None)
                other = directory / "other.json"
                other.write_text((directory / "bench.json").read_text())
                self.assertEqual(bench.compare(other), 0)
                bench._write(bench.doors(figures(202), "instructions"), [], None)
                self.assertEqual(bench.compare(other), 1)
            finally:
                bench.paths.RESULTS = before

    def test_table_and_picture(self) -> None:
        """Both can be made of it."""
        made = figures(20, exact=False)
        entries = bench.doors(made, "ns") + bench.objects(made, "ns") + bench.times(made)
        self.assertIn("ratio", bench.table(entries))
        with tempfile.TemporaryDirectory() as directory:
            picture = bench_picture.draw(made, Path(directory))
            assert picture is not None
            self.assertIn("unbind", picture.read_text())


class Counting(unittest.TestCase):
    """Object code is counted."""

    def setUp(self) -> None:
        """Read the code."""
        self.code = object_code.ObjectCode([])
        self.code._functions = object_code._parse(CODE)

    def test_fewest(self) -> None:
        """The way with the fewest, through what it calls."""
        path = self.code.path("enter")
        self.assertEqual((path.fewest.locked, path.fewest.barriers), (0, 1))
        self.assertEqual(path.functions, ["claim", "enter"])

    def test_way_that_is_meant(self) -> None:
        """The way through a function that must be called."""
        path = self.code.path("enter", "^counted$")
        self.assertEqual((path.fewest.locked, path.fewest.barriers), (2, 1))


if __name__ == "__main__":
    unittest.main()
