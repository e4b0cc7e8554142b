# SPDX-License-Identifier: GPL-2.0
"""Which public items of the library no example shows.

The examples run as KUnit tests; see Kbuild. What is public, and its documentation,
is what rustdoc says in its JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

# What a reader meets as an item of its own; fields and variants are parts of one.
_KINDS = {
    "struct": "struct",
    "enum": "enum",
    "union": "union",
    "trait": "trait",
    "function": "function",
    "macro": "macro",
    "proc_macro": "macro",
    "constant": "constant",
    "static": "static",
    "type_alias": "type",
    "assoc_const": "constant",
    "assoc_type": "type",
}
_FENCE = re.compile(r"^\s*```+\s*(?P<tags>\S*)\s*$")
_COMPILED = {"", "rust", "no_run"}

Item = dict[str, Any]


def blocks(docs: str | None) -> Iterator[tuple[str, str]]:
    """Yield the code blocks of a documentation: their tags, and what is in them."""
    tags: str | None = None
    lines: list[str] = []
    for line in (docs or "").splitlines():
        fence = _FENCE.match(line)
        if fence and tags is None:
            tags, lines = fence["tags"], []
        elif fence and tags is not None:
            yield tags, "\n".join(lines)
            tags = None
        elif tags is not None:
            lines.append(line)


def code(docs: str | None) -> str:
    """Return the code of a documentation that becomes a test, without comments."""
    found = [text for tags, text in blocks(docs) if set(tags.split(",")) <= _COMPILED]
    return "\n".join(re.sub(r"//.*", "", text) for text in found)


@dataclass
class _Entry:
    """A public item, and where examples of it may be."""

    item: Item
    kind: str
    path: str
    owner: _Entry | None = None
    members: list[_Entry] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.item["name"])

    @property
    def own(self) -> str:
        return code(self.item["docs"])

    @property
    def family(self) -> str:
        """The examples of a type or trait and of its members."""
        return "\n".join([self.own, *(member.own for member in self.members)])


class _Crate:
    """What rustdoc says of a crate."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.index: dict[str, Item] = described["index"]
        self.entries: list[_Entry] = []
        self.modules: dict[str, str] = {}
        self.seen: set[int] = set()
        self._walk(self.index[str(described["root"])], "")
        self.all = "\n".join([*self.modules.values(), *(entry.own for entry in self.entries)])

    def _items(self, numbers: Iterable[int]) -> Iterator[tuple[str, Item, Any]]:
        for number in numbers:
            item = self.index.get(str(number))
            if item is None:
                continue
            ((kind, inner),) = item["inner"].items()
            if kind == "use":
                # What a private module defines and a public one offers.
                if inner["id"] is not None:
                    yield from self._items([inner["id"]])
            else:
                yield kind, item, inner

    def _walk(self, module: Item, path: str) -> None:
        self.modules[path] = code(module["docs"])
        for kind, item, inner in self._items(module["inner"]["module"]["items"]):
            if item["id"] in self.seen:
                continue
            self.seen.add(item["id"])
            name = f"{path}{item['name']}"
            if kind == "module":
                self._walk(item, f"{name}::")
            elif kind in _KINDS:
                entry = _Entry(item, _KINDS[kind], name)
                self.entries.append(entry)
                if kind == "trait":
                    self._add_members(entry, inner["items"])
                implementations = inner.get("impls", []) if isinstance(inner, dict) else []
                for _, _, implementation in self._items(implementations):
                    if implementation["trait"] is None:
                        self._add_members(entry, implementation["items"])

    def _add_members(self, owner: _Entry, numbers: Iterable[int]) -> None:
        for kind, item, _ in self._items(numbers):
            # An attribute's own, such as those of #[vtable], stand where the attribute does.
            if kind in _KINDS and item["span"]["begin"][1] > 1:
                path = f"{owner.path}::{item['name']}"
                member = _Entry(item, _KINDS[kind], path, owner)
                owner.members.append(member)
                self.entries.append(member)

    def shows(self, entry: _Entry) -> bool:
        """Whether an example shows an item: its own, or one that names it."""
        if entry.own:
            return True
        name = re.escape(entry.name)
        if entry.owner is None:
            return re.search(rf"\b{name}\b", self.all) is not None
        owner = re.escape(entry.owner.name)
        if re.search(rf"\b{owner}(::<[^;]*>)?::{name}\b", self.all):
            return True
        if entry.owner.kind == "trait" and entry.owner.own:
            return True
        # Names of members are common: only a call in the documentation of the type, of its
        # module, or in an example that names the type, counts.
        module = entry.owner.path.rpartition("::")[0]
        near = [entry.owner.family, self.modules.get(f"{module}::" if module else "", "")]
        near += [e.own for e in self.entries if re.search(rf"\b{owner}\b", e.own)]
        return re.search(rf"\.{name}(::<[^;]*>)?\(", "\n".join(near)) is not None


def missing(described: dict[str, Any]) -> list[str]:
    """Say of each public item that no example shows where it is."""
    crate = _Crate(described)
    found = []
    for entry in crate.entries:
        if not crate.shows(entry):
            span = entry.item["span"]
            found.append(
                f"{span['filename']}:{span['begin'][0]}: no example shows the {entry.kind} "
                f"{entry.path}"
            )
    return sorted(found)


def not_run(name: str, text: str) -> list[str]:
    """Say which examples of a source file are not even compiled."""
    return [
        f"{name}:{number}: an example must be a test: make it one, or mark it no_run or text"
        for number, line in enumerate(text.splitlines(), 1)
        if re.match(r"\s*//[/!]\s*```.*\b(ignore|compile_fail|should_panic)\b", line)
    ]
