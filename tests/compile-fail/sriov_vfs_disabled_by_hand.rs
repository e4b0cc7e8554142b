// SPDX-License-Identifier: GPL-2.0

//! A driver does not disable VFs itself, and so cannot do it too late.
//!
//! Promise 7: a child ends before its parent does.

use holdfast::pci::sriov;
use kernel::{
    device::Core,
    pci, //
};

/// Disables VFs.
pub fn disable(pdev: &pci::Device<Core<'_>>) {
    sriov::disable_vfs(pdev) //~ E0603
}
