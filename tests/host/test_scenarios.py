# SPDX-License-Identifier: GPL-2.0
"""Shows that what a faulty module leaves behind cannot be blamed on a healthy one."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path

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


if __name__ == "__main__":
    unittest.main()
