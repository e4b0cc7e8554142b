// SPDX-License-Identifier: GPL-2.0

//! A faux device is not `Sync`, and an object gives its parent to every task that is inside: its
//! `Device<Bound>` is the parent instead.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    class::Class,
    object::{
        self,
        Object, //
    }, //
};
use kernel::{
    device::Bound,
    faux,
    prelude::*, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = faux::Device<Bound>; //~ E0277
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _faux: &'bound faux::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        //~^ E0277 //~? E0277
        Ok(())
    }
}
