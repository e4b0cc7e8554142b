# SPDX-License-Identifier: GPL-2.0
"""Shows that no cell of the matrix passes that should not, and that a run can go on."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import matrix, matrix_picture, splats


def cell(
    a: str, b: str, target: str = "pf", *, vfs: bool = False, meaningless: str | None = None
) -> matrix.Cell:
    """Describe a cell."""
    return matrix.Cell(
        f"{a}+{b}@{target}", a, b, target, meaningless, vfs, hotplug=False, instant=False
    )


def told(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - of JSON
    """Return what a guest says of a cell that is fine."""
    fine = {
        "verdict": "ok",
        "detail": "",
        "rounds": 100,
        "overlaps": 90,
        "succeeded": [100, 80],
        "taint": "",
        "lockdep_off": False,
    }
    return fine | changes


def report(*lines: str) -> splats.Report:
    """Return a report of the kernel."""
    return splats.Report("a+b@pf", list(lines))


WARNING = report("------------[ cut here ]------------", "WARNING: drivers/pci/remove.c:1 at f")
BLOCKED = report("INFO: task holdfast-guest:52 blocked for more than 10 seconds.")


class Judge(unittest.TestCase):
    """What a cell comes to."""

    def verdict(
        self,
        said: dict[str, Any] | None,
        reports: tuple[splats.Report, ...] = (),
        leaks: tuple[str, ...] = (),
        *,
        silent: bool = False,
    ) -> str:
        """Judge a cell."""
        return matrix.judge(said, reports, leaks, "the machine ended", silent=silent)[0]

    def test_passes(self) -> None:
        """Only if there is nothing to say against it."""
        self.assertEqual(self.verdict(told()), matrix.PASS)

    def test_hangs(self) -> None:
        """Whoever notices it: guest, kernel, or host."""
        self.assertEqual(self.verdict(told(verdict="hang")), matrix.HANG)
        self.assertEqual(self.verdict(told(), (WARNING, BLOCKED)), matrix.HANG)
        self.assertEqual(self.verdict(None, silent=True), matrix.HANG)

    def test_breaks(self) -> None:
        """A device that does not work afterwards, or a machine that is gone without a word."""
        self.assertEqual(self.verdict(told(verdict="broken", detail="a VF is left")), matrix.BROKEN)
        self.assertEqual(self.verdict(None), matrix.BROKEN)

    def test_splats(self) -> None:
        """On the console, or in the kernel's state if the console was not seen."""
        self.assertEqual(self.verdict(told(), (WARNING,)), matrix.SPLAT)
        self.assertEqual(self.verdict(None, (WARNING,)), matrix.SPLAT)
        self.assertEqual(self.verdict(told(taint="warning")), matrix.SPLAT)
        self.assertEqual(self.verdict(told(lockdep_off=True)), matrix.SPLAT)

    def test_leaks(self) -> None:
        """Memory that nobody points to."""
        self.assertEqual(self.verdict(told(), leaks=("unreferenced object",)), matrix.LEAK)

    def test_did_not_race(self) -> None:
        """Two sides that hardly met have shown nothing."""
        self.assertEqual(self.verdict(told(overlaps=49)), matrix.NO_OVERLAP)
        self.assertEqual(self.verdict(told(overlaps=50)), matrix.PASS)
        self.assertEqual(self.verdict(told(rounds=0, overlaps=0)), matrix.NO_OVERLAP)
        rarely = [matrix.judge(told(overlaps=n), [], [], None, instant=True)[0] for n in (1, 0)]
        self.assertEqual(rarely, [matrix.PASS, matrix.NO_OVERLAP])

    def test_says_why(self) -> None:
        """Equal reports are counted, not repeated."""
        detail = matrix.judge(told(), [WARNING, WARNING], [], None)[1]
        self.assertEqual(detail, "2 x WARNING: drivers/pci/remove.c:1 at f")


class Plan(unittest.TestCase):
    """Which machine gets which cells."""

    def test_kinds_are_kept_apart(self) -> None:
        """Cells in which the core sleeps get machines whose clock jumps."""
        cells = [cell("a", str(number), vfs=number % 2 == 0) for number in range(8)]
        plan = matrix.Plan(list(cells), 3, 1, "")
        seen = []
        while (batch := plan.take()) is not None:
            self.assertTrue(all(c.vfs is batch.jumps for c in batch.cells))
            self.assertLessEqual(len(batch.cells), 3)
            seen += batch.cells
        self.assertEqual(sorted(c.name for c in seen), sorted(c.name for c in cells))

    def test_one_kind_for_a_quick_run(self) -> None:
        """Two machines, for all cells."""
        cells = [cell("a", str(number), vfs=number % 2 == 0) for number in range(8)]
        plan = matrix.Plan(list(cells), 4, 4, "jump")
        batches = [plan.take(), plan.take(), plan.take()]
        self.assertEqual([len(batch.cells) for batch in batches if batch], [4, 4])

    def test_what_is_given_back_comes_first(self) -> None:
        """No cell is lost with its machine."""
        cells = [cell("a", "b"), cell("c", "d")]
        plan = matrix.Plan(list(cells), 2, 1, "real")
        batch = plan.take()
        assert batch is not None
        self.assertEqual(batch.cells, cells[:1])
        plan.give_back(batch.cells)
        again = plan.take()
        assert again is not None
        self.assertEqual(again.cells, cells[:1])


class Resuming(unittest.TestCase):
    """What is kept of a run that was stopped."""

    def setUp(self) -> None:
        """Make a table with one result."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name) / "matrix.json"
        self.cells = [cell("a", "b"), cell("a", "a")]
        table = matrix.Table(self.path, "key 1", self.cells, anew=False)
        self.assertEqual(table.results, {})
        self.result = matrix.Result(
            "a", "b", "pf", "stock", "d", 5, 4, matrix.PASS, "fine", key="key 1"
        )
        table.set("a+b@pf", self.result)

    def test_goes_on(self) -> None:
        """The same ingredients: what is known is known."""
        table = matrix.Table(self.path, "key 1", self.cells, anew=False)
        self.assertEqual(table.results, {"a+b@pf": self.result})

    def test_begins_anew(self) -> None:
        """Other ingredients, or somebody's wish."""
        self.assertEqual(matrix.Table(self.path, "key 2", self.cells, anew=False).results, {})
        self.assertEqual(matrix.Table(self.path, "key 1", self.cells, anew=True).results, {})

    def test_forgets_no_other(self) -> None:
        """Somebody's wish is about the cells that he asks for."""
        table = matrix.Table(self.path, "key 1", self.cells[1:], anew=True)
        self.assertEqual(table.results, {"a+b@pf": self.result})

    def run_of(self, **options: object) -> matrix._Run:
        """Return a run over the cells that is not begun."""
        asked = {"quick": False, "rounds": None, "clock": "", "leaks": "never", "at_most": None}
        table = matrix.Table(self.path, "key 1", self.cells, anew=False)
        return matrix._Run("stock", "d", table, self.cells, argparse.Namespace(**asked | options))

    def test_adds_rounds(self) -> None:
        """Those that are known count, and what is added is added once."""
        run = self.run_of(rounds=20)
        self.assertEqual([run._rounds(cell) for cell in self.cells], [15, 20])
        heard = matrix._Told()
        heard.ended["a+b@pf"] = told(rounds=15, overlaps=15)
        for _ in range(2):
            run._keep(self.cells[0], heard, [], None)
        found = matrix.read_table(self.path, "key 1")["a+b@pf"]
        self.assertEqual((found.rounds, found.overlaps, found.verdict), (20, 19, matrix.PASS))
        self.assertEqual(self.run_of(rounds=20).plan.cells, self.cells[1:])

    def test_adds_a_failure(self) -> None:
        """It counts from the first round on, and the cell is not raced again."""
        heard = matrix._Told()
        heard.ended["a+b@pf"] = told(rounds=3, overlaps=3, verdict="hang", detail="in f")
        self.run_of(rounds=20)._keep(self.cells[0], heard, [], None)
        found = matrix.read_table(self.path, "key 1")["a+b@pf"]
        self.assertEqual((found.rounds, found.verdict, found.detail), (8, matrix.HANG, "in f"))
        self.assertEqual(self.run_of(rounds=20)._rounds(self.cells[0]), 0)

    def test_looks_for_leaks(self) -> None:
        """Rounds in which nobody looked do not count where somebody is to."""
        self.assertEqual(self.run_of(rounds=5, leaks="each")._rounds(self.cells[0]), 5)
        self.assertEqual(self.run_of(rounds=5)._rounds(self.cells[0]), 0)

    def test_passes(self) -> None:
        """All cells have a few rounds, with leaks looked for, before one has many."""
        asked = argparse.Namespace(quick=False, leaks=None, rounds=None)
        passes = [(part.leaks, part.at_most) for part in matrix._passes(asked)]
        self.assertEqual(passes, [("end", 10), ("never", 100), ("never", 500)])

    def test_takes_up(self) -> None:
        """What another checkout has found: of the same ingredients, and more than is known."""
        table = matrix.Table(self.path, "key 1", self.cells, anew=False)
        more = dataclasses.replace(self.result, rounds=9)
        less = dataclasses.replace(self.result, rounds=3)
        other = dataclasses.replace(self.result, rounds=9, key="key 2")
        by_another = dataclasses.replace(self.result, rounds=9, driver="e")
        self.assertEqual(table.take_up([less, other, by_another], "d"), 0)
        self.assertEqual(table.results, {"a+b@pf": self.result})
        self.assertEqual(table.take_up([more], "d"), 1)
        self.assertEqual(table.results, {"a+b@pf": more})

    def test_quick_and_long(self) -> None:
        """A long run counts, but hides no failure of a quick one, and leaves no cell out."""
        fails = dataclasses.replace(self.result, verdict=matrix.SPLAT)
        hangs = dataclasses.replace(self.result, verdict=matrix.HANG)
        quick = {"1": self.result, "2": fails, "3": fails, "4": fails}
        whole = {"1": hangs, "2": self.result, "3": hangs}
        both = matrix._both(quick, whole)
        self.assertEqual(both, {"1": hangs, "2": fails, "3": hangs, "4": fails})

    def test_damaged(self) -> None:
        """A file that is no table is no table."""
        self.path.write_text("{")
        self.assertEqual(matrix.Table(self.path, "key 1", self.cells, anew=False).results, {})


class Told(unittest.TestCase):
    """What a guest says while it races."""

    def test_cells_and_leaks(self) -> None:
        """A leak that is found at the end belongs to the cell that made it."""
        guest = matrix._Told()
        self.assertIsNone(guest.feed('{"cell": "a+b@pf", "event": "begins"}'))
        self.assertEqual(guest.current, "a+b@pf")
        line = '{"cell": "a+b@pf", "event": "ends", "leaks": ["x"]}'
        self.assertEqual(guest.feed(line), "a+b@pf")
        self.assertIsNone(guest.current)
        guest.feed('{"cell": "a+b@pf", "event": "leak", "detail": "y"}')
        self.assertEqual(guest.leaks, {"a+b@pf": ["x", "y"]})
        self.assertIsNone(guest.feed("# holdfast: exit status 0"))


class Picture(unittest.TestCase):
    """Where a cell is drawn."""

    def test_both_halves(self) -> None:
        """A pair on one PF is unordered; one on PF and port is not."""
        cells = [cell("a", "a"), cell("a", "b"), cell("b", "b"), cell("a", "p", "port")]
        arranged = matrix_picture.layout(cells)
        self.assertEqual(arranged.rows, ["a", "b"])
        self.assertEqual(matrix_picture.places(cells[0], arranged), [("a", "a")])
        self.assertEqual(matrix_picture.places(cells[1], arranged), [("a", "b"), ("b", "a")])
        self.assertEqual(matrix_picture.places(cells[3], arranged), [("a", "p")])

    def test_every_verdict_has_a_colour(self) -> None:
        """And no two have the same."""
        colours = [matrix_picture._STYLES[verdict][0] for verdict in matrix.VERDICTS]
        self.assertEqual(len(set(colours)), len(matrix.VERDICTS))

    def test_a_possible_deadlock(self) -> None:
        """Is told apart from all else that the kernel reports."""
        why = "WARNING: possible circular locking dependency detected; lockdep is off"
        splat = matrix.Result("a", "b", "pf", "stock", "d", 5, 4, matrix.SPLAT, why)
        self.assertEqual(matrix_picture.style_of(splat)[1], "D")
        other = dataclasses.replace(splat, detail="WARNING: drivers/pci/iov.c:1")
        self.assertEqual(matrix_picture.style_of(other)[1], "S")


if __name__ == "__main__":
    unittest.main()
