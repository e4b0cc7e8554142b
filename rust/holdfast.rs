// SPDX-License-Identifier: GPL-2.0

//! Holdfast: safe lifetimes for Rust drivers.
//!
//! A driver's object has two lifetimes. Its *memory* must live until the last reference to it is
//! gone: an open file, a child, a symlink, another driver. What it *does* (registers, interrupts,
//! callbacks into the module) must end when its device is unbound. Holdfast keeps the two apart in
//! the types:
//!
//! - [`object::Object`] is memory that the reference count of its embedded `struct device` owns.
//!   No driver writes a release callback, and none can free it early.
//! - [`object::Unregistered`] becomes [`object::Registration`], once. What ends with the
//!   registration, [`object::Operations::Bound`], is reached only through the door,
//!   [`object::Object::access`], which answers [`ENODEV`] afterwards.
//! - [`object::Object::unregister`] ends the registration exactly once, whoever asks and however
//!   many ask at once. The devres of the parent device is the backstop: a registration that is
//!   forgotten ends when the parent is unbound.
//! - [`chardev`] puts a character device on an object. An open file holds the object's memory and
//!   this library, not the driver.
//! - [`attribute`] puts files of sysfs on an object, which end with it.
//! - [`work`], [`timer`] and [`irq`] call the driver while the object is registered, and end with
//!   that.
//! - [`registry`] lets user space create and delete objects by name.
//! - [`pci::sriov`] makes a PCI driver the driver of a physical function, and gives the drivers of
//!   its virtual functions what they may see of it. [`pci::RescanLock`] is the lock under which
//!   they come and go.
//!
//! The samples show each of them in a driver, without `unsafe`.
//!
//! # Examples
//!
//! A lamp, from its registration to its end. Its device is a made-up one; a driver gets its own in
//! `probe`.
//!
//! ```
//! use holdfast::{
//!     class::Class,
//!     object::{self, Object, Outcome, Unregistered},
//! };
//! use kernel::{
//!     device::{Bound, Device},
//!     faux,
//!     sync::atomic::{Atomic, Relaxed},
//! };
//!
//! struct Lamp;
//!
//! /// What a lamp does: it ends with the binding of the device, and may borrow from that.
//! struct LampBound<'bound> {
//!     device: &'bound Device<Bound>,
//!     is_on: Atomic<bool>,
//! }
//!
//! impl object::Operations for Lamp {
//!     type Parent = Device<Bound>;
//!     type Structure = object::ClassDevice;
//!     type Data = &'static CStr;
//!     type Bound<'bound> = LampBound<'bound>;
//!     type Argument = bool;
//!     const CLASS: Class = Class::new(c"lamp", c"lamp");
//!
//!     fn bind<'bound>(
//!         _object: &'bound Object<Self>,
//!         device: &'bound Device<Bound>,
//!         is_on: bool,
//!     ) -> impl PinInit<LampBound<'bound>, Error> + 'bound {
//!         Ok(LampBound { device, is_on: Atomic::new(is_on) })
//!     }
//! }
//!
//! let device = faux::Registration::new(c"holdfast-lamp-maker", None)?;
//!
//! // Nobody sees it yet: its data can be set, and read.
//! let lamp = Unregistered::<Lamp>::new(c"on the desk")?;
//! assert_eq!(**lamp, c"on the desk");
//!
//! // Now it is /sys/class/lamp/lamp0.
//! let lamp = lamp.register(device.as_ref().as_ref(), true)?;
//! assert_eq!(lamp.name(), c"lamp0");
//! assert!(lamp.access(|lamp| lamp.is_on.load(Relaxed))?);
//! let name = lamp.access(|lamp| lamp.device.name() == c"holdfast-lamp-maker")?;
//! assert!(name);
//!
//! // Whoever has a reference keeps the memory, not what the lamp does.
//! let reference = lamp.reference();
//! drop(device);
//! assert_eq!(reference.access(|lamp| lamp.is_on.load(Relaxed)), Err(ENODEV));
//! assert_eq!(**reference, c"on the desk");
//! assert_eq!(reference.unregister()?, Outcome::AlreadyDone);
//! # Ok::<(), Error>(())
//! ```

use kernel::{
    module::this_module,
    prelude::*, //
};

#[path = "holdfast/attribute.rs"]
pub mod attribute;
#[path = "holdfast/binding.rs"]
mod binding;
#[path = "holdfast/callbacks.rs"]
pub mod callbacks;
#[path = "holdfast/chardev.rs"]
pub mod chardev;
#[path = "holdfast/class.rs"]
pub mod class;
#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
#[doc(hidden)]
#[path = "holdfast/example.rs"]
pub mod example;
#[path = "holdfast/irq.rs"]
pub mod irq;
#[path = "holdfast/managed.rs"]
pub mod managed;
#[path = "holdfast/memory.rs"]
mod memory;
#[path = "holdfast/object.rs"]
pub mod object;
#[cfg(CONFIG_PCI)]
#[path = "holdfast/pci.rs"]
pub mod pci;
#[path = "holdfast/platform.rs"]
mod platform;
#[path = "holdfast/protocol.rs"]
mod protocol;
#[path = "holdfast/registry.rs"]
pub mod registry;
#[path = "holdfast/revocable.rs"]
pub mod revocable;
#[path = "holdfast/shims.rs"]
mod shims;
#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
#[doc(hidden)]
#[path = "holdfast/testing.rs"]
pub mod testing;
#[path = "holdfast/timer.rs"]
pub mod timer;
#[path = "holdfast/waits.rs"]
mod waits;
#[path = "holdfast/work.rs"]
pub mod work;

#[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
#[path = "holdfast/tests.rs"]
mod tests;

/// The library as a module.
struct Holdfast {
    _chardevs: chardev::NumberSpace,
    _modules: memory::Watch,
}

impl kernel::Module for Holdfast {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        // SAFETY: The initialisation of a module runs once, and no other module can call into this
        // one before it has succeeded.
        unsafe {
            class::initialise();
            binding::initialise();
            revocable::initialise();
            waits::initialise();
            #[cfg(CONFIG_PCI)]
            pci::initialise();
        }

        Ok(Self {
            _chardevs: chardev::NumberSpace::new()?,
            _modules: memory::Watch::new()?,
        })
    }
}

impl Drop for Holdfast {
    fn drop(&mut self) {
        binding::unwatch_all();

        // Every object held this module, so all are freed; the task that freed the last one may
        // still be on its way out.
        //
        // SAFETY: Always safe to call in a context that may sleep.
        unsafe { shims::holdfast_wait_for_running_text() };

        // SAFETY: Nobody is left who could use it.
        #[cfg(CONFIG_PCI)]
        unsafe {
            pci::end()
        };
    }
}

/// Holds this module for something that will call into it.
///
/// Never inlined, as in another crate it would hold that crate's module.
#[inline(never)]
fn hold_library() {
    // SAFETY: `THIS_MODULE` is this module. It is in use, because a module that depends on it, or
    // it itself, is running this code.
    unsafe { shims::holdfast_module_get(this_module::<Holdfast>().as_ptr()) };
}

/// Gives back one [`hold_library`].
///
/// # Safety
///
/// Must be matched with an earlier call of [`hold_library`], and the caller must either hold this
/// module otherwise, or return to code outside it without sleeping.
#[inline(never)]
unsafe fn release_library() {
    // SAFETY: By the safety requirements, a reference is there to be put.
    unsafe { shims::holdfast_module_put(this_module::<Holdfast>().as_ptr()) };
}

module! {
    type: Holdfast,
    name: "holdfast",
    authors: ["The Holdfast authors"],
    description: "Safe lifetimes for Rust drivers",
    license: "GPL",
}
