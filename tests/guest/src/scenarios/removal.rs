// SPDX-License-Identifier: GPL-2.0

//! The device itself goes while user space holds it open.

use anyhow::{ensure, Result};

use crate::pci;
use crate::sample::{self, OpenFile, Sample};
use crate::scenario::Scenario;
use crate::wait;

pub const UNDER_OPEN_FILE: Scenario = Scenario::new(
    "remove-under-open-file",
    "removing the PCI device returns at once, and after a rescan it works again",
    under_open_file,
);

fn under_open_file() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    file.status()?;
    let file = remove_and_rescan(&sample, file)?;
    file.expect_dead()?;
    drop(file);
    sample.unload()
}

pub const WITH_VFS: Scenario = Scenario::new(
    "remove-with-vfs",
    "removing the PCI device with VFs on takes them along",
    with_vfs,
);

fn with_vfs() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    sample.pf.set_vf_count(2)?;
    pci::expect_vfs(&sample.pf, 2)?;
    let file = remove_and_rescan(&sample, file)?;
    pci::expect_vfs(&sample.pf, 0)?;
    drop(file);
    sample.unload()
}

/// Removes the device under `file`, finds it again, and reads it through a new file.
fn remove_and_rescan(sample: &Sample, file: OpenFile) -> Result<OpenFile> {
    let pf = sample.pf.clone();
    wait::within("remove", move || pf.remove())?;
    ensure!(!sample.pf.exists(), "the device is still there");
    ensure!(pci::all(pci::IGB_VF)?.is_empty(), "its VFs are still there");
    sample::expect_no_class_device()?;
    file.expect_gone()?;
    pci::rescan()?;
    sample.expect_bound()?;
    sample.open()?.status()?;
    Ok(file)
}
