// SPDX-License-Identifier: GPL-2.0

//! Whether VFs are enabled can be asked of a device that is bound.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::pci::sriov;
use kernel::pci;

/// Asks a device that may have no driver.
pub fn count(pdev: &pci::Device) -> u16 {
    sriov::num_vfs(pdev) //~ E0308
}
