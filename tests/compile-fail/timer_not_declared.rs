// SPDX-License-Identifier: GPL-2.0

//! Only a timer that the library makes with the object can be started.
//!
//! Promise 3: access is fenced at the boundary of an operation.
//@ build-fail

use holdfast::{
    callbacks::Callbacks,
    class::Class,
    object::{
        self,
        Access,
        Object, //
    },
    timer, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    time::Delta, //
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
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_timer::<0>();

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }
}

impl timer::Operations<0> for Example {
    fn expired(_access: &Access<'_, '_, Self>) {}
}

impl timer::Operations<1> for Example {
    fn expired(_access: &Access<'_, '_, Self>) {}
}

/// Starts a timer that the object does not have.
pub fn start(object: &Object<Example>) -> Result {
    object.timer::<1>().start(Delta::from_secs(1)) //~? E0080
}
