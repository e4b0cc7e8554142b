// SPDX-License-Identifier: GPL-2.0

//! Bindings: what is registered below a bound device.
//!
//! A device that something of the library is registered below has one [`Binding`] until it is
//! unbound. devres holds it, as one resource, and releases it when the device is unbound or its
//! probe fails: then everything below ends, the newest first, with one grace period.
//!
//! # The order
//!
//! Everything below ends before any other resource of devres is released: whoever is inside of an
//! object was shown that the device is bound, and may use what devres holds without another check.
//! For this, the resource of the binding is made the newest of the device when the driver core says
//! that the device is about to be unbound, or that its probe has failed. What a driver acquires
//! after that, in its own unbind callback, is released first.
//!
//! A resource of devres calls the library when it is released, which may be long after everything
//! below the device has ended and its module is gone: the device can be that of a driver that knows
//! nothing of the library. So each one holds the library.
//!
//! The resource is made the newest with each registration, too. That is how a registration that
//! comes too late is found: if the old resource cannot be taken back, devres has begun to release,
//! and the registration is refused.

use crate::{
    hold_library,
    object::device_pointer,
    release_library,
    revocable::{
        self,
        Children,
        Reference,
        Revocable,
        TREE, //
    },
    shims, //
};

use core::cell::UnsafeCell;

use kernel::{
    bindings,
    device,
    error::to_result,
    prelude::*,
    sync::{
        global_lock,
        Arc, //
    }, //
};

/// What is registered below a bound device.
///
/// # Invariants
///
/// - It is in [`BINDINGS`] until everything below it has ended.
/// - `devres`, which is read and written under the lock of those, is the device's resource that
///   holds this, until devres releases it.
/// - Each resource of devres that holds this holds the library.
pub(crate) struct Binding {
    // Used for comparison, and with a device that is at hand.
    device: *mut bindings::device,
    devres: UnsafeCell<*mut c_void>,
    children: Children,
}

// SAFETY: `device` is not followed without a device at hand, and `devres` is synchronised as the
// type invariants say.
unsafe impl Send for Binding {}
// SAFETY: As above.
unsafe impl Sync for Binding {}

global_lock! {
    // SAFETY: `initialise` is called when the library is loaded, before anything else of it runs.
    unsafe(uninit) static BINDINGS: Mutex<KVec<Arc<Binding>>> = KVec::new();
}

/// Makes bindings ready for use.
///
/// # Safety
///
/// Must be called exactly once, before anything else in this module.
pub(crate) unsafe fn initialise() {
    // SAFETY: By the safety requirements.
    unsafe { BINDINGS.init() };
}

impl Binding {
    /// The binding of `parent`, for something that is about to be registered below it.
    ///
    /// May sleep.
    ///
    /// # Errors
    ///
    /// [`ENOMEM`]; [`ENODEV`] if the device is being unbound.
    #[inline(never)]
    pub(crate) fn of(parent: &device::Device<device::Bound>) -> Result<Arc<Self>> {
        let device = device_pointer(parent);
        // SAFETY: The device is valid. The function stays until `unwatch_all`.
        to_result(unsafe { shims::holdfast_bus_watch(device, Self::unbinding) })?;

        let mut bindings = BINDINGS.lock();

        // SAFETY: The device is valid. What devres has is not released while the lock is held.
        let found = unsafe { shims::holdfast_devres_binding(device) };
        if found.is_null() {
            if bindings.iter().any(|binding| binding.device == device) {
                return Err(ENODEV);
            }
            bindings.reserve(1, GFP_KERNEL)?;
            let binding = Arc::new(
                Self {
                    device,
                    devres: UnsafeCell::new(core::ptr::null_mut()),
                    children: Children::default(),
                },
                GFP_KERNEL,
            )?;
            binding.add_devres()?;
            bindings.push(binding.clone(), GFP_KERNEL)?;
            return Ok(binding);
        }

        let Some(binding) = bindings
            .iter()
            .find(|binding| Arc::as_ptr(binding).cast_mut().cast() == found)
        else {
            return Err(ENODEV);
        };
        // SAFETY: By the type invariants.
        let old = unsafe { *binding.devres.get() };
        // The new one first: devres always has one of them.
        binding.add_devres()?;
        // SAFETY: `old` was added to this device.
        if !unsafe { binding.remove_devres(old) } {
            // Too late: devres is about to release the old one.
            //
            // SAFETY: As above, for the new one. If that fails, devres is about to release it too,
            // which does nothing after the first.
            unsafe {
                let new = core::mem::replace(&mut *binding.devres.get(), old);
                binding.remove_devres(new);
            }
            return Err(ENODEV);
        }
        Ok(binding.clone())
    }

    /// Makes this the newest resource of its device.
    ///
    /// The caller must hold the lock of [`BINDINGS`], and a reference to the device.
    fn add_devres(&self) -> Result {
        // SAFETY: By the type invariants, this exists until `release` was called for what is added
        // here.
        let devres = unsafe {
            shims::holdfast_devres_add(
                self.device,
                Self::release,
                core::ptr::from_ref(self).cast_mut().cast(),
            )
        };
        if devres.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: `release` and `remove_devres` give it back.
        hold_library();
        // SAFETY: The lock is held.
        unsafe { *self.devres.get() = devres };
        Ok(())
    }

    /// Takes back a resource of the device; false if devres is about to release it.
    ///
    /// # Safety
    ///
    /// [`Binding::add_devres`] must have added `devres`.
    unsafe fn remove_devres(&self, devres: *mut c_void) -> bool {
        // SAFETY: By the safety requirements.
        let removed = unsafe { shims::holdfast_devres_remove(self.device, devres) };
        if removed {
            // SAFETY: By the type invariants, the resource held it. Those who register hold it too.
            unsafe { release_library() };
        }
        removed
    }

    pub(crate) fn children(&self) -> &Children {
        &self.children
    }

    /// Makes the resource of the device the newest.
    ///
    /// # Safety
    ///
    /// The driver core calls this, with the device lock held, before it releases the resources of
    /// `device`.
    unsafe extern "C" fn unbinding(device: *mut bindings::device) {
        let _bindings = BINDINGS.lock();
        // SAFETY: By the safety requirements.
        unsafe { shims::holdfast_devres_make_newest(device) };
    }

    /// Ends everything below the binding. devres calls this when it releases the device's
    /// resources.
    ///
    /// # Safety
    ///
    /// `binding` must be what [`Binding::add_devres`] gave to devres, which calls this once for it.
    unsafe extern "C" fn release(binding: *mut c_void) {
        Self::end(binding.cast());
        // SAFETY: By the type invariants, the resource held it. This returns to devres.
        unsafe { release_library() };
    }

    /// Ends everything below the binding at `address`, if that has not been done.
    fn end(address: *const Self) {
        let Some(binding) = BINDINGS
            .lock()
            .iter()
            .find(|other| Arc::as_ptr(other) == address)
            .cloned()
        else {
            // A second resource of this binding, from a registration that came too late.
            return;
        };

        revocable::end_all(&binding.children);

        let mut bindings = BINDINGS.lock();
        if let Some(index) = bindings
            .iter()
            .position(|other| Arc::ptr_eq(other, &binding))
        {
            let _ = bindings.remove(index);
        }
        if bindings.is_empty() {
            // A static is never dropped, and would keep its memory when the library is unloaded.
            *bindings = KVec::new();
        }
    }
}

/// One of those that are registered, anywhere, for which `wanted` holds.
pub(crate) fn find(wanted: &dyn Fn(&Revocable) -> bool) -> Option<Reference> {
    let bindings = BINDINGS.lock();
    let mut tree = TREE.lock();
    bindings
        .iter()
        .find_map(|binding| binding.children.find(&mut tree, wanted))
}

/// Forgets the buses of `module`, which has unregistered them.
///
/// # Safety
///
/// `module` must be valid.
pub(crate) unsafe fn module_is_going(module: *mut bindings::module) {
    // SAFETY: By the safety requirements.
    unsafe { shims::holdfast_buses_unwatch(module) };
}

/// Stops to watch all buses, when the library goes.
pub(crate) fn unwatch_all() {
    // SAFETY: Null stands for all.
    unsafe { shims::holdfast_buses_unwatch(core::ptr::null_mut()) };
}
