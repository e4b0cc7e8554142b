// SPDX-License-Identifier: GPL-2.0

//! The driver goes while user space holds its device open.

use anyhow::{bail, Result};
use rustix::io::Errno;

use crate::kernel;
use crate::pci;
use crate::sample::{self, Sample, LIBRARY, MODULE};
use crate::scenario::{Expected, Scenario};

/// The PCI core's own: in every driver that turns its VFs off in `.remove`, as it
/// must, and that is unbound through sysfs, where the core takes no lock around it.
pub const RESCAN_LOCK: &[Expected] = &[Expected {
    pattern: r"WARNING: drivers/pci/remove\.c:\d+ at pci_stop_and_remove_bus_device",
    reason: "the PCI core calls .remove without the rescan lock that disabling VFs asserts",
}];

pub const UNDER_OPEN_FILE: Scenario = Scenario::new(
    "unbind-under-open-file",
    "unbind returns at once, the file answers ENODEV, and the driver can be bound again",
    under_open_file,
);

fn under_open_file() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    file.status()?;
    sample.unbind()?;
    file.expect_gone()?;

    // The old file stays dead next to a new device, which must not be taken for it.
    sample.bind()?;
    let new = sample.open()?;
    new.status()?;
    file.expect_dead()?;
    drop(file);
    new.status()?;
    drop(new);
    sample.unload()
}

pub const WITH_VFS: Scenario = Scenario {
    expected: RESCAN_LOCK,
    ..Scenario::new(
        "unbind-with-vfs",
        "unbinding under an open file, with VFs on, leaves none behind",
        with_vfs,
    )
};

fn with_vfs() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    sample.pf.set_vf_count(2)?;
    pci::expect_vfs(&sample.pf, 2)?;
    sample.unbind()?;
    pci::expect_vfs(&sample.pf, 0)?;
    file.expect_gone()?;
    drop(file);
    sample.bind()?;
    sample.open()?.status()?;
    sample.unload()
}

pub const RMMOD_UNDER_OPEN_FILE: Scenario = Scenario::new(
    "rmmod-under-open-file",
    "an open file pins the library, but neither the driver nor its module",
    rmmod_under_open_file,
);

fn rmmod_under_open_file() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    file.status()?;
    sample::unload_module(MODULE)?;
    file.expect_gone()?;
    sample::expect_no_class_device()?;
    match kernel::rmmod(LIBRARY) {
        Err(Errno::WOULDBLOCK | Errno::BUSY) => {}
        other => bail!("rmmod of the library under an open file: {other:?}, not EWOULDBLOCK"),
    }
    file.expect_gone()?;
    drop(file);
    sample::unload_library()
}

/// Nothing is expected here: the library disables the VFs with the rescan lock held, before the
/// driver is unregistered.
pub const RMMOD_WITH_VFS: Scenario = Scenario::new(
    "rmmod-with-vfs",
    "unloading the driver with VFs on leaves none behind",
    rmmod_with_vfs,
);

fn rmmod_with_vfs() -> Result<()> {
    let sample = Sample::load()?;
    let pf = sample.pf.clone();
    pf.set_vf_count(3)?;
    pci::expect_vfs(&pf, 3)?;
    sample.unload()?;
    pci::expect_vfs(&pf, 0)
}
