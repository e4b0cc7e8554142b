// SPDX-License-Identifier: GPL-2.0

//! What is bound to the parent can be used by a child, and not be kept for longer than it.
//!
//! Promise 7: a child ends before its parent does.

use example::Child;
use holdfast::object::Object;
use kernel::{
    io::Io,
    pci,
    prelude::*, //
};

/// Reads through the parent after the child's door was left.
pub fn read_later(child: &Object<Child>) -> Result<u32> {
    let mut kept: Option<&pci::Bar<'_, 0x10>> = None;
    child.access(|child| kept = Some(child.parent().with(|parent| &parent.bound().bar)))?; //~ ERROR
    Ok(kept.map_or(0, |bar| bar.read32(0)))
}
