# SPDX-License-Identifier: GPL-2.0
"""The cache outside the checkout: one copy of what is slow to fetch or build.

An entry is a directory named after everything that went into it. A stamp file,
written last, tells a complete entry from one that a killed run left behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from . import console

_held: dict[str, int] = {}


def root() -> Path:
    """Return the cache directory, which exists afterwards."""
    chosen = os.environ.get("HOLDFAST_CACHE")
    if chosen:
        path = Path(chosen).absolute()
    else:
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        path = Path(home) / "holdfast"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        console.fail(
            f"Cannot create the cache directory {path} ({error.strerror}): make it writable, "
            "or set HOLDFAST_CACHE to another place."
        )
    return path


def key(*parts: bytes | str | Path) -> str:
    """Name an entry after its ingredients; a path stands for its file's contents."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            data = part.read_bytes()
        elif isinstance(part, str):
            data = part.encode()
        else:
            data = part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:16]


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock `name` of this cache; entering it twice in one run is harmless.

    Only one of two runs builds an entry; the other waits, and says for whom.
    """
    if name in _held:
        _held[name] += 1
        try:
            yield
        finally:
            _held[name] -= 1
        return

    directory = root() / "locks"
    directory.mkdir(exist_ok=True)
    with (directory / name.replace("/", "-")).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            owner = file.read().strip() or "another run"
            console.note(f"Waiting for {owner}, which holds {name} in {root()}")
            fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} (`holdfast {' '.join(sys.argv[1:])}` in {Path.cwd()})")
        file.flush()
        _held[name] = 1
        console.inherited_descriptors.add(file.fileno())
        try:
            yield
        finally:
            console.inherited_descriptors.discard(file.fileno())
            del _held[name]
            file.truncate(0)


def need_space(path: Path, gibibytes: float, what: str) -> None:
    """End with a sentence unless there is room for `what` below `path`."""
    existing = path
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 2**30
    if free < gibibytes:
        console.fail(
            f"Too little disk space in {path} for {what}: {gibibytes:.1f} GiB are needed, "
            f"{free:.1f} GiB are free; make room, or set HOLDFAST_CACHE to a roomier place."
        )


def replace(temporary: Path, final: Path) -> None:
    """Put a finished directory into place; an unfinished one of before goes away."""
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)


def write_stamp(path: Path, content: str) -> None:
    """Mark an entry as complete, which must be the last thing done to it."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(content)
    temporary.rename(path)


def read_stamp(path: Path) -> str | None:
    """Return what a complete entry was stamped with, None for an incomplete one."""
    try:
        return path.read_text()
    except OSError:
        return None


def expected_lines(name: str, default: int) -> int:
    """Return how many lines the step printed last time on this machine."""
    try:
        return int(json.loads((root() / "expected-lines.json").read_text())[name])
    except (OSError, ValueError, KeyError):
        return default


def remember_lines(name: str, log: Path) -> None:
    """Count the lines of a complete step, for the percentage of the next one."""
    file = root() / "expected-lines.json"
    try:
        known = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {}
    with log.open("rb") as lines:
        known[name] = sum(1 for _ in lines)
    write_stamp(file, json.dumps(known, indent=1, sort_keys=True))
