// SPDX-License-Identifier: GPL-2.0

//! `bind` is lent the parent object for the child's registration, and cannot keep it for longer.
//!
//! Promise 7: a child ends before its parent does.

use example::Example;
use holdfast::{
    class::Class,
    object::{
        self,
        Object,
        Registered, //
    }, //
};
use kernel::{
    prelude::*,
    sync::SetOnce, //
};

static KEPT: SetOnce<Registered<'static, Example>> = SetOnce::new();

/// A child.
pub struct Child;

impl object::Operations for Child {
    type Parent = Object<Example>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"child", c"child");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: Registered<'bound, Example>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        KEPT.populate(parent); //~ E0521
        Ok(())
    }
}
