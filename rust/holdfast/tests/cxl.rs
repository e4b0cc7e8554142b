// SPDX-License-Identifier: GPL-2.0

//! What can be tested of drivers for CXL regions without a region: what of the kernel is relied on,
//! and what must be refused. The rest takes memory devices, and is in the scenarios `region-*`.

use crate::cxl::{
    self,
    Memory,
    Mode,
    Region,
    State, //
};

use core::mem::ManuallyDrop;

use kernel::{
    bindings,
    device::Core,
    driver,
    faux,
    module::this_module,
    page::PAGE_SIZE,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full, //
    }, //
};

/// How often the driver of the tests was asked.
static PROBES: Atomic<usize> = Atomic::new(0);

struct Driver;

impl cxl::Driver for Driver {
    type Data<'bound> = ();

    fn probe<'bound>(_region: &'bound Region<Core<'_>>) -> impl PinInit<(), Error> + 'bound {
        PROBES.fetch_add(1, Full);
        Ok(())
    }
}

type Registration = driver::Registration<cxl::Adapter<Driver>>;

fn registration(name: &'static CStr) -> Result<Pin<KBox<Registration>>> {
    KBox::pin_init(
        Registration::new(name, this_module::<crate::HoldfastCxl>()),
        GFP_KERNEL,
    )
}

#[kunit_tests(holdfast_cxl)]
mod cxl_tests {
    use super::*;

    /// A driver is on the bus while it is registered, and again when it comes back; two can be.
    #[test]
    fn registration_of_driver() -> Result {
        for _ in 0..10 {
            let first = registration(c"holdfast_test_cxl")?;
            let second = registration(c"holdfast_test_cxl_other")?;
            drop(first);
            let first = registration(c"holdfast_test_cxl")?;
            drop(second);
            drop(first);
        }
        Ok(())
    }

    /// The driver is not asked about a device that is no region, whatever the bus does.
    #[test]
    fn not_a_region() -> Result {
        let device = faux::Registration::new(c"holdfast-test-cxl", None)?;
        let device: &kernel::device::Device<_> = device.as_ref().as_ref();
        let raw = core::ptr::from_ref(device)
            .cast_mut()
            .cast::<bindings::device>();

        let before = PROBES.fetch_add(0, Full);
        // SAFETY: It is a device; that it is no region is what is found out first.
        let answer = unsafe { cxl::Adapter::<Driver>::probe_callback(raw) };
        assert_eq!(answer, ENODEV.to_errno());
        assert_eq!(PROBES.fetch_add(0, Full), before);
        Ok(())
    }

    /// The numbers of the kernel mean what they are called here.
    #[test]
    fn names() {
        assert_eq!(State::from_raw(0), State::Idle);
        assert_eq!(State::from_raw(3), State::ResetPending);
        assert_eq!(State::from_raw(4), State::Committed);
        assert_eq!(Mode::Ram.name(), "ram");
        assert_eq!(Mode::Pmem.name(), "pmem");
    }

    /// There is no page behind the end of the memory.
    #[test]
    fn pages() -> Result {
        let mut page = KVec::from_elem(0u8, PAGE_SIZE, GFP_KERNEL)?;
        // Nothing is claimed, so nothing must be given back.
        let memory = ManuallyDrop::new(Memory::of_test(&mut page, 2 * PAGE_SIZE));

        assert_eq!(memory.size(), 2 * PAGE_SIZE);
        assert!(memory.page(0).is_ok());
        assert!(memory.page(1).is_ok());
        assert_eq!(memory.page(2).err(), Some(EINVAL));
        assert_eq!(memory.page(usize::MAX).err(), Some(EINVAL));
        Ok(())
    }
}
