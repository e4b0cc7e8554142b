// SPDX-License-Identifier: GPL-2.0

//! What is found in a registry is of its type.
//!
//! Promise 9: drivers contain no `unsafe`, and what they do without it is checked.

use example::{
    Child,
    Example, //
};
use holdfast::{
    object::Object,
    registry::Registry, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::aref::ARef, //
};

/// Finds an object of one type in a registry of another.
pub fn find(children: &Registry<Child>, name: &BStr) -> Result<ARef<Object<Example>>> {
    children.get(name) //~ E0308
}
