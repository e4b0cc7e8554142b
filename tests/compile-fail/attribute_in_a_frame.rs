// SPDX-License-Identifier: GPL-2.0

//! Attributes are constants: sysfs looks at them until the object ends.
//!
//! Promise 1: memory lives until the last use of it.

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

/// Attributes whose name is only known when this runs.
pub fn attributes(name: &'static CStr) -> Groups<Example> {
    list![Group::new(list![Attribute::read_only(name, show)])] //~ E0716
}
