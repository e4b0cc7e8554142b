// SPDX-License-Identifier: GPL-2.0

//! What a driver says of its objects has no place for a release callback.
//!
//! Promise 1: memory is owned by the embedded device's reference count; there is no way to write
//! a release callback, and none to free early.

use holdfast::{
    class::Class,
    object::{
        self,
        Object, //
    }, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }

    fn release(_object: &Object<Self>) {} //~ E0407
}
