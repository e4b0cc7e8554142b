// SPDX-License-Identifier: GPL-2.0

//! A child does not say either that what is bound to its parent has a binding of its own choice.
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

/// What the child does, if its parent's binding is `'parent`.
pub struct ChildBound<'bound, 'parent>(pub &'bound ExampleBound<'parent>);

/// A child.
pub struct Child;

impl object::Operations for Child {
    type Parent = Object<Example>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ChildBound<'bound, 'static>;
    type Argument = ();

    const CLASS: Class = Class::new(c"child", c"child");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: Registered<'bound, Example>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(ChildBound(parent.with(|parent| parent.bound()))) //~ ERROR
    }
}
