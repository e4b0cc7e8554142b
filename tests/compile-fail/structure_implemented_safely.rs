// SPDX-License-Identifier: GPL-2.0

//! That a C structure embeds a device is a promise that only `unsafe` code can make.
//!
//! Promise 9: drivers contain no `unsafe`.

use holdfast::object::Structure;

/// Embeds nothing.
pub struct Nothing;

impl Structure for Nothing {
    //~^ E0200
    const DEVICE: usize = 0;
}
