// SPDX-License-Identifier: GPL-2.0

//! A managed value ends with a binding, among the first that do: what is bound can be dropped later,
//! so it does not borrow the value.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    class::Class,
    managed::Managed,
    object::{
        self,
        Object,
        Registration, //
    }, //
};
use kernel::{
    device::{
        Bound,
        Core, //
    },
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex, //
};

/// An object.
pub struct Example;

/// What it does.
#[pin_data(PinnedDrop)]
pub struct ExampleBound<'bound> {
    pdev: &'bound pci::Device<Bound>,
    #[pin]
    slot: Mutex<Option<&'bound KVec<u8>>>,
}

#[pinned_drop]
impl PinnedDrop for ExampleBound<'_> {
    fn drop(self: Pin<&mut Self>) {
        if let Some(value) = *self.slot.lock() {
            dev_info!(self.pdev, "{:?}\n", value.first());
        }
    }
}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ExampleBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        try_pin_init!(ExampleBound { pdev, slot <- new_mutex!(None) }? Error)
    }
}

/// Has an object keep a value that is newer than itself, and ends before it.
pub fn keep(
    registration: &Registration<Example>,
    managed: &'static Managed<KVec<u8>>,
    pdev: &pci::Device<Core<'_>>,
) -> Result {
    registration.access(|access| {
        let _ = managed.with(pdev.as_ref(), |value| *access.slot.lock() = Some(value));
        //~^ E0521
    })
}
