// SPDX-License-Identifier: GPL-2.0

//! Whoever has a handle is not the owner of a managed value.
//!
//! Promise 4: unregistration happens once.

use holdfast::managed::{
    Handle,
    Managed, //
};
use kernel::prelude::*;

/// Becomes a second owner.
pub fn forge(handle: Handle<KVec<u8>>) -> Managed<KVec<u8>> {
    Managed(handle) //~ E0423
}
