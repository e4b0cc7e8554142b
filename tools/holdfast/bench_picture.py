# SPDX-License-Identifier: GPL-2.0
"""Draws what grows with the number of things."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from . import console

if TYPE_CHECKING:
    from .bench import Figures

_ROWS = {
    "unbind": "unbind of a device, for the number of things bound to it",
    "files-idle": "end of an object, for the number of its open files",
    "files-blocked": "the same, with a reader asleep in each file",
    "many-register": "registration of objects below one, for their number",
    "many-end": "end of an object, for the number of those below it",
}
_MARKERS = "osD^vP"
_LICENCE = "<!-- SPDX-License-Identifier: GPL-2.0 -->"
"""Pictures are shown in Documentation/, where every file says it."""


def draw(figures: Figures, directory: Path) -> Path | None:
    """Draw all rows of a machine that were measured with several numbers, into one file."""
    rows = [row for row in _ROWS if any(len(figures.numbers(row, w)) > 1 for w in figures.who(row))]
    if not rows:
        return None
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("svg")
    from matplotlib import pyplot  # noqa: PLC0415

    # The same results give the same file.
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "holdfast"})
    unit, scale = ("instructions", 1.0) if figures.exact else ("milliseconds", 1e6)
    figure, all_axes = pyplot.subplots(len(rows), 1, figsize=(7, 3.2 * len(rows)), squeeze=False)
    for axes, row in zip(all_axes[:, 0], rows, strict=True):
        for who, marker in zip(figures.who(row), _MARKERS, strict=False):
            points = [
                (n, found)
                for n in figures.numbers(row, who)
                if (found := figures.get(row, who, n)) is not None
            ]
            axes.errorbar(
                [n for n, _ in points],
                [found.value / scale for _, found in points],
                yerr=[
                    [max(0.0, found.value - found.low) / scale for _, found in points],
                    [max(0.0, found.high - found.value) / scale for _, found in points],
                ],
                marker=marker,
                label=who,
                linewidth=2 if who == "ours" else 1,
            )
        axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
        axes.set_title(_ROWS[row], fontsize=9, loc="left")
        axes.set_ylabel(unit, fontsize=8)
        axes.grid(visible=True, linewidth=0.3)
        axes.legend(fontsize=8, frameon=False)
    figure.suptitle(figures.where, fontsize=9)
    figure.tight_layout()
    output = directory / f"bench-{figures.name}.svg"
    figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
    text = output.read_text()
    output.write_text(text.replace("?>\n", f"?>\n{_LICENCE}\n", 1))
    console.note(f"What grows with n is drawn in {output.parent.name}/{output.name}")
    return output
