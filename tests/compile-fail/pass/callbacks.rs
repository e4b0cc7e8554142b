// SPDX-License-Identifier: GPL-2.0

//! What callbacks may do: use what is bound, and cause each other.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    callbacks::Callbacks,
    class::Class,
    irq::{
        self,
        IrqReturn,
        Line, //
    },
    object::{
        self,
        Access,
        Object, //
    },
    timer,
    work, //
};
use kernel::{
    device::Bound,
    pci,
    prelude::*,
    time::Delta, //
};

/// An object.
pub struct Example;

/// What it does.
pub struct ExampleBound<'bound> {
    /// The vectors stay allocated for as long as the line is requested.
    pub vectors: pci::IrqVectorRegistration<'bound>,
}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ExampleBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CALLBACKS: Callbacks<Self> = Callbacks::new()
        .with_interrupt::<0>()
        .with_work::<0>()
        .with_work::<1>()
        .with_timer::<0>();

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(ExampleBound {
            vectors: pdev.alloc_irq_vectors(1, 1, pci::IrqTypes::all())?,
        })
    }
}

impl irq::Operations for Example {
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        Ok(access.bound().vectors.index(0)?.into())
    }

    fn handle(access: &Access<'_, '_, Self>) -> IrqReturn {
        match access.object().work::<1>().queue() {
            Ok(_) => IrqReturn::Handled,
            Err(_) => IrqReturn::None,
        }
    }
}

impl work::Operations<0> for Example {
    fn run(_access: &Access<'_, '_, Self>) {}
}

impl work::Operations<1> for Example {
    fn run(access: &Access<'_, '_, Self>) {
        let _ = access.object().timer::<0>().start(Delta::from_secs(1));
    }
}

impl timer::Operations for Example {
    fn expired(access: &Access<'_, '_, Self>) {
        let _ = access.object().work::<0>().queue();
    }
}
