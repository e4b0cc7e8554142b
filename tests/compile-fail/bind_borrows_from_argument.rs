// SPDX-License-Identifier: GPL-2.0

//! What `bind` makes cannot borrow from its argument, which it must move instead.
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
    type Argument = KBox<u32>;

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        argument: KBox<u32>,
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(&*argument) //~ E0515
    }
}
