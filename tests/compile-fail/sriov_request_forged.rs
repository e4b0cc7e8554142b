// SPDX-License-Identifier: GPL-2.0

//! VFs are enabled where they were asked for, with both locks held: not in `probe`.
//!
//! Promise 8: the order of the device lock and the rescan lock is in the types.

use core::num::NonZero;
use holdfast::pci::{
    sriov::Request,
    RescanLock, //
};

/// Makes one of what may be at hand.
pub fn forge(lock: &RescanLock) -> Request<'_> {
    Request {
        device: core::ptr::null_mut(), //~ E0451
        count: NonZero::<u16>::MIN,    //~ E0451
        rescan_lock: lock,             //~ E0451
    }
}
