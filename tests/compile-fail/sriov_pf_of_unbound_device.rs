// SPDX-License-Identifier: GPL-2.0

//! What a VF's driver has of its PF it has while the VF is bound.
//!
//! Promise 7: a child ends before its parent does.

use example::PfDriver;
use holdfast::pci::sriov;
use kernel::{
    pci,
    prelude::*, //
};

/// Asks for it with a reference to a device that may be bound to nothing.
pub fn probe(vf: &pci::Device) -> Result {
    sriov::physical_function::<PfDriver>(vf).map(drop) //~ E0308
}
