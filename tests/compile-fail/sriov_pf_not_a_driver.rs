// SPDX-License-Identifier: GPL-2.0

//! A VF's driver gets to its PF by the type of the PF's driver.
//!
//! Promise 3: access is fenced, and checked by type.

use holdfast::pci::sriov;
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// The data of the PF's driver, perhaps.
pub struct Guess;

/// Takes it for what it may be.
pub fn probe(vf: &pci::Device<Bound>) -> Result {
    sriov::physical_function::<Guess>(vf).map(drop) //~ E0277
}
