# SPDX-License-Identifier: GPL-2.0
"""rust-project.json for rust-analyzer: the kernel's crates, the library, the samples.

The kernel's own generator knows the kernel's crates and how they are configured.
It does not know that one crate of an external module can depend on another.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from . import console, kernel, paths, toolchain


def _of_kernel(kernel_: kernel.Kernel, directory: Path) -> dict[str, Any]:
    """Let the kernel's generator describe an external module without crates."""
    directory.mkdir(parents=True, exist_ok=True)
    output = directory / "output"
    output.mkdir(exist_ok=True)
    (directory / "Kbuild").write_text("")
    console.step(
        "Asking the kernel for its crates",
        toolchain.kernel_make(kernel_.objtree, f"M={directory}", f"MO={output}", "rust-analyzer"),
        log=paths.LOGS / "rust-analyzer.log",
        env=toolchain.environment(),
    )
    for place in (output, directory, kernel_.objtree):
        file = place / "rust-project.json"
        if file.exists():
            return dict(json.loads(file.read_text()))
    console.fail("The kernel's `make rust-analyzer` wrote no rust-project.json.")


def _crate(
    name: str, root: Path, like: dict[str, Any], deps: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "display_name": name,
        "root_module": str(root),
        "is_workspace_member": True,
        "deps": deps,
        "cfg": [*like["cfg"], "MODULE"],
        "edition": like["edition"],
        "env": {"RUST_MODFILE": "This is only for rust-analyzer"},
    }


def run(_arguments: argparse.Namespace) -> int:
    """Write rust-project.json into the checkout."""
    project = _of_kernel(kernel.ensure("debug"), paths.BUILD / "rust-analyzer")
    crates = project["crates"]
    index = {crate["display_name"]: number for number, crate in enumerate(crates)}
    for crate in crates:
        crate["is_workspace_member"] = False
    names = ["core", "kernel", "pin_init", "macros", "ffi", "bindings"]
    common = [{"crate": index[name], "name": name} for name in names if name in index]
    like = crates[index["kernel"]]

    library = paths.CHECKOUT / "rust/holdfast.rs"
    crates.append(_crate("holdfast", library, like, common))
    with_library = [*common, {"crate": len(crates) - 1, "name": "holdfast"}]
    cxl = paths.CHECKOUT / "rust/holdfast_cxl.rs"
    crates.append(_crate("holdfast_cxl", cxl, like, with_library))
    with_library.append({"crate": len(crates) - 1, "name": "holdfast_cxl"})
    samples: dict[str, int] = {}
    for sample in sorted((paths.CHECKOUT / "samples").glob("*.rs")):
        samples[sample.stem] = len(crates)
        uses = [
            {"crate": number, "name": name}
            for name, number in samples.items()
            if f"use {name}::" in sample.read_text()
        ]
        crates.append(_crate(sample.stem, sample, like, [*with_library, *uses]))

    (paths.CHECKOUT / "rust-project.json").write_text(
        json.dumps(project, indent=1, sort_keys=True) + "\n"
    )
    console.note("rust-project.json describes the kernel's crates, the library and the samples.")
    return 0
