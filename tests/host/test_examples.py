# SPDX-License-Identifier: GPL-2.0
"""Shows that a public item without an example is found, and one with an example is not."""

from __future__ import annotations

import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from holdfast import examples


class Crate:
    """A crate as rustdoc would describe it."""

    def __init__(self) -> None:
        """Begin with an empty module."""
        self.index: dict[str, Any] = {}
        self.root = self.add("module", "library", {"items": []})

    def add(self, kind: str, name: str | None, inner: object, docs: str | None = None) -> int:
        """Add an item to the index; return its number."""
        number = len(self.index)
        self.index[str(number)] = {
            "id": number,
            "name": name,
            "docs": docs,
            "span": {"filename": "library.rs", "begin": [number, 5], "end": [number, 9]},
            "inner": {kind: inner},
        }
        return number

    def public(self, number: int) -> None:
        """Make an item one of the root's."""
        self.index[str(self.root)]["inner"]["module"]["items"].append(number)

    def structure(self, name: str, methods: dict[str, str | None], docs: str | None = None) -> None:
        """Add a public structure with methods, each with its documentation."""
        numbers = [self.add("function", key, {}, text) for key, text in methods.items()]
        block = self.add("impl", None, {"trait": None, "items": numbers})
        self.public(self.add("struct", name, {"impls": [block]}, docs))

    def missing(self) -> list[str]:
        """Name the items that nothing shows."""
        described = {"root": self.root, "index": self.index}
        return sorted(finding.rpartition(" ")[2] for finding in examples.missing(described))


def example(text: str, tags: str = "") -> str:
    """Return a documentation with one example."""
    return f"Says something.\n\n# Examples\n\n```{tags}\n{text}\n```\n"


class Items(unittest.TestCase):
    """Which items an example shows."""

    def test_own(self) -> None:
        """An item's own example is enough, and that of a neighbour is not."""
        crate = Crate()
        crate.structure("Shown", {}, example("one"))
        crate.structure("Hidden", {}, "Says nothing.")
        self.assertEqual(crate.missing(), ["Hidden"])

    def test_not_compiled(self) -> None:
        """What is not compiled shows nothing, and neither does a comment."""
        crate = Crate()
        crate.structure("Ignored", {}, example("Ignored", "ignore"))
        crate.structure("Text", {}, example("Text", "text"))
        crate.structure("Compiled", {}, example("let one = 1; // Commented", "no_run"))
        crate.structure("Commented", {})
        self.assertEqual(crate.missing(), ["Commented", "Ignored", "Text"])

    def test_method(self) -> None:
        """A method is shown by a call beside its type, or by its full name anywhere."""
        crate = Crate()
        crate.structure(
            "Door",
            {"new": None, "open": None, "close": None, "lock": None},
            example("let door = Door::new();\ndoor.open();\nlet close = 1;"),
        )
        crate.structure("Other", {}, example("other.lock();"))
        self.assertEqual(crate.missing(), ["Door::close", "Door::lock"])

    def test_offered_elsewhere(self) -> None:
        """An item of a private module that a public one offers is public."""
        crate = Crate()
        hidden = crate.add("function", "inner", {})
        crate.public(crate.add("use", None, {"id": hidden, "is_glob": False}))
        self.assertEqual(crate.missing(), ["inner"])


class Sources(unittest.TestCase):
    """Which examples do not become tests."""

    def test_ignored(self) -> None:
        """An example that is ignored is found, with its line."""
        text = "//! ```ignore\n//! ```\n/// ```no_run\n/// ```\n    /// ```text,ignore\n"
        found = [finding.partition(": ")[0] for finding in examples.not_run("a.rs", text)]
        self.assertEqual(found, ["a.rs:1", "a.rs:5"])


if __name__ == "__main__":
    unittest.main()
