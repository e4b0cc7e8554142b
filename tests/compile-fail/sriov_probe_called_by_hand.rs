// SPDX-License-Identifier: GPL-2.0

//! A driver does not call the library's part of `probe` for a device that it has bound itself: its
//! own data would be taken for the library's.
//!
//! Promise 9: drivers contain no `unsafe`, so what is not checked cannot be made.

pub use holdfast::pci::sriov::PciDriver; //~ E0603
