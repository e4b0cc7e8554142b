// SPDX-License-Identifier: GPL-2.0

//! A child knows its parent for as long as it is bound itself.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Child,
    Example, //
};
use holdfast::object::{
    Object,
    Registered, //
};
use kernel::prelude::*;

/// Keeps the parent after the child's door was left.
pub fn keep<'a>(child: &'a Object<Child>, kept: &mut Option<Registered<'a, Example>>) -> Result {
    child.access(|child| *kept = Some(child.parent())) //~ E0521
}
