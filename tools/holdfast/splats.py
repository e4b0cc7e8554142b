# SPDX-License-Identifier: GPL-2.0
"""Finds what a kernel console says went wrong, and which scenario it said it in.

This is the harness's judgement, so that no test has to remember to look: every
report that nobody announced fails the scenario in whose section it appears.
A section is what lies between two markers that the guest writes to /dev/kmsg.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

OUTSIDE = ""
"""The section of whatever is printed before, between and after the scenarios."""

_STAMP = re.compile(r"^.*?\[\s*\d+\.\d{6}\](?:\[\s*[TC]\d+\])? ?")
_MARKER = re.compile(r"holdfast: scenario (?P<name>\S+) (?P<edge>begins|ends)$")

# What opens a report, wherever in a line it stands. The second group only does so
# when no report is open, because such lines are also found inside others.
_OPENERS = re.compile(
    r"""
      \[\ cut\ here\ \]
    | \bBUG:\ | \bBUG\ \S+\ \( | kernel\ BUG\ at
    | \bWARNING:\ | \bKASAN:\ | \bKFENCE:\ | \bKCSAN:\ | \bKMSAN:\ | \bUBSAN:\ | UBSAN\ at
    | INFO:\ task\ .*\ blocked\ (?:for|in)
    | INFO:\ (?:possible|inconsistent|trying\ to\ register|suspicious|rcu_\S+\ (?:self-)?detected)
    | rcu:.*(?:detected\ stalls|self-detected\ stall|expedited\ stalls|kthread\ (?:starved|timer))
    | watchdog:\ (?!.*(?:Enabled|NMI\ not\ enabled|Delayed\ init|disabled)) | workqueue\ lockup
    | Kernel\ panic | Rebooting\ in
    | unreferenced\ object | kmemleak:\ .*(?:suspected|Cannot)
    | kobject:?\ .*does\ not\ have\ a\ release | Device\ '.*'\ does\ not\ have\ a\ release
    | sysfs:\ cannot\ create\ duplicate | kobject_add_internal\ failed
    | driver\ left\ SR-IOV\ enabled | printk\ messages\ dropped
    | nobody\ cared | DMA-API:.*(?:leak|error|not\ |wrong|overlap)
    | rust_kernel:\ panicked
    """,
    re.VERBOSE,
)
_INSIDERS = re.compile(
    r"""
      Oops(?::|\b.*\[\#\d) | general\ protection\ fault | unable\ to\ handle\ .*kernel
    | stack\ segment: | double\ fault
    | possible\ (?:circular|recursive)\ locking | possible\ irq\ lock\ inversion
    | suspicious\ RCU\ usage | inconsistent\ lock\ state | bad\ unlock\ balance
    | sleeping\ function\ called\ from\ invalid | scheduling\ while\ atomic
    | DEBUG_LOCKS_WARN_ON | held\ lock\ freed
    | ODEBUG:\ (?!selftest|Out\ of\ memory) | refcount_t:\  | (?:list_add|list_del)\ corruption
    | slab-use-after-free | double-free | Disabling\ lock\ debugging
    | Call\ Trace: | ---\[\ end\ trace
    """,
    re.VERBOSE,
)
_RULER = re.compile(r"^={20,}$")
_END_OF_WARNING = re.compile(r"---\[ end (?:trace|Kernel panic)")
_LONGEST = 600
"""Lines after which a report counts as over even if its end was never seen."""


@dataclass
class Report:
    """One report: the lines of the console from its first to its last."""

    section: str
    lines: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The line that says what it is, rather than the ruler above it."""
        for line in self.lines:
            if "[ cut here ]" not in line and not _RULER.match(line):
                return line.strip()
        return self.lines[0].strip()

    @property
    def text(self) -> str:
        """What an expectation is matched against."""
        return "\n".join(self.lines)


@dataclass(frozen=True)
class Expectation:
    """A report that a scenario announced, and why it is right that it appears."""

    pattern: str
    reason: str

    def matches(self, report: Report) -> bool:
        """Whether this is the announced report."""
        return re.search(self.pattern, report.text) is not None


class Scanner:
    """Takes the console line by line; `reports` and `sections` grow as it goes."""

    def __init__(self) -> None:
        """Start outside of all sections."""
        self.section = OUTSIDE
        self.sections: dict[str, list[str]] = {OUTSIDE: []}
        self.reports: list[Report] = []
        self._open: Report | None = None
        self._form = ""
        self._ended: Report | None = None

    def feed(self, raw: str) -> None:
        """Judge one line."""
        line = _STAMP.sub("", raw.rstrip("\r\n"))
        marker = _MARKER.search(line)
        if marker:
            self._open = self._ended = None
            self.section = marker["name"] if marker["edge"] == "begins" else OUTSIDE
            self.sections.setdefault(self.section, [])
            return
        self.sections[self.section].append(line)
        self._judge(line)

    def _judge(self, line: str) -> None:
        opener = _OPENERS.search(line)
        ended, self._ended = self._ended, None
        if ended is not None and "Disabling lock debugging" in line:
            # The taint that a report brings about is told right below it.
            ended.lines.append(line)
        elif self._open is not None:
            if opener and not self._continues(line):
                self._start(line)
            else:
                self._open.lines.append(line)
                self._maybe_end(line)
        elif opener or _INSIDERS.search(line):
            self._start(line)

    def _start(self, line: str) -> None:
        self._open = Report(self.section, [line])
        self.reports.append(self._open)
        if "[ cut here ]" in line:
            self._form = "warning"
        elif "KASAN:" in line or re.search(r"BUG \S+ \(", line):
            self._form = "ruled"
        elif re.search(r"BUG: (?:kernel|unable)|Oops|general protection", line):
            self._form = "oops"
        else:
            self._form = "trace"

    def _continues(self, line: str) -> bool:
        """Tell openers that are only a line of the report already open.

        A warning carries its message and its WARNING: line below the ruler, a
        kernel BUG its Oops:. Nothing else may hide inside another's report.
        """
        if self._form != "warning" or "[ cut here ]" in line or self._open is None:
            return False
        named = any(re.search(r"WARNING: |kernel BUG at", seen) for seen in self._open.lines)
        if re.search(r"WARNING: |kernel BUG at", line):
            return not named
        return not named and re.search(r"\bBUG: |KASAN:|INFO: |Kernel panic", line) is None

    def _maybe_end(self, line: str) -> None:
        over = {
            "warning": lambda: _END_OF_WARNING.search(line),
            "oops": lambda: _END_OF_WARNING.search(line),
            "ruled": lambda: _RULER.match(line),
            "trace": lambda: line.strip() == "</TASK>",
        }[self._form]()
        if over or (self._open is not None and len(self._open.lines) > _LONGEST):
            self._open, self._ended = None, self._open


@dataclass
class Verdict:
    """What became of the reports of one section."""

    unexpected: list[Report]
    missing: list[Expectation]

    @property
    def clean(self) -> bool:
        """Nothing unannounced appeared, and everything announced did."""
        return not self.unexpected and not self.missing


def judge(reports: Iterable[Report], section: str, expected: Iterable[Expectation]) -> Verdict:
    """Hold the reports of one section against what was announced for it."""
    here = [report for report in reports if report.section == section]
    announced = list(expected)
    unexpected = [report for report in here if not any(e.matches(report) for e in announced)]
    missing = [e for e in announced if not any(e.matches(report) for report in here)]
    return Verdict(unexpected, missing)
