// SPDX-License-Identifier: GPL-2.0

//! An object and its parent are used by any number of tasks, so what refers to the parent can be
//! sent to another task.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::object::{
    Child,
    Parent,
    Place, //
};
use kernel::{
    device::Bound,
    faux,
    prelude::*, //
};

/// Something that is bound, and belongs to one task.
pub struct Local(#[allow(dead_code)] faux::Device<Bound>);

// SAFETY: `from_child` does not return.
unsafe impl Parent for Local {
    type Ref<'a> = &'a Self; //~ E0277

    fn above<'a: 'a>(_parent: &'a Self) -> Result<Place<'a>> {
        Err(ENODEV)
    }

    unsafe fn from_child<'a>(_child: Child<'a>) -> &'a Self {
        loop {}
    }
}
