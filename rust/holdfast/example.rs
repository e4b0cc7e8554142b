// SPDX-License-Identifier: GPL-2.0

//! An object for the examples of the documentation, and what stands for user space in them.
//!
//! Not for drivers: it is there in kernels with the tests only.

use crate::{
    attribute::{
        Output,
        Show, //
    },
    class::Class,
    object::{
        self,
        device_pointer,
        Object,
        Operations,
        Registration,
        Unregistered, //
    }, //
};

use core::ptr::NonNull;

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    error::to_result,
    faux,
    page::PAGE_SIZE,
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// An LED below any device.
pub struct Led;

/// What an LED has while its device is bound.
pub struct LedBound {
    /// How bright it is.
    pub brightness: Atomic<u32>,
}

impl Operations for Led {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    /// The highest brightness.
    type Data = u32;
    type Bound<'bound> = LedBound;
    /// The brightness at first.
    type Argument = u32;

    const CLASS: Class = Class::new(c"holdfast_led", c"holdfast-led");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _device: &'bound Device<Bound>,
        brightness: u32,
    ) -> impl PinInit<LedBound, Error> + 'bound {
        Ok(LedBound {
            brightness: Atomic::new(brightness),
        })
    }
}

impl Led {
    /// Registers an LED whose highest brightness is 255, and which is off.
    pub fn register(device: &Device<Bound>) -> Result<Registration<Self>> {
        Unregistered::<Self>::new(255)?.register(device, 0)
    }
}

/// A device, with a name of its own: one that an example which fails leaves behind is in nobody's
/// way.
pub fn device() -> Result<faux::Registration> {
    static DEVICES: Atomic<usize> = Atomic::new(0);

    let number = DEVICES.fetch_add(1, Relaxed);
    let name = CString::try_from_fmt(fmt!("holdfast-example{number}"))?;
    faux::Registration::new(&name, None)
}

/// The attribute `name` in the directory of an object, or in one below it, as `directory/name`.
fn find<T: Operations>(
    object: &Object<T>,
    path: &str,
) -> Result<NonNull<bindings::device_attribute>> {
    /// # Safety
    ///
    /// `name` must be null or a string.
    unsafe fn is(name: *const c_char, wanted: &str) -> bool {
        if name.is_null() {
            return wanted.is_empty();
        }
        // SAFETY: By the safety requirements.
        unsafe { CStr::from_char_ptr(name) }.to_bytes() == wanted.as_bytes()
    }

    let (directory, name) = path.split_once('/').unwrap_or(("", path));
    // SAFETY: The device has had its groups since it was registered, and the caller is inside.
    // They are lists that end with null pointers, of static structures and strings.
    unsafe {
        let mut groups = (*device_pointer(object.as_ref())).groups;
        while !groups.is_null() && !(*groups).is_null() {
            let mut attributes = (**groups).__bindgen_anon_2.attrs;
            while is((**groups).name, directory) && !(*attributes).is_null() {
                if is((**attributes).name, name) {
                    return NonNull::new((*attributes).cast()).ok_or(ENOENT);
                }
                attributes = attributes.add(1);
            }
            groups = groups.add(1);
        }
    }
    Err(ENOENT)
}

/// What `cat` of a file in the directory of an object shows.
pub fn cat<T: Operations>(object: &Object<T>, path: &str) -> Result<KVec<u8>> {
    object.access(|_| {
        let attribute = find(object, path)?;
        let mut page = KVec::from_elem(0, PAGE_SIZE, GFP_KERNEL)?;
        // SAFETY: The attribute is one of this object, and this is what sysfs calls it with.
        let length = unsafe {
            let show = attribute.as_ref().__bindgen_anon_1.show.ok_or(EIO)?;
            show(
                device_pointer(object.as_ref()),
                attribute.as_ptr(),
                page.as_mut_ptr().cast(),
            )
        };
        // CAST: At most a page, or an error.
        to_result(length.min(0) as c_int)?;
        page.truncate(length as usize);
        Ok(page)
    })?
}

/// What an attribute of an LED with this function would show.
pub fn shown(led: &Object<Led>, show: Show<Led>) -> Result<KVec<u8>> {
    let mut page = KVec::from_elem(0, PAGE_SIZE, GFP_KERNEL)?;
    let mut output = Output::new(&mut page);
    led.access(|access| show(access, &mut output))??;
    let length = output.length();
    page.truncate(length);
    Ok(page)
}

/// Does what `echo` of a text into a file in the directory of an object does.
pub fn echo<T: Operations>(object: &Object<T>, path: &str, text: &str) -> Result {
    object.access(|_| {
        let attribute = find(object, path)?;
        // SAFETY: As in `cat`.
        let length = unsafe {
            let store = attribute.as_ref().__bindgen_anon_2.store.ok_or(EIO)?;
            store(
                device_pointer(object.as_ref()),
                attribute.as_ptr(),
                text.as_ptr().cast(),
                text.len(),
            )
        };
        // CAST: At most a page, or an error.
        to_result(length.min(0) as c_int)
    })?
}
