// SPDX-License-Identifier: GPL-2.0

//! Declarations of the C shims in `rust/helpers/`, in the order of the files there.

use kernel::{
    bindings,
    ffi::{
        c_int,
        c_void, //
    }, //
};

// The C structures are only pointed to, and some hold types that C allows and Rust does not.
#[allow(improper_ctypes)]
extern "C" {
    pub(crate) fn holdfast_cdev_add(
        dev: *mut bindings::device,
        fops: *const bindings::file_operations,
        owner: *mut bindings::module,
    ) -> *mut bindings::cdev;
    pub(crate) fn holdfast_inode_to_device(inode: *mut bindings::inode) -> *mut bindings::device;

    pub(crate) fn holdfast_devm_add_action(
        dev: *mut bindings::device,
        action: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
    ) -> c_int;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_device_references(dev: *mut bindings::device) -> kernel::ffi::c_uint;

    pub(crate) fn holdfast_module_get(module: *mut bindings::module);
    pub(crate) fn holdfast_module_put(module: *mut bindings::module);
    pub(crate) fn holdfast_wait_for_running_text();
}
