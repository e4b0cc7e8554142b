# SPDX-License-Identifier: GPL-2.0
"""Shows that what a faulty module leaves behind cannot be blamed on a healthy one."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import scenarios


def scenario(name: str, machine: str) -> scenarios.Scenario:
    """Describe a scenario of which only the machine matters."""
    return scenarios.Scenario(name, "", 30.0, machine, "", None, "stock", ())


class Machines(unittest.TestCase):
    """Which scenarios run in one machine, and in which order."""

    def names(self, kinds: dict[str, str], count: int) -> list[list[str]]:
        """Group scenarios, given by name and machine, and name them."""
        chosen = [scenario(name, machine) for name, machine in kinds.items()]
        return [[s.name for s in group] for group in scenarios.machines(chosen, count)]

    def test_kinds_are_kept_apart(self) -> None:
        """The faulty ones are together, and with nothing else."""
        kinds = {"a": "shared", "b": "faulty", "c": "own", "d": "shared", "e": "faulty", "f": "own"}
        self.assertEqual(self.names(kinds, 1), [["a", "d"], ["b", "e"], ["c"], ["f"]])
        self.assertEqual(self.names(kinds, 2), [["a"], ["d"], ["b", "e"], ["c"], ["f"]])

    def test_single_faulty_one_runs_last(self) -> None:
        """It has no machine of its own if there is another one."""
        kinds = {"a": "faulty", "b": "shared", "c": "shared"}
        self.assertEqual(self.names(kinds, 1), [["b", "c", "a"]])
        self.assertEqual(self.names(kinds, 2), [["b"], ["c", "a"]])

    def test_no_machine_is_empty(self) -> None:
        """Nothing is booted for nothing."""
        self.assertEqual(self.names({"b": "faulty"}, 2), [["b"]])


class StandingStill(unittest.TestCase):
    """When a machine is not waited for any longer."""

    def test_scenario_beyond_its_limit(self) -> None:
        """Only one that runs, and only when the guest itself could have ended it."""
        asked = mock.patch("holdfast.kunit.asked_rounds", return_value=0)
        with asked, mock.patch("time.monotonic", return_value=0.0) as clock:
            progress = scenarios._Progress([scenario("a", "shared")])
            progress.feed("# a: begins")
            clock.return_value = 89.0
            self.assertIsNone(progress.give_up())
            clock.return_value = 91.0
            self.assertIn("a did not end, not even at 30 s", progress.give_up() or "")
            progress.feed("ok 1 a")
            self.assertIsNone(progress.give_up())


if __name__ == "__main__":
    unittest.main()
