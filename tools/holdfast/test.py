# SPDX-License-Identifier: GPL-2.0
"""All tests, and one line at the end that adds them up."""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import threading

from . import console, paths, results

# The machines wait for their kernels as often as they compute, and what runs on the host
# has the processor meanwhile. It prints when they are done.
FIRST = [("compile_fail", [])]
BESIDE = [("model", []), ("kunit", ["--only", "uml"])]
# What runs in a virtual machine is one part, so that machines can run side by side.
LAST = [("scenarios", ["--kunit"]), ("matrix", ["--kernel", "patched", "--quick"])]


def _run(name: str, options: list[str]) -> int:
    """Run one part; a part that could not even start must not keep the others from running."""
    part = importlib.import_module(f".{name}", __package__)
    parser = argparse.ArgumentParser(prog=name)
    if hasattr(part, "add_arguments"):
        part.add_arguments(parser)
    try:
        return int(part.run(parser.parse_args(options)))
    except SystemExit as end:
        return 1 if end.code else 0


class _Beside:
    """Runs the parts of the host one after the other, and keeps what they print for later."""

    def __init__(self) -> None:
        self.failed: list[str] = []
        self._log = paths.LOGS / "test-beside.log"
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> _Beside:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        names = " and ".join(" ".join([name, *options]) for name, options in BESIDE)
        log = os.path.relpath(self._log)
        console.note(f"Beside what follows, and printed after it: {names}; log in {log}")
        self._thread.start()
        return self

    def _run(self) -> None:
        with self._log.open("wb") as log:
            for name, options in BESIDE:
                with self._lock:
                    if self._stopped:
                        return
                    self._running = subprocess.Popen(
                        [sys.executable, "-m", __package__, name, *options],
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=subprocess.STDOUT,
                    )
                if self._running.wait() != 0:
                    self.failed.append(name)

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None:
            with self._lock:
                self._stopped = True
                if self._running is not None:
                    self._running.terminate()
        self._thread.join()
        if kind is None:
            sys.stdout.write(self._log.read_text(errors="replace"))
            sys.stdout.flush()


def run(_arguments: argparse.Namespace) -> int:
    """Run every part, then add up every KTAP file."""
    results.start_run()
    failed_parts = [name for name, options in FIRST if _run(name, options) != 0]
    with _Beside() as beside:
        failed_parts += [name for name, options in LAST if _run(name, options) != 0]
    failed_parts += beside.failed
    for name in failed_parts:
        console.note(f"make {name.replace('_', '-')} failed")
    passed, failed, skipped = results.totals(results.files())
    if failed_parts and not failed:
        # Something failed that no test reports: it must not look like success.
        failed = len(failed_parts)
    console.note(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or failed_parts or not passed else 0
