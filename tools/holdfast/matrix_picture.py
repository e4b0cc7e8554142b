# SPDX-License-Identifier: GPL-2.0
"""Draws the matrix, to be read at a glance, and keeps what it was drawn from beside it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import console, guest_image, matrix, paths

PICTURE = paths.CHECKOUT / "Documentation" / "matrix.svg"

_TABLES = [
    ("stock", matrix.PF_STUB, "Linux 7.3 as it is, PFs bound to pci-pf-stub"),
    ("stock", matrix.HOLDFAST, "Linux 7.3 as it is, PFs bound to Holdfast's sample"),
    ("patched", matrix.HOLDFAST, "With patches/7.3, PFs bound to Holdfast's sample"),
]

# Told apart by lightness, too, and by a letter.
_STYLES = {
    matrix.PASS: ("#8fd19e", "", "passes"),
    matrix.HANG: ("#b2182b", "H", "hangs for good"),
    matrix.BROKEN: ("#6a3d9a", "B", "the device does not work afterwards, or a VF is left"),
    matrix.SPLAT: ("#f4a259", "S", "the kernel reports a fault"),
    matrix.LEAK: ("#ffe08a", "L", "memory leaks"),
    matrix.NO_OVERLAP: ("#9ecae1", "O", "too few overlaps to tell"),
}
_LOCKDEP = ("#e0603f", "D", "lockdep reports a deadlock that is possible")
_MEANINGLESS = ("#e3e3e3", "", "cannot be raced")
_UNKNOWN = ("#ffffff", "?", "not run")
_DARK = {"H", "B"}

_GROUPS = {
    "pf": "the same PF",
    "port": "the port above",
    "vf": "a VF",
    "second-pf": "a second PF",
}
_GAP = 0.6


@dataclass(frozen=True)
class Layout:
    """Which operations are rows, and which are columns for each target."""

    rows: list[str]
    columns: dict[str, list[str]]


def layout(cells: Sequence[matrix.Cell]) -> Layout:
    """Arrange the cells: first operations in rows, second ones in columns."""
    columns: dict[str, list[str]] = {target: [] for target in _GROUPS}
    rows: list[str] = []
    for cell in cells:
        for names, name in ((rows, cell.a), (columns[cell.target], cell.b)):
            if name not in names:
                names.append(name)
    return Layout(rows, columns)


def places(cell: Any, arranged: Layout) -> list[tuple[str, str]]:  # noqa: ANN401 - Cell or Result
    """Return rows and columns of a cell: two if its operations can change places."""
    columns = arranged.columns[cell.target]
    found = [(cell.a, cell.b)]
    if cell.a != cell.b and cell.b in arranged.rows and cell.a in columns:
        found.append((cell.b, cell.a))
    return found


def style_of(result: matrix.Result) -> tuple[str, str, str]:
    """Return colour, letter and meaning of what a cell came to."""
    if result.verdict == matrix.SPLAT and "possible circular locking dependency" in result.detail:
        return _LOCKDEP
    return _STYLES[result.verdict]


def _draw_table(
    axes: Any,  # noqa: ANN401 - matplotlib's
    cells: Iterable[matrix.Cell],
    known: dict[tuple[str, str, str], matrix.Result],
    arranged: Layout,
) -> None:
    """Draw one table."""
    from matplotlib.patches import Rectangle  # noqa: PLC0415 - slow to import

    at: dict[tuple[str, str], float] = {}
    x = 0.0
    for target, names in arranged.columns.items():
        first = x
        for name in names:
            at[target, name] = x
            axes.text(x + 0.5, -0.25, name, rotation=90, ha="center", va="bottom", fontsize=7)
            x += 1
        axes.text((first + x) / 2, -6.1, f"on {_GROUPS[target]}", ha="center", fontsize=8)
        x += _GAP
    axes.text(-0.25, -6.1, "on a PF or its VF, against", ha="right", fontsize=8)
    for number, name in enumerate(arranged.rows):
        axes.text(-0.25, number + 0.5, name, ha="right", va="center", fontsize=7)
    for cell in cells:
        result = known.get((cell.a, cell.b, cell.target))
        style = _MEANINGLESS if cell.meaningless else _UNKNOWN
        if result is not None:
            style = style_of(result)
        colour, letter, _ = style
        text = "white" if letter in _DARK else "black"
        for row, column in places(cell, arranged):
            left, top = at[cell.target, column], arranged.rows.index(row)
            axes.add_patch(Rectangle((left, top), 1, 1, facecolor=colour, edgecolor="white"))
            axes.text(
                left + 0.5, top + 0.55, letter, ha="center", va="center", fontsize=7, color=text
            )
    axes.set_xlim(-5.5, x)
    axes.set_ylim(len(arranged.rows) + 0.2, -6.8)
    axes.set_aspect("equal")
    axes.axis("off")


def _heading(variant: str, what: str, found: Sequence[matrix.Result]) -> str:
    """Say below which figures the colours are."""
    if not found:
        return f"{what}: not run yet (make matrix KERNEL={variant})"
    verdicts = [result.verdict for result in found]
    counts = ", ".join(
        f"{verdicts.count(verdict)} {verdict}" for verdict in matrix.VERDICTS if verdict in verdicts
    )
    rounds = [result.rounds for result in found if result.verdict == matrix.PASS]
    least = f"; those that pass: {min(rounds)} rounds or more" if rounds else ""
    return f"{what}\n{counts}{least}"


def draw(cells: Sequence[matrix.Cell], found: Sequence[matrix.Result], output: Path) -> None:
    """Draw both tables into one file."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    # The same results give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "holdfast"})
    arranged = layout(cells)
    figure, all_axes = pyplot.subplots(len(_TABLES), 1, figsize=(10.5, 22))
    for axes, (variant, driver, what) in zip(all_axes, _TABLES, strict=True):
        ours = [r for r in found if (r.kernel, r.driver) == (variant, driver)]
        axes.set_title(_heading(variant, what, ours), fontsize=10, loc="left")
        _draw_table(axes, cells, {(r.a, r.b, r.target): r for r in ours}, arranged)
    styles = [*_STYLES.values(), _LOCKDEP, _MEANINGLESS, _UNKNOWN]
    patches = [
        Patch(facecolor=colour, edgecolor="grey", label=f"{letter}: {what}" if letter else what)
        for colour, letter, what in styles
    ]
    figure.legend(handles=patches, loc="lower center", ncols=2, fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.02, right=0.98, top=0.97, bottom=0.06, hspace=0.12)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def run(_arguments: argparse.Namespace) -> int:
    """Draw what the last runs of `make matrix` have found."""
    source = paths.RESULTS / "matrix.json"
    if not source.exists():
        console.fail("There is no matrix yet: run make matrix KERNEL=stock and KERNEL=patched.")
    cells = json.loads(source.read_text())
    found = [matrix.Result(**result) for result in cells]
    draw(matrix.known(guest_image.guest_program()), found, PICTURE)
    # A line for each cell, so that a change can be read.
    lines = ",\n".join(json.dumps(cell) for cell in cells)
    PICTURE.with_suffix(".json").write_text(f"[\n{lines}\n]\n")
    console.note(f"{len(found)} cells are drawn in {PICTURE.relative_to(paths.CHECKOUT)}")
    return 0
