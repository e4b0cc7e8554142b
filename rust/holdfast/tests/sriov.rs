// SPDX-License-Identifier: GPL-2.0

//! SR-IOV, as far as it goes without a device that has it; the scenarios in `tests/guest` have one.

use super::*;

use crate::pci::sriov::{
    self,
    Pending,
    Record,
    Records, //
};

use core::any::TypeId;

use kernel::{
    bindings,
    pci, //
};

use super::rescan::any_device;

/// Stand for devices and drivers, and are never followed.
const PF: *mut bindings::pci_dev = 0x1000 as *mut _;
const OTHER_PF: *mut bindings::pci_dev = 0x2000 as *mut _;
const DRIVER: *mut bindings::pci_driver = 0x3000 as *mut _;
const SHARED: *const c_void = 0x4000 as *const _;

/// # Safety
///
/// None; it has the type of a field of [`Record`].
unsafe fn configure(
    _device: *mut bindings::pci_dev,
    _lock: &crate::pci::RescanLock,
    _count: u16,
) -> Result<u16> {
    Err(EIO)
}

fn record(device: *mut bindings::pci_dev) -> Record {
    Record::new(device, DRIVER, TypeId::of::<Subject>(), SHARED, configure)
}

#[kunit_tests(holdfast_sriov)]
mod sriov_tests {
    use super::*;

    /// Only the driver that is asked for by type is found, and only on the PF that has it.
    #[test]
    fn type_is_checked() -> Result {
        let mut records = Records::new();
        records.add(record(PF))?;
        assert!(records
            .of_type(PF, TypeId::of::<Subject>())
            .is_ok_and(|record| record.is_open() && record.shared() == SHARED));
        assert!(records
            .of_type(PF, TypeId::of::<Script>())
            .is_err_and(|error| error == EINVAL));
        assert!(records
            .of_type(OTHER_PF, TypeId::of::<Subject>())
            .is_err_and(|error| error == ENODEV));
        Ok(())
    }

    /// A PF that is being unbound is closed, and gone when that is done; others are not.
    #[test]
    fn closed_and_gone() -> Result {
        let mut records = Records::new();
        records.add(record(PF))?;
        records.add(record(OTHER_PF))?;
        records.close(PF);
        let open = |records: &mut Records, device| records.find(device).map(|pf| pf.is_open());
        assert!(open(&mut records, PF) == Some(false));
        assert!(open(&mut records, OTHER_PF) == Some(true));
        records.remove(PF);
        assert!(open(&mut records, PF).is_none());
        assert!(open(&mut records, OTHER_PF) == Some(true));
        // Once more is harmless, as for a probe that has failed.
        records.close(PF);
        records.remove(PF);
        assert!(open(&mut records, OTHER_PF) == Some(true));
        Ok(())
    }

    /// A PF that is bound while its driver's module ends gets no VFs.
    #[test]
    fn ending_driver() -> Result {
        let mut records = Records::new();
        records.begin_end(DRIVER);
        records.add(record(PF))?;
        assert!(records.find(PF).is_some_and(|record| !record.is_open()));
        records.forget_end(DRIVER);
        records.add(record(OTHER_PF))?;
        assert!(records
            .find(OTHER_PF)
            .is_some_and(|record| record.is_open()));
        Ok(())
    }

    /// VFs' drivers that have been given something are known until they give it back.
    #[test]
    fn attached() -> Result {
        let Some(device) = any_device() else {
            pr_info!("no PCI device here\n");
            return Ok(());
        };
        let mut records = Records::new();
        records.add(record(PF))?;
        assert!(records.attached(PF).is_none());
        records.find(PF).ok_or(EINVAL)?.attach((&*device).into())?;
        assert!(records
            .attached(PF)
            .is_some_and(|vf| core::ptr::eq(&*vf, &*device)));
        let raw = core::ptr::from_ref(&*device).cast_mut().cast();
        records.find(PF).ok_or(EINVAL)?.detach(raw);
        assert!(records.attached(PF).is_none());
        records.find(PF).ok_or(EINVAL)?.detach(raw);
        Ok(())
    }

    /// A device that is no VF, or that the library does not know, is refused.
    #[test]
    fn other_devices() -> Result {
        let Some(device) = any_device() else {
            pr_info!("no PCI device here\n");
            return Ok(());
        };
        assert!(!sriov::is_virtfn(&device));
        assert!(sriov::set_num_vfs_of(&device, 1) == Err(ENODEV));
        // SAFETY: What is asked of it is whether it is a VF.
        let bound: &pci::Device<Bound> = unsafe { &*core::ptr::from_ref(&*device).cast() };
        assert!(sriov::attach(bound, TypeId::of::<Subject>()).is_err_and(|error| error == ENODEV));
        assert!(sriov::vf_number(bound).is_none());
        assert_eq!(sriov::num_vfs(bound), 0);
        Ok(())
    }

    /// What a worker answers is what the one that asked gets.
    #[test]
    fn answers() -> Result {
        for answer in [Ok(0), Ok(7), Ok(u16::MAX), Err(EBUSY), Err(ENODEV)] {
            let pending = Pending::new()?;
            assert!(!pending.is_answered());
            pending.answer(answer);
            assert!(pending.is_answered());
            assert!(pending.result() == answer);
        }
        Ok(())
    }
}
