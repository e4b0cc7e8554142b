# SPDX-License-Identifier: GPL-2.0
"""Where things are in the checkout, and what is pinned there."""

from __future__ import annotations

import functools
import tomllib
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
BUILD = CHECKOUT / "build"
RESULTS = BUILD / "results"
LOGS = BUILD / "logs"
PATCHES = CHECKOUT / "patches"


@functools.cache
def versions() -> dict[str, Any]:
    """Return what tools/versions.toml pins."""
    with (CHECKOUT / "tools" / "versions.toml").open("rb") as file:
        return tomllib.load(file)
