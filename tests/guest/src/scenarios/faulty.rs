// SPDX-License-Identifier: GPL-2.0

//! The fault that the library makes impossible, in C, to show that it is real and
//! that the harness sees it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use anyhow::{ensure, Context, Result};

use crate::kernel;
use crate::pci::{self, Device};
use crate::scenario::{Expected, Machine, Scenario, Skip};

pub const MODULE: &str = "devm_chardev";
pub const NODE: &str = "/dev/devm-chardev0";

pub const DEVM_CHARDEV: Scenario = Scenario {
    machine: Machine::Own(""),
    flavour: Some("debug"),
    expected: &[
        Expected {
            pattern: r"BUG: KASAN: slab-use-after-free in faulty_read",
            reason: "read() after the unbind, of memory that devm_kzalloc has freed",
        },
        Expected {
            pattern: r"BUG: KASAN: slab-use-after-free in (?!faulty_read)(?s:.)*__fput",
            reason: "close() after the unbind drops the reference that lies in freed memory",
        },
    ],
    ..Scenario::new(
        "faulty-devm-chardev",
        "devm_kzalloc around a struct device: KASAN reports the use after free",
        devm_chardev,
    )
};

fn devm_chardev() -> Result<()> {
    if !kernel::module_is_available(MODULE) {
        return Err(Skip(format!("{MODULE}.ko is not in this guest")).into());
    }
    let pf = Device::find(pci::IGB)?;
    kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))?;
    let file = File::open(NODE).with_context(|| format!("opening {NODE}"))?;
    let mut text = [0; 64];
    let count = file.read_at(&mut text, 0)?;
    ensure!(
        text[..count].starts_with(b"status 0x"),
        "{NODE} says nothing"
    );
    pf.unbind(MODULE)?;
    // Whatever it answers; the host looks for KASAN's report of it, and of the close.
    let answer = file.read_at(&mut text, 0);
    println!("read after the unbind: {answer:?}");
    drop(file);
    Ok(())
}
