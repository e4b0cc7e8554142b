// SPDX-License-Identifier: GPL-2.0

//! A driver does not disable VFs itself, and so cannot do it too late.
//!
//! Promise 7: a child ends before its parent does.

pub use holdfast::pci::sriov::disable_vfs; //~ E0603
