// SPDX-License-Identifier: GPL-2.0

//! What Holdfast adds to the kernel crate's PCI abstractions.

#[cfg(CONFIG_PCI_IOV)]
#[path = "pci/sriov.rs"]
pub mod sriov;
