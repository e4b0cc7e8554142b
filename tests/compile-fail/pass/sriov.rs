// SPDX-License-Identifier: GPL-2.0

//! PFs and VFs as they should be: who enables them, who sees what, in which order locks are taken.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use core::num::NonZero;
use example::PfDriver;
use holdfast::pci::{
    sriov::{
        self,
        PhysicalFunction,
        Request,
        Vfs, //
    },
    RescanLock,
    Unlocked, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    pci,
    prelude::*, //
};

/// What a VF's driver keeps.
pub struct VfBound<'bound> {
    pf: PhysicalFunction<'bound, PfDriver>,
}

impl VfBound<'_> {
    /// Uses it later.
    pub fn look(&self) -> u32 {
        self.pf.with(|shared| *shared)
    }
}

/// Gets it in `bind`.
pub fn bind<'bound>(vf: &'bound pci::Device<Bound>) -> Result<VfBound<'bound>> {
    Ok(VfBound {
        pf: sriov::physical_function(vf)?,
    })
}

/// Gets it in `probe`.
pub fn probe<'bound>(vf: &'bound pci::Device<Core<'_>>) -> Result<VfBound<'bound>> {
    bind(vf)
}

/// Enables one VF only, and fails if that is not enough.
pub fn configure<'a>(request: Request<'a>, most: u16) -> Result<Vfs<'a>> {
    let wanted = request.count();
    let depth = RescanLock::with(request.rescan_lock(), |again| again.depth())?;
    let vfs = request.enable_fewer(NonZero::<u16>::MIN)?;
    if depth < 2 || wanted.get() > most {
        return Err(EBUSY);
    }
    Ok(vfs)
}

/// Takes both locks.
pub fn both(unlocked: &mut Unlocked, pdev: &pci::Device) -> Result<u16> {
    RescanLock::with_device(unlocked, pdev, |lock, device| {
        RescanLock::with(lock, |again| again.hand_over(|lent| lent.depth()))??;
        Ok(device.device_id())
    })?
}

/// Looks in a callback whether the lock is held.
pub fn unbind(_pdev: &pci::Device<Core<'_>>) -> Option<Result<usize>> {
    RescanLock::if_held(|lock| RescanLock::with(lock, |again| again.depth()))
}
