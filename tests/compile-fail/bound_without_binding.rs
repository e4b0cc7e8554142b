// SPDX-License-Identifier: GPL-2.0

//! What is bound cannot pretend to borrow from something that lives longer than the binding.
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
    pci,
    prelude::*, //
};

/// An object.
pub struct Example;

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = pci::Bar<'static>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        pdev.iomap_region(0, c"example") //~ ERROR
    }
}
