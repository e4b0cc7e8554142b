// SPDX-License-Identifier: GPL-2.0

//! `bind` works for every binding, so that nobody registers what lives less long.
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
    type Bound<'bound> = &'bound pci::Device<Bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind(
        _object: &'static Object<Self>,
        pdev: &'static pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'static>, Error> + 'static {
        //~^ E0308
        Ok(pdev)
    }
}
