// SPDX-License-Identifier: GPL-2.0

//! The data of an object is reached by every task that has a reference.
//!
//! Promise 2: any number of references outlive the registration.

use core::cell::Cell;
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
    type Data = Cell<u32>; //~ E0277
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
}
