// SPDX-License-Identifier: GPL-2.0

//! SR-IOV on a device that has it: an igb that has no driver, as the virtual machine has one.
//!
//! Each test gives it a driver of its own, and its VFs another one. Both are below, and do what the
//! test has written into statics, where they also leave what they have seen.

use super::*;

use crate::{
    object::device_pointer,
    pci::{
        sriov::{
            self,
            PhysicalFunction,
            Request,
            Vfs, //
        },
        RescanLock,
        Unlocked, //
    }, //
};

use core::num::NonZero;

use kernel::{
    bindings,
    device::Core,
    device_id::IdArray,
    driver,
    module::this_module,
    pci, //
};

const PF_ID: u32 = 0x10c9;
const VF_ID: u32 = 0x10ca;

// Without the alias that the macro for drivers makes: it would have the library loaded for an igb.
static PF_TABLE: IdArray<pci::DeviceId, (), 1> =
    IdArray::new([(pci::DeviceId::from_id(pci::Vendor::INTEL, PF_ID), &())]);
static VF_TABLE: IdArray<pci::DeviceId, (), 1> =
    IdArray::new([(pci::DeviceId::from_id(pci::Vendor::INTEL, VF_ID), &())]);

/// What the PF's driver does when it is asked for VFs.
static CONFIGURE: Atomic<usize> = Atomic::new(ENABLE);
const ENABLE: usize = 0;
const ENABLE_ONE: usize = 1;
const ENABLE_ONE_MORE: usize = 2;
const ROLL_BACK: usize = 3;
const FORGET: usize = 4;

/// What the VFs' driver does with the data of the PF's.
static USE: Atomic<usize> = Atomic::new(NEVER);
const NEVER: usize = 0;
const IN_PROBE: usize = 1;
const IN_PROBE_OF_ANOTHER: usize = 2;
const IN_UNBIND: usize = 3;

/// How many VF devices there were when they were enabled, in `sriov_configure()`.
static ENABLED: Atomic<usize> = Atomic::new(0);
/// How many there were when that had dropped its `Vfs`.
static LEFT: Atomic<usize> = Atomic::new(0);
/// How often `vfs_disabled()` was called.
static DISABLED: Atomic<usize> = Atomic::new(0);
/// How many drivers of VFs had the PF's data when its driver's `unbind()` was called, or `NOT_YET`.
static AT_UNBIND: Atomic<usize> = Atomic::new(NOT_YET);
const NOT_YET: usize = usize::MAX;
/// What the last driver of a VF got that asked for the PF's data: 1, or the number of the error.
static ANSWER: Atomic<i32> = Atomic::new(0);
/// How many data of VFs' drivers there are.
static BOUND: Atomic<usize> = Atomic::new(0);

const GIVEN: i32 = 1;

/// What the PF's driver shows.
struct Shared {
    number: u32,
    users: Atomic<usize>,
}

const NUMBER: u32 = 0x5eed;

struct Pf {
    shared: Shared,
}

impl pci::Driver for Pf {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<()> = &PF_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Self, Error> + 'bound {
        pdev.enable_device_mem().map(|()| Self {
            shared: Shared {
                number: NUMBER,
                users: Atomic::new(0),
            },
        })
    }

    fn unbind(pdev: &pci::Device<Core<'_>>, this: Pin<&Self>) {
        AT_UNBIND.store(this.shared.users.load(Acquire), Release);
        find_again(pdev);
    }
}

impl sriov::Driver for Pf {
    type Shared<'bound> = Shared;

    fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        &this.get_ref().shared
    }

    fn sriov_configure<'a>(
        pdev: &pci::Device<Core<'_>>,
        _this: Pin<&Self>,
        request: Request<'a>,
    ) -> Result<Vfs<'a>> {
        let there = || vfs().map_or(NOT_YET, |vfs| vfs.len());
        match CONFIGURE.load(Acquire) {
            ENABLE_ONE => request.enable_fewer(NonZero::<u16>::MIN),
            ENABLE_ONE_MORE => {
                let more = request.count().checked_add(1).ok_or(ERANGE)?;
                request.enable_fewer(more)
            }
            ROLL_BACK => {
                let vfs = request.enable()?;
                ENABLED.store(there(), Release);
                // As an error does. What the library does when this has returned comes too late.
                drop(vfs);
                LEFT.store(there() + usize::from(sriov::num_vfs(pdev)), Release);
                Err(EIO)
            }
            FORGET => {
                core::mem::forget(request.enable()?);
                ENABLED.store(there(), Release);
                Err(EIO)
            }
            _ => request.enable(),
        }
    }

    fn vfs_disabled(_pdev: &pci::Device<Core<'_>>, _this: Pin<&Self>) {
        DISABLED.fetch_add(1, Full);
    }
}

/// A driver of PFs that no device has.
struct AnotherPf;

impl pci::Driver for AnotherPf {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<()> = &PF_TABLE;

    fn probe<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Err::<Self, _>(ENODEV)
    }
}

impl sriov::Driver for AnotherPf {
    type Shared<'bound> = Shared;

    fn shared<'a, 'bound>(_this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        static SHARED: Shared = Shared {
            number: 0,
            users: Atomic::new(0),
        };
        &SHARED
    }
}

struct Vf;

struct VfData<'bound> {
    pf: Option<PhysicalFunction<'bound, Pf>>,
}

impl<'bound> VfData<'bound> {
    fn new(pdev: &'bound pci::Device<Bound>) -> Result<Self> {
        let pf = match USE.load(Acquire) {
            IN_PROBE => Some(answered(sriov::physical_function::<Pf>(pdev))?),
            IN_PROBE_OF_ANOTHER => {
                answered(sriov::physical_function::<AnotherPf>(pdev))?;
                None
            }
            _ => None,
        };
        if let Some(pf) = pf {
            pf.with(|shared| shared.users.fetch_add(1, Full));
        }
        BOUND.fetch_add(1, Full);
        Ok(Self { pf })
    }
}

impl Drop for VfData<'_> {
    fn drop(&mut self) {
        if let Some(pf) = self.pf {
            pf.with(|shared| shared.users.fetch_sub(1, Full));
        }
        BOUND.fetch_sub(1, Full);
    }
}

/// Leaves for the test what the driver of a VF got.
fn answered<T>(result: Result<T>) -> Result<T> {
    let answer = result
        .as_ref()
        .map_or_else(|error| error.to_errno(), |_| GIVEN);
    ANSWER.store(answer, Release);
    result
}

impl pci::Driver for Vf {
    type IdInfo = ();
    type Data<'bound> = VfData<'bound>;
    const ID_TABLE: pci::IdTable<()> = &VF_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound ()>,
    ) -> impl PinInit<VfData<'bound>, Error> + 'bound {
        VfData::new(pdev)
    }

    fn unbind(pdev: &pci::Device<Core<'_>>, _this: Pin<&VfData<'_>>) {
        if USE.load(Acquire) == IN_UNBIND {
            let number = sriov::physical_function::<Pf>(pdev)
                .map(|pf| pf.with(|shared| shared.number))
                .and_then(|number| if number == NUMBER { Ok(()) } else { Err(EBADF) });
            let _ = answered(number);
        }
    }
}

/// All devices of an igb with this id.
fn devices(id: u32) -> Result<KVec<ARef<pci::Device>>> {
    let mut found = KVec::new();
    let mut device = core::ptr::null_mut();
    loop {
        // SAFETY: May be called where one may sleep. It takes the reference to the last device.
        device =
            unsafe { bindings::pci_get_device(u32::from(pci::Vendor::INTEL.as_raw()), id, device) };
        if device.is_null() {
            return Ok(found);
        }
        // SAFETY: It is a valid device, of which this has a reference until the next turn.
        let reference = unsafe { &*device.cast::<pci::Device>() };
        found.push(reference.into(), GFP_KERNEL)?;
    }
}

fn vfs() -> Result<KVec<ARef<pci::Device>>> {
    devices(VF_ID)
}

fn raw(device: &pci::Device) -> *mut bindings::pci_dev {
    core::ptr::from_ref(device).cast_mut().cast()
}

/// Whether a device has a driver.
fn is_bound(device: &pci::Device) -> bool {
    // SAFETY: The device is valid, and nobody binds or unbinds it but the test.
    unsafe { !(*device_pointer(device.as_ref())).driver.is_null() }
}

/// Unbinds a device as its removal does, which holds the rescan lock.
fn release(device: &pci::Device) -> Result {
    // SAFETY: No test holds a lock where it calls this, and nobody waits for it.
    RescanLock::with(&mut unsafe { Unlocked::new() }, |_| {
        // SAFETY: The device is valid, and its lock is not held.
        unsafe { bindings::device_release_driver(device_pointer(device.as_ref())) };
    })
}

/// Has the PCI core find no VFs of a PF, as if somebody else was about to remove each of them.
fn hide_vfs(pf: &pci::Device) {
    // SAFETY: The device is valid, and nobody else writes to these bits now.
    unsafe { bindings::pci_dev::set_is_physfn_raw(raw(pf), 0) };
}

/// Undoes [`hide_vfs`], and disables those that were hidden.
fn find_again(pdev: &pci::Device<Core<'_>>) {
    let device = raw(pdev);
    // SAFETY: As above. This is a bus callback, whose device lock is held.
    unsafe {
        if bindings::pci_dev::is_physfn_raw(device) == 0 {
            bindings::pci_dev::set_is_physfn_raw(device, 1);
            bindings::pci_disable_sriov(device);
        }
    }
}

type Registration<A> = Pin<KBox<driver::Registration<A>>>;

/// The igb with both drivers, until this is dropped.
struct Igb {
    // The VFs' driver is there when the PF's goes.
    pf_driver: Option<Registration<sriov::Adapter<Pf>>>,
    _vf_driver: Registration<pci::Adapter<Vf>>,
    pf: ARef<pci::Device>,
}

impl Igb {
    /// [`None`] if there is none, or if it has a driver.
    fn new(configure: usize, use_of_pf: usize) -> Result<Option<Self>> {
        let mut found = devices(PF_ID)?;
        let Some(pf) = found.pop().filter(|pf| found.is_empty() && !is_bound(pf)) else {
            return Ok(None);
        };
        CONFIGURE.store(configure, Release);
        USE.store(use_of_pf, Release);
        ANSWER.store(0, Release);
        AT_UNBIND.store(NOT_YET, Release);
        for count in [&ENABLED, &LEFT, &DISABLED] {
            count.store(0, Release);
        }

        let module = this_module::<crate::Holdfast>();
        let registration = driver::Registration::new(c"holdfast_test_vf", module);
        let vf_driver = KBox::pin_init(registration, GFP_KERNEL)?;
        let registration = driver::Registration::new(c"holdfast_test_pf", module);
        let pf_driver = KBox::pin_init(registration, GFP_KERNEL)?;
        if !is_bound(&pf) {
            return Err(ENODEV);
        }
        Ok(Some(Self {
            pf_driver: Some(pf_driver),
            _vf_driver: vf_driver,
            pf,
        }))
    }

    /// Sets the number of VFs, as `sriov_numvfs` does.
    fn set_vfs(&self, count: u16) -> Result<u16> {
        sriov::set_num_vfs_of(&self.pf, count)
    }
}

const NO_IGB: &CStr = c"there is no igb without a driver";

#[kunit_tests(holdfast_sriov_vfs)]
mod vfs_tests {
    use super::*;

    /// VFs come and go, and the driver is told once.
    #[test]
    fn enabled_and_disabled() -> Result {
        let Some(igb) = Igb::new(ENABLE, IN_PROBE)? else {
            return skip(NO_IGB);
        };
        let enabled = (igb.set_vfs(2), vfs()?.len(), BOUND.load(Acquire));
        let disabled = (igb.set_vfs(0), vfs()?.len(), BOUND.load(Acquire));
        let again = igb.set_vfs(0);
        let told = DISABLED.load(Acquire);
        drop(igb);
        assert!(enabled == (Ok(2), 2, 2));
        assert!(disabled == (Ok(0), 0, 0));
        assert!(again == Ok(0));
        assert_eq!(told, 1);
        assert_eq!(DISABLED.load(Acquire), 1);
        Ok(())
    }

    /// An error after `enable()` takes the VFs back, in there; and they can be enabled again.
    #[test]
    fn rolled_back() -> Result {
        let Some(igb) = Igb::new(ROLL_BACK, IN_PROBE)? else {
            return skip(NO_IGB);
        };
        let refused = igb.set_vfs(2);
        let left = (vfs()?.len(), BOUND.load(Acquire), DISABLED.load(Acquire));
        CONFIGURE.store(ENABLE, Release);
        let again = (igb.set_vfs(2), vfs()?.len());
        drop(igb);
        assert!(refused == Err(EIO));
        assert_eq!(ENABLED.load(Acquire), 2);
        assert_eq!(LEFT.load(Acquire), 0);
        assert!(left == (0, 0, 0));
        assert!(again == (Ok(2), 2));
        assert_eq!(vfs()?.len(), 0);
        Ok(())
    }

    /// A driver that forgets its `Vfs` and returns an error leaves no VF.
    #[test]
    fn forgotten() -> Result {
        let Some(igb) = Igb::new(FORGET, IN_PROBE)? else {
            return skip(NO_IGB);
        };
        let refused = igb.set_vfs(2);
        let left = (vfs()?.len(), BOUND.load(Acquire), DISABLED.load(Acquire));
        drop(igb);
        assert!(refused == Err(EIO));
        assert_eq!(ENABLED.load(Acquire), 2);
        assert!(left == (0, 0, 0));
        Ok(())
    }

    /// Fewer VFs than are asked for, and never more.
    #[test]
    fn fewer() -> Result {
        let Some(igb) = Igb::new(ENABLE_ONE, NEVER)? else {
            return skip(NO_IGB);
        };
        let fewer = (igb.set_vfs(3), vfs()?.len());
        // What is compared is how many there are, not how many were asked for.
        let same = (igb.set_vfs(1), igb.set_vfs(3));
        let none = igb.set_vfs(0);
        CONFIGURE.store(ENABLE_ONE_MORE, Release);
        let more = (igb.set_vfs(2), vfs()?.len());
        drop(igb);
        assert!(fewer == (Ok(1), 1));
        assert!(same == (Ok(1), Err(EBUSY)));
        assert!(none == Ok(0));
        assert!(more == (Err(EINVAL), 0));
        Ok(())
    }

    /// The driver of a VF that asks for another driver of its PF is refused, and not bound.
    #[test]
    fn driver_of_another_type() -> Result {
        let Some(igb) = Igb::new(ENABLE, IN_PROBE_OF_ANOTHER)? else {
            return skip(NO_IGB);
        };
        let refused = (igb.set_vfs(1), ANSWER.load(Acquire), BOUND.load(Acquire));
        let none = igb.set_vfs(0);
        USE.store(IN_PROBE, Release);
        let given = (igb.set_vfs(1), ANSWER.load(Acquire), BOUND.load(Acquire));
        drop(igb);
        assert!(refused == (Ok(1), EINVAL.to_errno(), 0));
        assert!(none == Ok(0));
        assert!(given == (Ok(1), GIVEN, 1));
        Ok(())
    }

    /// The driver of a VF that asks when the PF's end has begun is refused: by the end of its
    /// driver, and of its binding. One whose own end has begun is not, and is waited for.
    #[test]
    fn asked_too_late() -> Result {
        let Some(mut igb) = Igb::new(ENABLE, IN_UNBIND)? else {
            return skip(NO_IGB);
        };
        let pf = igb.pf.clone();
        let mut enabled = igb.set_vfs(1);
        let in_time = match vfs()?.first() {
            Some(vf) => release(vf).map(|()| ANSWER.load(Acquire)),
            None => Err(ENODEV),
        };

        enabled = enabled.and_then(|_| igb.set_vfs(0)).and(igb.set_vfs(1));
        let bound = BOUND.load(Acquire);
        let released = release(&pf).map(|()| (ANSWER.load(Acquire), BOUND.load(Acquire)));

        igb.pf_driver = None;
        drop(igb);
        let Some(mut igb) = Igb::new(ENABLE, IN_UNBIND)? else {
            return Err(ENODEV);
        };
        enabled = enabled.and(igb.set_vfs(1));
        igb.pf_driver = None;
        let unregistered = (ANSWER.load(Acquire), BOUND.load(Acquire), vfs()?.len());
        drop(igb);

        assert!(enabled == Ok(1));
        assert!(in_time == Ok(GIVEN));
        assert_eq!(bound, 1);
        assert!(released == Ok((ENODEV.to_errno(), 0)));
        assert!(unregistered == (ENODEV.to_errno(), 0, 0));
        Ok(())
    }

    /// A PF whose VFs the PCI core leaves bound unbinds their drivers before its own driver sees
    /// its end.
    #[test]
    fn left_attached() -> Result {
        let Some(igb) = Igb::new(ENABLE, IN_PROBE)? else {
            return skip(NO_IGB);
        };
        let enabled = (igb.set_vfs(2), BOUND.load(Acquire));
        hide_vfs(&igb.pf);
        let released = release(&igb.pf);
        let left = (BOUND.load(Acquire), vfs()?.len());
        let told = DISABLED.load(Acquire);
        drop(igb);
        assert!(enabled == (Ok(2), 2));
        assert!(released.is_ok());
        // The core was not asked to do it: else this would show nothing.
        assert_eq!(told, 0);
        assert_eq!(AT_UNBIND.load(Acquire), 0);
        assert!(left == (0, 0));
        Ok(())
    }
}
