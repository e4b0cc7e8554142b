# SPDX-License-Identifier: GPL-2.0
"""The protocol under a model checker, and copies of it that are broken and must fail.

tests/model compiles rust/holdfast/protocol.rs on the host and explores scenarios. Each mutation
of tests/model/mutations.toml is a copy of those sources with an edit, and a test program of its
own in the same cargo package, so that cargo builds them side by side.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import cache, console, paths, results, toolchain

_PROTOCOL = Path("rust/holdfast/protocol.rs")
_PACKAGE = Path("tests/model")
_TREE = paths.BUILD / "model"

# Seconds after which a scenario is taken for one that never ends
_PATIENCE = 300.0

# What a test program prints of itself, of loom and of Rust; the rest is the reason of a failure.
_NOISE = re.compile(
    r"^(\s*|running \d+ tests?|test result: .*|note: run with .*|failures:|    scenarios::\w+"
    r"|\[\S*loom.*\] .*|state\.synchronize.*|error: test failed.*)$"
)
_EXPLORED = re.compile(r"explored (\d+) interleavings(.*)")


@dataclass(frozen=True)
class Mutation:
    """A way to break the protocol, and how the scenario that notices it fails."""

    name: str
    scenario: str
    finds: str
    edits: tuple[tuple[Path, str, str], ...]


@dataclass(frozen=True)
class _Ended:
    """A scenario that was explored, to its end or to its first failure."""

    status: int | None
    output: str
    seconds: float

    @property
    def passed(self) -> bool:
        # One that does not exist would pass, too.
        return self.status == 0 and "test result: ok. 1 passed" in self.output

    @property
    def reason(self) -> str:
        if self.status is None:
            return f"not done after {_PATIENCE:.0f} s"
        lines = [line for line in self.output.splitlines() if not _NOISE.match(line)]
        return "\n".join(lines[:12]) or f"ended with status {self.status}"


def _edit(entry: dict[str, Any]) -> tuple[Path, str, str]:
    file = entry.get("file")
    return _PACKAGE / "src" / file if file else _PROTOCOL, entry["old"], entry["new"]


def _mutations() -> list[Mutation]:
    listed = tomllib.loads((paths.CHECKOUT / _PACKAGE / "mutations.toml").read_text())
    weaker = [_edit(entry) for entry in listed["weaker"]]
    return [
        Mutation(
            entry["name"],
            entry["scenario"],
            entry["finds"],
            (*weaker, *(_edit(edit) for edit in entry.get("edit", [entry]))),
        )
        for entry in listed["mutation"]
    ]


def _sources() -> dict[Path, str]:
    directory = paths.CHECKOUT / _PACKAGE / "src"
    files = [_PROTOCOL, *(_PACKAGE / "src" / path.name for path in directory.glob("*.rs"))]
    return {file: (paths.CHECKOUT / file).read_text() for file in files}


def _write(tree: Path, sources: dict[Path, str]) -> None:
    """Write what has changed, so that cargo builds no more than that."""
    for file, text in sources.items():
        path = tree / file
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


def _apply(mutation: Mutation) -> str | None:
    """Write a broken copy of the sources; say what is wrong if that is not possible."""
    sources = _sources()
    for file, old, new in mutation.edits:
        count = sources[file].count(old)
        if count != 1:
            return (
                f"{file} contains this {count} times instead of once, so rewrite the mutation "
                f"in {_PACKAGE}/mutations.toml:\n{old.strip()}"
            )
        sources[file] = sources[file].replace(old, new)
    # Compiling the other scenarios would take most of the time.
    file = _PACKAGE / "src/scenarios.rs"
    sources[file] = re.sub(rf"#\[test\]\n(?!fn {mutation.scenario}\()", "", sources[file])
    if f"#[test]\nfn {mutation.scenario}()" not in sources[file]:
        return f"there is no scenario {mutation.scenario}"
    file = _PACKAGE / "src/lib.rs"
    sources[file] = sources[file].replace("#![cfg(test)]", "#![cfg(test)]\n#![allow(warnings)]")
    _write(_TREE / "mutations" / mutation.name, sources)
    return None


def _build(mutations: Iterable[Mutation]) -> dict[str, Path]:
    """Build the scenarios and all mutations; the test programs by their names."""
    package = _TREE / _PACKAGE
    manifest = (paths.CHECKOUT / _PACKAGE / "Cargo.toml").read_text()
    for mutation in mutations:
        root = f"../../mutations/{mutation.name}/tests/model/src/lib.rs"
        manifest += f'\n[[test]]\nname = "{mutation.name}"\npath = "{root}"\n'
    lock = (paths.CHECKOUT / _PACKAGE / "Cargo.lock").read_text()
    _write(_TREE, _sources() | {_PACKAGE / "Cargo.toml": manifest, _PACKAGE / "Cargo.lock": lock})
    log = paths.LOGS / "model.log"
    console.step(
        "Building the model",
        ["cargo", "test", "--no-run", "--release", "--locked"]
        + ["--target-dir", str(cache.root() / "model-target")]
        + ["--message-format", "json-render-diagnostics"],
        log=log,
        cwd=package,
        env=toolchain.environment(),
        failure="The model of rust/holdfast/protocol.rs does not compile: the lines above say why; "
        "bring tests/model in line with it, and run the same command again.",
    )
    programs = {}
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            message = json.loads(line)
            if message.get("executable"):
                programs[message["target"]["name"]] = Path(message["executable"])
    return programs


class _Runner:
    """Runs scenarios side by side, and leaves none behind."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._over = False
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LOOM_")}
        self._environment = kept | {"RUST_BACKTRACE": "0"}

    def explore(self, program: Path, scenario: str) -> _Ended:
        """Explore one scenario."""
        begin = time.monotonic()
        with self._lock:
            if self._over:
                return _Ended(None, "", 0)
            process = subprocess.Popen(
                [program, "--exact", f"scenarios::{scenario}", "--nocapture", "--test-threads=1"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            self._running.add(process)
        status: int | None
        try:
            output, _ = process.communicate(timeout=_PATIENCE)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            status = None
        finally:
            with self._lock:
                self._running.discard(process)
        return _Ended(status, output, time.monotonic() - begin)

    def end(self) -> None:
        """End all that is running, and begin nothing more."""
        with self._lock:
            self._over = True
            for process in self._running:
                process.kill()


def _judge_scenario(name: str, ended: _Ended) -> tuple[results.Case, str]:
    explored = _EXPLORED.findall(ended.output)
    count = sum(int(number) for number, _ in explored)
    extent = explored[0][1] if explored and explored[0][1] else ", without a bound"
    case = results.Case(name, ended.passed, None, None if ended.passed else ended.reason)
    return case, f"{count} interleavings{extent}; {ended.seconds:.1f} s"


def _judge_mutation(mutation: Mutation, ended: _Ended) -> tuple[results.Case, str]:
    name = f"mutation-{mutation.name}"
    if ended.passed:
        problem = f"{mutation.scenario} passes although the protocol is broken"
    elif ended.status is None or not re.search(mutation.finds, ended.output):
        problem = f"{mutation.scenario} fails, but not with {mutation.finds!r}:\n{ended.reason}"
    else:
        return results.Case(name, True), f"noticed by {mutation.scenario}; {ended.seconds:.1f} s"
    return results.Case(name, False, None, problem), ""


def _show(case: results.Case, remark: str) -> None:
    if case.passed:
        console.note(f"  ok   {case.name}: {remark}")
        return
    console.note(f"  FAIL {case.name}")
    for line in (case.problem or "").splitlines():
        console.note(f"       {line}")


def _scenarios(program: Path) -> list[str]:
    listed = subprocess.run(
        [program, "--list", "--format", "terse"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"^scenarios::(\w+): test$", listed, re.MULTILINE)


def run(_arguments: argparse.Namespace) -> int:
    """Run all scenarios, then each mutation with the scenario that must notice it."""
    mutations = _mutations()
    problems = {mutation.name: _apply(mutation) for mutation in mutations}
    for stale in (_TREE / "mutations").iterdir():
        if problems.get(stale.name, "") is not None:
            shutil.rmtree(stale)
    sound = [mutation for mutation in mutations if problems[mutation.name] is None]
    programs = _build(sound)
    protocol = programs["holdfast_model"]

    cases = []
    runner = _Runner()
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        try:
            names = _scenarios(protocol)
            ended = [pool.submit(runner.explore, protocol, name) for name in names]
            broken = [
                pool.submit(runner.explore, programs[mutation.name], mutation.scenario)
                for mutation in sound
            ]
            console.note(f"protocol: {len(names)} scenarios, {len(mutations)} mutations")
            for name, future in zip(names, ended, strict=True):
                case, remark = _judge_scenario(name, future.result())
                _show(case, remark)
                cases.append(case)
            for mutation, future in zip(sound, broken, strict=True):
                case, remark = _judge_mutation(mutation, future.result())
                _show(case, remark)
                cases.append(case)
        finally:
            runner.end()
    for name, problem in problems.items():
        if problem is not None:
            cases.append(results.Case(f"mutation-{name}", False, None, problem))
            _show(cases[-1], "")
    results.write_ktap(paths.RESULTS / "model.tap", cases, suite="model")
    failed = sum(not case.passed for case in cases)
    console.note(f"model: {len(cases) - failed} of {len(cases)} pass")
    return 1 if failed or not names else 0
