// SPDX-License-Identifier: GPL-2.0

//! A registration comes from registering, so whoever has one knows that it happened.
//!
//! Promise 2: alloc, then register, as types.

use example::Example;
use holdfast::object::{
    Object,
    Registration, //
};
use kernel::sync::aref::ARef;

/// Says that an object is registered.
pub fn forge(object: ARef<Object<Example>>) -> Registration<Example> {
    Registration { object } //~ E0451
}
