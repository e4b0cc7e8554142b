// SPDX-License-Identifier: GPL-2.0

//! A registry creates nothing below an object that may have ended.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Child,
    Example, //
};
use holdfast::{
    object::Object,
    registry::Registry, //
};
use kernel::prelude::*;

/// Creates below an object that may have ended.
pub fn create(children: &Registry<Child>, object: &Object<Example>) -> Result {
    children.create(object, (), ()).map(drop) //~ E0308
}
