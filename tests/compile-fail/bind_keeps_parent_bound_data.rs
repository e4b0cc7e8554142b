// SPDX-License-Identifier: GPL-2.0

//! What is bound to a parent is reached through it each time: its own binding is none that a child
//! could name, so the child does not keep a reference.
//!
//! Promise 7: a child ends before its parent does.

use example::{
    Example,
    ExampleBound, //
};
use holdfast::{
    class::Class,
    object::{
        self,
        Object,
        Registered, //
    }, //
};
use kernel::prelude::*;

/// A child.
pub struct Child;

impl object::Operations for Child {
    type Parent = Object<Example>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = &'bound ExampleBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"child", c"child");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: Registered<'bound, Example>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(parent.with(|parent| parent.bound())) //~ ERROR
    }
}
