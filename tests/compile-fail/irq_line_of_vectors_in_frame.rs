// SPDX-License-Identifier: GPL-2.0

//! The vectors of a line stay allocated for as long as it is requested.
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
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_interrupt::<0>();

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(())
    }
}

impl irq::Operations for Example {
    fn line<'a>(access: &Access<'a, '_, Self>) -> Result<Line<'a>> {
        let vectors = access
            .parent()
            .alloc_irq_vectors(1, 1, pci::IrqTypes::all())?;
        Ok(vectors.index(0)?.into()) //~ E0515
    }

    fn handle(_access: &Access<'_, '_, Self>) -> IrqReturn {
        IrqReturn::None
    }
}
