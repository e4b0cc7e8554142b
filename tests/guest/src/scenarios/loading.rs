// SPDX-License-Identifier: GPL-2.0

//! Modules come and go in the only order that is safe.

use anyhow::{bail, Result};
use rustix::io::Errno;

use crate::kernel;
use crate::sample::{self, Sample, LIBRARY, MODULE};
use crate::scenario::Scenario;

pub const ORDER: Scenario = Scenario::new(
    "module-order",
    "the module loader keeps the sample from outliving the library",
    order,
);

fn order() -> Result<()> {
    sample::require()?;
    match kernel::insmod(MODULE) {
        Err(Errno::NOENT) => {}
        other => bail!("insmod of the sample without the library: {other:?}, not ENOENT"),
    }
    let sample = Sample::load()?;
    match kernel::rmmod(LIBRARY) {
        Err(Errno::WOULDBLOCK | Errno::BUSY) => {}
        other => bail!("rmmod of the library under the sample: {other:?}, not EWOULDBLOCK"),
    }
    sample.open()?.status()?;
    sample.unload()
}

pub const PROBE: Scenario = Scenario::new(
    "probe",
    "probe makes a device node that reads a real register; unloading takes it away",
    probe,
);

fn probe() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    let status = file.status()?;
    println!("status register {:#010x}", status.register);
    if status.vfs != 0 {
        bail!("{} VFs, though none was asked for", status.vfs);
    }
    drop(file);
    sample.unload()?;
    sample::expect_no_class_device()
}
