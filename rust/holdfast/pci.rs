// SPDX-License-Identifier: GPL-2.0

//! What Holdfast adds to the kernel crate's PCI abstractions.
//!
//! - [`RescanLock`] is the lock under which devices come and go.
//! - [`sriov`] makes a PCI driver the driver of a physical function, and lets the drivers of its
//!   virtual functions see what is theirs to see.

use kernel::{
    bindings,
    device::DeviceContext,
    pci, //
};

#[path = "pci/rescan.rs"]
pub mod rescan;
#[cfg(CONFIG_PCI_IOV)]
#[path = "pci/sriov.rs"]
pub mod sriov;

#[doc(inline)]
pub use self::rescan::{
    DeviceLock,
    RescanLock,
    Unlocked, //
};

/// The `struct pci_dev` of a device.
fn raw<Ctx: DeviceContext>(pdev: &pci::Device<Ctx>) -> *mut bindings::pci_dev {
    // CAST: `pci::Device` is a transparent wrapper of an `Opaque<bindings::pci_dev>`.
    core::ptr::from_ref(pdev).cast_mut().cast()
}

/// Makes this module ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe {
        rescan::initialise();
        #[cfg(CONFIG_PCI_IOV)]
        sriov::initialise();
    }
}

/// Ends what [`initialise`] began.
///
/// # Safety
///
/// Nothing else in this module may be used from now on.
pub(crate) unsafe fn end() {
    // SAFETY: By the safety requirements.
    unsafe { rescan::end() };
}
