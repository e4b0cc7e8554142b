# SPDX-License-Identifier: GPL-2.0
"""What the user sees: progress of long steps, and one sentence when one fails."""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

# Seconds between two plain progress lines
PLAIN_INTERVAL = 30.0

# What apt, cargo and pip say when there is no network
NO_NETWORK = re.compile(
    r"Temporary failure (in name resolution|resolving)|[Cc]ould ?n[o']t resolve host|"
    r"Network is unreachable|Connection (refused|timed out)|Unable to connect|Cannot initiate the"
)

# Lock files that a started command keeps open. The lock then outlives a run that
# is killed for as long as its compilers still write, and the next run waits.
inherited_descriptors: set[int] = set()


def verbose() -> bool:
    """Tell whether V=1 asked to see what is run."""
    return os.environ.get("V", "") not in ("", "0")


def note(text: str) -> None:
    """Print a plain message, at once."""
    print(text, flush=True)


def fail(sentence: str, *, log: Path | None = None) -> NoReturn:
    """Say in one sentence what is wrong and what to do, and end with status 1."""
    sys.stdout.flush()
    if log is not None and log.exists():
        tail = log.read_text(errors="replace").splitlines()[-15:]
        if any("No space left on device" in line for line in tail):
            sentence = (
                f"The disk is full ({sentence.rstrip('.')}): make room, or set HOLDFAST_CACHE "
                "to a roomier place, and run the same command again."
            )
        elif any(NO_NETWORK.search(line) for line in tail):
            sentence = (
                f"The network cannot be reached ({sentence.partition(':')[0].rstrip('.')}): "
                "connect this machine or set its proxy, and run the same command again."
            )
        for line in tail:
            print(f"  | {line}", file=sys.stderr)
        sentence = f"{sentence} The whole log is {log}"
    print(f"holdfast: {sentence}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def duration(seconds: float) -> str:
    """Write seconds as people do."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


class _Plain:
    """Progress for logs: a line at the start, one every half minute, one at the end."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.next = time.monotonic() + PLAIN_INTERVAL
        note(f"{title} ...")

    def update(self, elapsed: float, fraction: float | None) -> None:
        if time.monotonic() < self.next:
            return
        self.next += PLAIN_INTERVAL
        share = "" if fraction is None else f"{fraction:.0%}, "
        note(f"{self.title}: {share}{duration(elapsed)} so far")

    def done(self, elapsed: float) -> None:
        if elapsed >= 1:
            note(f"{self.title}: done in {duration(elapsed)}")


class _Terminal:
    """Progress for people: one line that stays in place until the step is done."""

    def __init__(self, title: str) -> None:
        from rich.progress import (  # noqa: PLC0415 - costs 100 ms, only terminals need it
            BarColumn,
            Progress,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self.title = title
        self.progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            transient=True,
        )
        self.task = self.progress.add_task(title, total=None)
        self.progress.start()

    def update(self, _elapsed: float, fraction: float | None) -> None:
        if fraction is not None:
            self.progress.update(self.task, total=1.0, completed=fraction)

    def done(self, elapsed: float) -> None:
        self.progress.stop()
        note(f"{self.title}: {duration(elapsed)}")

    def stop(self) -> None:
        self.progress.stop()


@contextmanager
def _ended_with_us(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Do not leave a command behind when this run is interrupted."""
    try:
        yield
    except BaseException:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def step(
    title: str,
    command: list[str],
    *,
    log: Path,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    expected_lines: int | None = None,
    failure: str | None = None,
) -> None:
    """Run a long command with progress, its output into a log.

    The percentage compares the lines printed so far with those that a complete
    run is known to print. `failure` replaces the sentence for a failed command.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    echo = verbose()
    if echo:
        note(f"$ {shlex.join(command)}")
    terminal = sys.stdout.isatty() and not echo
    progress: _Terminal | _Plain = _Terminal(title) if terminal else _Plain(title)
    begin = time.monotonic()
    lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    count = 0
    try:
        with log.open("wb") as output:
            output.write(f"$ {shlex.join(command)}\n".encode())
            try:
                process = subprocess.Popen(
                    command,
                    cwd=cwd,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    pass_fds=tuple(inherited_descriptors),
                )
            except FileNotFoundError as error:
                fail(f"{title}: {error.filename} does not exist; run `make setup`.")

            def read() -> None:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.put(line)
                lines.put(None)

            threading.Thread(target=read, daemon=True).start()
            with _ended_with_us(process):
                while True:
                    try:
                        line = lines.get(timeout=0.5)
                    except queue.Empty:
                        line = b""
                    if line is None:
                        break
                    if line:
                        count += 1
                        output.write(line)
                        if echo:
                            note(line.decode(errors="replace").rstrip())
                    fraction = min(0.99, count / expected_lines) if expected_lines else None
                    progress.update(time.monotonic() - begin, fraction)
                status = process.wait()
    finally:
        if isinstance(progress, _Terminal):
            progress.stop()
    if status < 0:
        fail(
            f"{title} was stopped by {signal.Signals(-status).name}: run the same command again, "
            "it goes on from there.",
            log=log,
        )
    if status != 0:
        fail(
            failure
            or f"{title} failed with exit status {status}: the lines above say why; "
            "put that right and run the same command again, it goes on from there.",
            log=log,
        )
    progress.done(time.monotonic() - begin)
