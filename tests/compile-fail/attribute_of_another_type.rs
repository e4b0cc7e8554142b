// SPDX-License-Identifier: GPL-2.0

//! The attributes of an object are those of its own type: those of another would take what is bound
//! for something else.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use example::Example;
use holdfast::{
    attribute::{
        list,
        Attribute,
        Group,
        Groups,
        Output, //
    },
    object::Access, //
};
use kernel::prelude::*;

fn show(access: &Access<'_, '_, Example>, output: &mut Output<'_>) -> Result {
    writeln!(output, "{}", **access.object())
}

/// Attributes of something else.
pub const ATTRIBUTES: Groups<example::Child> =
    list![Group::new(list![Attribute::read_only(c"number", show)])]; //~ E0308
