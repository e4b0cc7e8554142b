// SPDX-License-Identifier: GPL-2.0

//! What lives as long as the memory of an object, and structures that embed a device.

use super::*;

use kernel::{
    new_mutex,
    sync::Mutex, //
};

/// Numbers in the order in which their owners were dropped.
#[pin_data]
struct Order {
    #[pin]
    dropped: Mutex<KVec<u32>>,
}

impl Order {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                dropped <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )
    }

    fn is(&self, numbers: &[u32]) -> bool {
        **self.dropped.lock() == *numbers
    }
}

/// Says when it is dropped.
struct Numbered {
    order: Arc<Order>,
    number: u32,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        let _ = self.order.dropped.lock().push(self.number, GFP_KERNEL);
    }
}

/// A structure of a subsystem, which embeds a device somewhere.
#[repr(C)]
struct Subsystem {
    before: [u64; 3],
    device: kernel::types::Opaque<kernel::bindings::device>,
    after: u64,
}

// SAFETY: All zeroes is a value, there is nothing to drop, and the offset is that of the device.
unsafe impl object::Structure for Subsystem {
    const DEVICE: usize = core::mem::offset_of!(Subsystem, device);
}

/// An object of the subsystem whose data needs to be dropped.
struct Keeper;

impl object::Operations for Keeper {
    type Parent = Device<Bound>;
    type Structure = Subsystem;
    type Data = Numbered;
    type Bound<'bound> = Numbered;
    type Argument = Arc<Order>;

    const CLASS: Class = Class::new(c"holdfast_keeper", c"holdfast-keeper");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        order: Arc<Order>,
    ) -> impl PinInit<Numbered, Error> + 'bound {
        Ok(Numbered { order, number: 9 })
    }
}

fn keeper(order: &Arc<Order>) -> Result<Unregistered<Keeper>> {
    Unregistered::new(Ok::<_, Error>(Numbered {
        order: order.clone(),
        number: 1,
    }))
}

fn numbered(order: &Arc<Order>, number: u32) -> Result<Numbered> {
    Ok(Numbered {
        order: order.clone(),
        number,
    })
}

#[kunit_tests(holdfast_memory)]
mod memory_tests {
    use super::*;

    /// What is bound is dropped with the registration; what is kept and the data with the last
    /// reference, in reverse order.
    #[test]
    fn reverse_order() -> Result {
        let parent = parent()?;
        let order = Order::new()?;

        let object = keeper(&order)?;
        assert!(object.keep::<Numbered, Error>(numbered(&order, 2))?.number == 2);
        let registration = object.register(parent.as_ref().as_ref(), order.clone())?;
        assert!(
            registration
                .keep::<Numbered, Error>(numbered(&order, 3))?
                .number
                == 3
        );
        let reference = registration.reference();
        drop(registration);
        assert!(order.is(&[9]));
        assert!(
            reference
                .keep::<Numbered, Error>(numbered(&order, 4))?
                .number
                == 4
        );
        drop(reference);
        assert!(order.is(&[9, 4, 3, 2, 1]));
        Ok(())
    }

    /// An object that is never registered drops them, too.
    #[test]
    fn never_registered() -> Result {
        let order = Order::new()?;

        let object = keeper(&order)?;
        object.keep::<Numbered, Error>(numbered(&order, 2))?;
        drop(object);
        assert!(order.is(&[2, 1]));
        Ok(())
    }

    /// A resource whose initialisation fails is not kept.
    #[test]
    fn failed_initialisation() -> Result {
        let order = Order::new()?;

        let object = keeper(&order)?;
        assert!(object.keep::<u32, Error>(Err(EIO)).err() == Some(EIO));
        drop(object);
        assert!(order.is(&[1]));
        Ok(())
    }

    /// A device at an offset works like one at the start.
    #[test]
    fn structure_of_subsystem() -> Result {
        let parent = parent()?;
        let order = Order::new()?;

        let registration = keeper(&order)?.register(parent.as_ref().as_ref(), order.clone())?;
        assert!(registration.name().to_bytes() == b"holdfast-keeper0");
        assert!(registration.access(|access| access.number) == Ok(9));
        let reference = registration.reference();
        drop(parent);
        assert!(order.is(&[9]));
        assert!(reference.access(|_| ()) == Err(ENODEV));
        assert!(registration.unregister() == Ok(Outcome::AlreadyDone));
        drop(registration);
        assert_eq!(reference.reference_count(), 1);
        drop(reference);
        assert!(order.is(&[9, 1]));
        Ok(())
    }
}
