// SPDX-License-Identifier: GPL-2.0

//! What a driver may say of its objects: data that is shared, bound data that borrows from the
//! binding and from the object, and an argument that is moved.
//!
//! Promise 3: access is fenced at the boundary of an operation.

use holdfast::{
    class::Class,
    object::{
        self,
        Object,
        Registration,
        Unregistered, //
    }, //
};
use kernel::{
    device::{
        Bound,
        Device, //
    },
    faux,
    new_mutex,
    platform,
    prelude::*,
    sync::Mutex, //
};

/// An object.
pub struct Example;

/// What lives as long as its memory, and is dropped with it.
#[pin_data]
pub struct ExampleData {
    /// Something that is shared.
    #[pin]
    pub count: Mutex<u32>,
    /// Something that owns memory.
    pub name: KVec<u8>,
}

/// What it does.
pub struct ExampleBound<'bound> {
    /// What the driver gave.
    pub argument: KVec<u32>,
    /// The object itself.
    pub object: &'bound Object<Example>,
    /// The device whose binding it is.
    pub pdev: &'bound platform::Device<Bound>,
}

impl object::Operations for Example {
    type Parent = platform::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ExampleData;
    type Bound<'bound> = ExampleBound<'bound>;
    type Argument = KVec<u32>;

    const CLASS: Class = Class::new(c"example", c"example").with_mode(0o644);

    fn bind<'bound>(
        object: &'bound Object<Self>,
        pdev: &'bound platform::Device<Bound>,
        argument: KVec<u32>,
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(ExampleBound {
            argument,
            object,
            pdev,
        })
    }

    fn wake(object: &Object<Self>) {
        *object.count.lock() = 0;
    }
}

/// An object below a device of any bus.
pub struct Generic;

impl object::Operations for Generic {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = &'bound Device<Bound>;
    type Argument = &'static u32;

    const CLASS: Class = Class::new(c"generic", c"generic");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        device: &'bound Device<Bound>,
        _argument: &'static u32,
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(device)
    }
}

/// Registers below a faux device, which is a device as others are.
pub fn register_below_faux(registration: &faux::Registration) -> Result<Registration<Generic>> {
    Unregistered::<Generic>::new(())?.register(registration.as_ref().as_ref(), &1)
}

/// Lets an object keep something for as long as its memory lives.
pub fn keep(object: &Object<Example>) -> Result<&KVec<u8>> {
    object.keep(Ok::<_, Error>(KVec::new()))
}

/// Registers one of each.
pub fn register(
    pdev: &platform::Device<Bound>,
) -> Result<(Registration<Example>, Registration<Generic>)> {
    let mut argument = KVec::new();
    argument.push(1, GFP_KERNEL)?;
    let data = try_pin_init!(ExampleData {
        count <- new_mutex!(1),
        name: KVec::new(),
    }? Error);
    Ok((
        Unregistered::<Example>::new(data)?.register(pdev, argument)?,
        Unregistered::<Generic>::new(())?.register(pdev.as_ref(), &1)?,
    ))
}
