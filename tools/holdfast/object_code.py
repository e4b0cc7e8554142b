# SPDX-License-Identifier: GPL-2.0
"""Locked instructions and full barriers of a path, counted in its object code.

A path begins in a function and goes through everything that is called directly. A function has
paths that are seldom taken (a lock that is contended, a door that is closed), and object code
does not say which. So two figures are given: the fewest on any way through, and all there are
in the functions of that way. What the fast path does lies between them, and where the first is
not zero it cannot be avoided.
"""

from __future__ import annotations

import functools
import heapq
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from . import toolchain

_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S.*)$")
_RELOCATION = re.compile(r"^\s*[0-9a-f]+:\s+R_X86_64_(\S+)\s+([^\s+]+?)(?:[-+]0x[0-9a-f]+)?$")
_FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
_TARGET = re.compile(r"0x([0-9a-f]+)(?: <([^>+]+)(\+0x[0-9a-f]+)?>)?")
# Those never return, so no way goes through them.
_DEAD = re.compile(r"panic|__stack_chk_fail|handle_no_return|_fail$|^__warn|^BUG|unreachable")
_DEEPEST = 8
_NEAR = 5


@dataclass
class _Instruction:
    address: int
    text: str
    calls: str | None = None
    """The symbol that a relocation names."""


@dataclass(frozen=True, order=True)
class Count:
    """What is on a way through some code."""

    total: int = 0
    instructions: int = 0
    locked: int = 0
    barriers: int = 0

    def __add__(self, other: Count) -> Count:
        """Count both."""
        return Count(
            self.total + other.total,
            self.instructions + other.instructions,
            self.locked + other.locked,
            self.barriers + other.barriers,
        )


@dataclass
class Path_:
    """The fewest on any way, all that there are in its functions, and which those are."""

    fewest: Count
    all: Count
    functions: list[str] = field(default_factory=list)


_NEVER = Count(total=1 << 30)


def classify(text: str) -> Count:
    """Count one instruction of x86-64."""
    words = text.split()
    name = words[0]
    operands = " ".join(words[1:])
    if name == "mfence":
        return Count(1, 1, 0, 1)
    if name == "lock":
        # smp_mb() is a locked operation on the stack that changes nothing.
        if re.match(r"(add|or)[lq]\s+\$(0x)?0, -?(0x)?[0-9a-f]*\(%rsp\)", operands):
            return Count(1, 1, 0, 1)
        return Count(1, 1, 1, 0)
    if name.startswith("xchg") and "(" in operands:
        return Count(1, 1, 1, 0)
    return Count(0, 1, 0, 0)


def _parse(text: str) -> dict[str, list[_Instruction]]:
    """Read what objdump prints."""
    functions: dict[str, list[_Instruction]] = {}
    current: list[_Instruction] = []
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            current = functions.setdefault(match[1], [])
        elif match := _RELOCATION.match(line):
            if current and match[1] in ("PLT32", "PC32"):
                current[-1].calls = match[2]
        elif match := _INSTRUCTION.match(line):
            if current and current[-1].text == "lock":
                # Some versions print the prefix as an instruction of its own.
                current[-1].text = f"lock {match[2]}"
            else:
                current.append(_Instruction(int(match[1], 16), match[2]))
    return functions


def _objdump(file: Path, *options: str) -> str:
    return subprocess.run(
        ["llvm-objdump", "-dr", "--no-show-raw-insn", *options, str(file)],
        capture_output=True,
        text=True,
        check=True,
        env=toolchain.environment(),
    ).stdout


class ObjectCode:
    """The code of some objects, and of a kernel that is looked at where they call it."""

    def __init__(self, objects: Iterable[Path], kernel: Path | None = None) -> None:
        """Disassemble the objects; of the kernel only what is asked for."""
        self._functions: dict[str, list[_Instruction]] = {}
        for file in objects:
            self._functions |= _parse(_objdump(file))
        self._kernel = kernel
        self._must: list[re.Pattern[str]] = []
        self.unknown: set[str] = set()

    def _function(self, name: str) -> list[_Instruction]:
        found = self._functions.get(name)
        if found is None and self._kernel is not None:
            found = _parse(_objdump(self._kernel, f"--disassemble-symbols={name}")).get(name, [])
            self._functions[name] = found
        if not found:
            self.unknown.add(name)
        return found or []

    def _fetch(self, name: str) -> None:
        """Disassemble what a function of the objects leads to in the kernel, in few steps."""
        names = {name}
        for _ in range(3):
            names = {other for each in names for other in self._calls(each)}
            missing = sorted(names - set(self._functions))
            if missing and self._kernel is not None:
                wanted = f"--disassemble-symbols={','.join(missing)}"
                self._functions |= {key: [] for key in missing} | _parse(
                    _objdump(self._kernel, wanted)
                )

    def has(self, name: str) -> bool:
        """Tell whether there is such a function."""
        return bool(self._function(name))

    def text(self, name: str) -> list[str]:
        """Return a function's instructions, without what depends on where it lies."""
        return [re.sub(r" <.*>$", "", each.text) for each in self._function(name)]

    def path(self, name: str, must: str = "") -> Path_:
        """Count what is on the ways through a function, and through all that it calls.

        Only ways count on which each function is called that the expressions in `must`, which
        are separated by spaces, match: it is they that tell the way that is meant.
        """
        self._fetch(name)
        self._must = [re.compile(each) for each in must.split()]
        self._fewest.cache_clear()
        self._reach.cache_clear()
        fewest, functions = self._fewest(name, ())
        in_all = Count()
        for each in sorted(functions):
            for instruction in self._function(each):
                in_all += classify(instruction.text)
        return Path_(fewest, in_all, sorted(functions))

    def _goes_to(self, instruction: _Instruction) -> tuple[int | None, str | None]:
        """Tell the address in this function, or the other function, that an operand names."""
        if instruction.calls is not None:
            return None, instruction.calls
        match = _TARGET.search(instruction.text)
        if not match:
            return None, None
        return int(match[1], 16), None if match[3] else match[2]

    def _calls(self, name: str) -> set[str]:
        """Return what a function calls directly, or jumps to as its last act."""
        found = set()
        for instruction in self._function(name):
            if instruction.text.startswith(("call", "j")):
                _address, other = self._goes_to(instruction)
                if other is not None and other != name:
                    found.add(other)
        return found

    @functools.cache  # noqa: B019 - as above
    def _reach(self, name: str, depth: int = 0) -> frozenset[int]:
        """Return which of what must be called a function is, or calls in the end."""
        found = {i for i, each in enumerate(self._must) if each.search(name)}
        if self._must and depth < _NEAR and len(found) < len(self._must):
            for other in self._calls(name):
                if not _DEAD.search(other):
                    found |= self._reach(other, depth + 1)
        return frozenset(found)

    @functools.cache  # noqa: B019 - as above
    def _fewest(self, name: str, above: tuple[str, ...]) -> tuple[Count, frozenset[str]]:
        code = self._function(name)
        if _DEAD.search(name):
            return _NEVER, frozenset()
        if not code or name in above or len(above) >= _DEEPEST:
            return Count(instructions=1), frozenset()
        place = {instruction.address: index for index, instruction in enumerate(code)}
        own = {i for i, each in enumerate(self._must) if each.search(name)}
        wanted = self._reach(name, len(above)) - own
        start = (Count(), 0, (name,), tuple(sorted(wanted)))
        queue: list[tuple[Count, int, tuple[str, ...], tuple[int, ...]]] = [start]
        seen: set[tuple[int, tuple[int, ...]]] = set()
        while queue:
            so_far, index, through, missing = heapq.heappop(queue)
            if index == len(code):
                if not missing:
                    return so_far, frozenset(through)
                continue
            if (index, missing) in seen:
                continue
            seen.add((index, missing))
            instruction = code[index]
            operation = instruction.text.split()[0]
            so_far += classify(instruction.text)
            after = [index + 1] if index + 1 < len(code) else []
            called: str | None = None
            if operation.startswith("ret"):
                after = [len(code)]
            elif operation.startswith("ud2"):
                after = []
            elif operation.startswith(("call", "j")):
                address, other = self._goes_to(instruction)
                inside = other is None and address in place
                if operation.startswith("call"):
                    called = other
                elif inside:
                    assert address is not None
                    there = place[address]
                    after = [there] if operation.startswith("jmp") else [*after, there]
                elif operation.startswith("jmp"):
                    called, after = other, [len(code)]
                elif other is not None:
                    # A conditional jump that is the last act, or not taken.
                    for next_ in after:
                        heapq.heappush(queue, (so_far, next_, through, missing))
                    called, after = other, [len(code)]
            if called is not None:
                cost, functions = self._fewest(called, (*above, name))
                so_far += cost
                through = (*through, *functions)
                met = self._reach(called, len(above) + 1)
                missing = tuple(each for each in missing if each not in met)
            if so_far < _NEVER:
                for next_ in after:
                    heapq.heappush(queue, (so_far, next_, through, missing))
        return _NEVER, frozenset()
