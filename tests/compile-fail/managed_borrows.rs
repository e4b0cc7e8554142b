// SPDX-License-Identifier: GPL-2.0

//! A managed value outlives the frame in which it is made, so it does not borrow.
//!
//! Promise 2: every constructor is safe, also against `mem::forget`.

use holdfast::managed::Managed;
use kernel::{
    device::{
        Bound,
        Device, //
    },
    prelude::*, //
};

/// Lends a variable to a managed value.
pub fn lend(device: &Device<Bound>) -> Result {
    let local = 1;
    let managed = Managed::<&u32>::new(device, Ok::<_, Error>(&local))?; //~ E0597
    drop(managed);
    Ok(())
}
