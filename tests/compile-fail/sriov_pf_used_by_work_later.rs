// SPDX-License-Identifier: GPL-2.0

//! What a VF's driver has of its PF cannot be given to those that run later.
//!
//! Promise 7: a child ends before its parent does.

use example::PfDriver;
use holdfast::pci::sriov;
use kernel::{
    device::Core,
    pci,
    prelude::*,
    workqueue, //
};

/// Lets a work queue use it, whenever it comes to it.
pub fn probe(vf: &pci::Device<Core<'_>>) -> Result {
    let pf = sriov::physical_function::<PfDriver>(vf)?;
    workqueue::system().try_spawn(GFP_KERNEL, move || pf.with(|_shared| ()))?; //~ E0521
    Ok(())
}
