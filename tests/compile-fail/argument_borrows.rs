// SPDX-License-Identifier: GPL-2.0

//! What `bind` is given cannot borrow: a driver could choose a lifetime shorter than the binding.
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
    type Bound<'bound> = &'bound u32;
    type Argument = &u32; //~ ERROR

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        argument: &'bound u32,
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(argument)
    }
}
