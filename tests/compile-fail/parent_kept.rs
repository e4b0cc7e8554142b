// SPDX-License-Identifier: GPL-2.0

//! That the parent is bound is known inside the door only.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::object::Object;
use kernel::{
    pci::Bar,
    prelude::*, //
};

/// Maps a BAR after the door was left.
pub fn map_later(object: &Object<Example>) -> Result {
    let parent = object.access(|access| access.parent())?; //~ ERROR
    let _bar: Bar<'_, 0x10> = parent.iomap_region_sized(0, c"example")?;
    Ok(())
}
