// SPDX-License-Identifier: GPL-2.0

//! That a type is a bound device is a promise that only `unsafe` code can make.
//!
//! Promise 9: drivers contain no `unsafe`.

use holdfast::object::{
    Child,
    Parent,
    Place, //
};
use kernel::prelude::*;

/// Something that is bound to nothing.
pub struct Anything;

impl Parent for Anything {
    //~^ E0200
    type Ref<'a> = &'a Self;

    fn above<'a: 'a>(_parent: &'a Self) -> Result<Place<'a>> {
        Err(ENODEV)
    }

    unsafe fn from_child<'a>(_child: Child<'a>) -> &'a Self {
        &Anything
    }
}
