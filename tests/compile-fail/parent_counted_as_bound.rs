// SPDX-License-Identifier: GPL-2.0

//! A counted reference keeps the parent's memory, and says nothing of its binding.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    pci::{
        self,
        Bar, //
    },
    prelude::*,
    sync::aref::ARef, //
};

/// Maps a BAR after the door was left.
pub fn map_later(object: &Object<Example>) -> Result {
    let parent: ARef<pci::Device> = object.access(|access| access.parent().into())?;
    let _bar: Bar<'_, 0x10> = parent.iomap_region_sized(0, c"example")?; //~ E0599
    Ok(())
}
