// SPDX-License-Identifier: GPL-2.0

//! What a VF's driver has of its PF ends with the binding of the VF.
//!
//! Promise 7: a child ends before its parent does.

use example::PfDriver;
use holdfast::pci::sriov::{
    self,
    PhysicalFunction, //
};
use kernel::{
    device::Core,
    pci,
    prelude::*,
    sync::SetOnce, //
};

static KEPT: SetOnce<PhysicalFunction<'static, PfDriver>> = SetOnce::new();

/// Keeps it.
pub fn probe<'bound>(vf: &'bound pci::Device<Core<'_>>) -> Result {
    KEPT.populate(sriov::physical_function(vf)?); //~ E0521
    Ok(())
}
