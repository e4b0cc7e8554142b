// SPDX-License-Identifier: GPL-2.0

//! VFs on and off, through the file that the PCI core has for it.

use anyhow::{ensure, Result};

use crate::pci;
use crate::sample::Sample;
use crate::scenario::Scenario;

pub const ON_AND_OFF: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "vfs-on-and-off",
        "sriov_numvfs turns 2, 0, 7 and 0 VFs on, and the driver knows how many",
        on_and_off,
    )
};

fn on_and_off() -> Result<()> {
    let sample = Sample::load()?;
    let file = sample.open()?;
    for count in [2, 0, 7, 0] {
        sample.pf.set_vf_count(count)?;
        pci::expect_vfs(&sample.pf, count)?;
        let said = file.status()?.vfs;
        ensure!(
            said == count,
            "the driver says {said} VFs, the PCI core {count}"
        );
    }
    drop(file);
    sample.unload()
}
