// SPDX-License-Identifier: GPL-2.0

//! Declarations of the C shims in `rust/helpers/`, in the order of the files there.

use kernel::{
    bindings,
    ffi::{
        c_int,
        c_uint,
        c_ulong,
        c_void, //
    }, //
};

/// A slot of `rust/helpers/door.c`.
#[repr(C)]
pub(crate) struct Slot {
    _opaque: [u8; 0],
}

/// The address that stands for a slot which was given back: `HOLDFAST_REFUSED` there.
pub(crate) const REFUSED: usize = 1;

/// What `rust/helpers/pci.c` has noted of the owner of the rescan/remove lock.
#[cfg(CONFIG_PCI)]
#[repr(C)]
pub(crate) struct Previous {
    pub(crate) owner: *mut bindings::task_struct,
    pub(crate) room: c_int,
}

// The C structures are only pointed to, and some hold types that C allows and Rust does not.
#[allow(improper_ctypes)]
extern "C" {
    pub(crate) fn holdfast_cdev_add(
        dev: *mut bindings::device,
        fops: *const bindings::file_operations,
        owner: *mut bindings::module,
    ) -> *mut bindings::cdev;
    pub(crate) fn holdfast_inode_to_device(inode: *mut bindings::inode) -> *mut bindings::device;
    pub(crate) fn holdfast_kiocb_nonblocking(kiocb: *mut bindings::kiocb) -> bool;
    pub(crate) fn holdfast_compat_pointer(argument: c_ulong) -> c_ulong;
    pub(crate) fn holdfast_wait_queue_init(queue: *mut bindings::wait_queue_head);
    pub(crate) fn holdfast_wait_begin(
        queue: *mut bindings::wait_queue_head,
        entry: *mut bindings::wait_queue_entry,
    );

    pub(crate) fn holdfast_fs_mount() -> c_int;
    pub(crate) fn holdfast_fs_unmount();
    pub(crate) fn holdfast_inode_new() -> *mut bindings::inode;
    pub(crate) fn holdfast_file_set_inode(file: *mut bindings::file, inode: *mut bindings::inode);
    pub(crate) fn holdfast_inode_unmap(inode: *mut bindings::inode);

    pub(crate) fn holdfast_vma_set_up(
        vma: *mut bindings::vm_area_struct,
        ops: *const bindings::vm_operations_struct,
        read_only: bool,
        caching: c_uint,
    ) -> c_int;
    pub(crate) fn holdfast_fault_insert(
        vmf: *mut bindings::vm_fault,
        page: *mut bindings::page,
        pfn: c_ulong,
        caching: c_uint,
    ) -> bindings::vm_fault_t;
    pub(crate) fn holdfast_page_write(
        page: *mut bindings::page,
        offset: usize,
        from: *const c_void,
        length: usize,
    );
    pub(crate) fn holdfast_page_read(
        page: *mut bindings::page,
        offset: usize,
        to: *mut c_void,
        length: usize,
    );
    pub(crate) fn holdfast_page_store(page: *mut bindings::page, offset: usize, value: u32);
    pub(crate) fn holdfast_page_load(page: *mut bindings::page, offset: usize) -> u32;

    pub(crate) fn holdfast_bus_watch(
        dev: *mut bindings::device,
        unbinding: unsafe extern "C" fn(*mut bindings::device),
    ) -> c_int;
    pub(crate) fn holdfast_buses_unwatch(module: *mut bindings::module);

    pub(crate) fn holdfast_devres_binding(dev: *mut bindings::device) -> *mut c_void;
    pub(crate) fn holdfast_devres_add(
        dev: *mut bindings::device,
        release: unsafe extern "C" fn(*mut c_void),
        binding: *mut c_void,
    ) -> *mut c_void;
    pub(crate) fn holdfast_devres_remove(dev: *mut bindings::device, devres: *mut c_void) -> bool;
    pub(crate) fn holdfast_devres_make_newest(dev: *mut bindings::device);
    pub(crate) fn holdfast_device_get_unless_released(dev: *mut bindings::device) -> bool;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_device_references(dev: *mut bindings::device) -> c_uint;

    pub(crate) fn holdfast_door_enter(door: *mut usize, shut: usize) -> *mut Slot;
    pub(crate) fn holdfast_door_leave(door: *mut usize, slot: *mut Slot) -> usize;
    pub(crate) fn holdfast_grace_period();
    pub(crate) fn holdfast_slots_have(door: usize) -> bool;
    pub(crate) fn holdfast_slots_next(task: usize, position: *mut c_uint) -> usize;

    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_kunit_race_rounds() -> c_uint;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_kunit_kill() -> bool;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_kunit_revive() -> bool;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_kunit_open(devt: bindings::dev_t, flags: c_int) -> *mut bindings::file;
    #[cfg(CONFIG_HOLDFAST_KUNIT_TEST)]
    pub(crate) fn holdfast_kunit_map(
        file: *mut bindings::file,
        length: usize,
        writable: bool,
    ) -> isize;

    #[cfg(all(CONFIG_HOLDFAST_KUNIT_TEST, CONFIG_IRQ_SIM))]
    pub(crate) fn holdfast_sim_create(irq: *mut c_uint) -> *mut bindings::irq_domain;
    #[cfg(all(CONFIG_HOLDFAST_KUNIT_TEST, CONFIG_IRQ_SIM))]
    pub(crate) fn holdfast_sim_destroy(domain: *mut bindings::irq_domain, irq: c_uint);
    #[cfg(all(CONFIG_HOLDFAST_KUNIT_TEST, CONFIG_IRQ_SIM))]
    pub(crate) fn holdfast_sim_assert(irq: c_uint);

    pub(crate) fn holdfast_module_get(module: *mut bindings::module);
    pub(crate) fn holdfast_module_put(module: *mut bindings::module);
    pub(crate) fn holdfast_module_has(
        address: *const c_void,
        module: *mut bindings::module,
    ) -> bool;
    pub(crate) fn holdfast_modules_watch(
        gone: unsafe extern "C" fn(*mut bindings::module),
    ) -> c_int;
    pub(crate) fn holdfast_modules_unwatch();
    pub(crate) fn holdfast_wait_for_running_text();

    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_probe() -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_unprobe();
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_is_reentrant() -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_held() -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_depth() -> c_uint;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_lock() -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_unlock() -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_adopt(previous: *mut Previous) -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_disown(previous: *const Previous);
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_rescan_hand_over(
        run: unsafe extern "C" fn(*mut c_void),
        data: *mut c_void,
    );
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_device_lock_enter(pdev: *mut bindings::pci_dev);
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_device_lock_leave();
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_device_lock_assert_not_held();
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_device_trylock(pdev: *mut bindings::pci_dev) -> bool;
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_device_unlock(pdev: *mut bindings::pci_dev);
    #[cfg(CONFIG_PCI)]
    pub(crate) fn holdfast_device_wait(pdev: *mut bindings::pci_dev);
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_pci_is_virtfn(pdev: *mut bindings::pci_dev) -> bool;
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_pci_num_vf(pdev: *mut bindings::pci_dev) -> u16;
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_pci_vf_number(vf: *mut bindings::pci_dev) -> c_int;
    #[cfg(CONFIG_PCI_IOV)]
    pub(crate) fn holdfast_pci_physfn(pdev: *mut bindings::pci_dev) -> *mut bindings::pci_dev;

    pub(crate) fn holdfast_wait_until(
        var: *mut c_void,
        condition: unsafe extern "C" fn(*mut c_void) -> bool,
        data: *mut c_void,
    );
    pub(crate) fn holdfast_wake_all(var: *mut c_void);

    pub(crate) fn holdfast_work_init(
        work: *mut bindings::work_struct,
        run: unsafe extern "C" fn(*mut bindings::work_struct),
    );
    pub(crate) fn holdfast_work_queue(work: *mut bindings::work_struct) -> bool;
    pub(crate) fn holdfast_delayed_work_init(
        work: *mut bindings::delayed_work,
        run: unsafe extern "C" fn(*mut bindings::work_struct),
    );
    pub(crate) fn holdfast_delayed_work_queue(
        work: *mut bindings::delayed_work,
        delay: c_ulong,
    ) -> bool;
}
