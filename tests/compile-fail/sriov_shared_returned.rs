// SPDX-License-Identifier: GPL-2.0

//! What the PF's driver shows is lent, and stays where it is.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::PfDriver;
use holdfast::pci::sriov::PhysicalFunction;

/// Keeps a reference to it.
pub fn keep<'bound>(pf: PhysicalFunction<'bound, PfDriver>) -> &'bound u32 {
    pf.with(|shared| shared) //~ ERROR
}
