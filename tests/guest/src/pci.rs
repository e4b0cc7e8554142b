// SPDX-License-Identifier: GPL-2.0

//! PCI devices, through sysfs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, Context, Result};

use crate::kernel;
use crate::wait;

const DEVICES: &str = "/sys/bus/pci/devices";

/// QEMU's igb: the PF and its VFs.
pub const IGB: (u16, u16) = (0x8086, 0x10c9);
pub const IGB_VF: (u16, u16) = (0x8086, 0x10ca);

/// QEMU's NVMe controller, and its VFs.
pub const NVME: (u16, u16) = (0x1b36, 0x0010);

/// A device by its address, whether or not it is there.
#[derive(Clone)]
pub struct Device {
    pub address: String,
}

impl Device {
    /// The one device with these ids.
    pub fn find(ids: (u16, u16)) -> Result<Self> {
        let mut found = all(ids)?;
        match found.len() {
            1 => Ok(found.remove(0)),
            count => bail!("{count} devices are {:04x}:{:04x}, not 1", ids.0, ids.1),
        }
    }

    pub fn path(&self) -> PathBuf {
        Path::new(DEVICES).join(&self.address)
    }

    pub fn exists(&self) -> bool {
        self.path().exists()
    }

    /// The name of the driver that it is bound to.
    pub fn driver(&self) -> Option<String> {
        let link = fs::read_link(self.path().join("driver")).ok()?;
        Some(link.file_name()?.to_string_lossy().into_owned())
    }

    /// How many VFs the kernel says are on.
    pub fn vf_count(&self) -> Result<usize> {
        Ok(kernel::read(self.path().join("sriov_numvfs"))?.parse()?)
    }

    pub fn set_vf_count(&self, count: usize) -> Result<()> {
        kernel::write(self.path().join("sriov_numvfs"), &count.to_string())
    }

    /// The VFs that are linked to this PF.
    pub fn vf_links(&self) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(self.path())? {
            count += usize::from(entry?.file_name().to_string_lossy().starts_with("virtfn"));
        }
        Ok(count)
    }

    /// Removes the device from the system, as hot-unplugging it would.
    pub fn remove(&self) -> Result<()> {
        kernel::write(self.path().join("remove"), "1")
    }

    pub fn unbind(&self, driver: &str) -> Result<()> {
        kernel::write(
            format!("/sys/bus/pci/drivers/{driver}/unbind"),
            &self.address,
        )
    }

    pub fn bind(&self, driver: &str) -> Result<()> {
        kernel::write(format!("/sys/bus/pci/drivers/{driver}/bind"), &self.address)
    }
}

impl Device {
    /// Binds a driver that does not know the device's ids; fails if it refuses the device.
    ///
    /// Not by `new_id`: that takes no id for a driver whose own ids all have data, as those of
    /// drivers in Rust have.
    ///
    /// [`Overridden`] ends it.
    pub fn bind_by_override(&self, driver: &str) -> Result<()> {
        kernel::write(self.path().join("driver_override"), driver)?;
        kernel::write("/sys/bus/pci/drivers_probe", &self.address)?;
        match self.driver() {
            Some(bound) if bound == driver => Ok(()),
            bound => bail!("{} is bound to {bound:?}, not to {driver}", self.address),
        }
    }
}

/// A device that [`Device::bind_by_override`] is used on, until this is dropped.
pub struct Overridden(pub Device);

impl Drop for Overridden {
    fn drop(&mut self) {
        let path = self.0.path().join("driver_override");
        if let Err(error) = kernel::write(path, "\n") {
            println!("{} keeps its driver_override: {error:#}", self.0.address);
        }
    }
}

/// All devices with these ids.
pub fn all(ids: (u16, u16)) -> Result<Vec<Device>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(DEVICES).context("is there a PCI bus?")? {
        let address = entry?.file_name().to_string_lossy().into_owned();
        let device = Device { address };
        let id = |name| -> Option<u16> {
            let text = kernel::read(device.path().join(name)).ok()?;
            u16::from_str_radix(text.strip_prefix("0x")?, 16).ok()
        };
        // A device that goes away meanwhile has no ids.
        if id("vendor") == Some(ids.0) && id("device") == Some(ids.1) {
            found.push(device);
        }
    }
    Ok(found)
}

/// Finds what is plugged in but was removed.
pub fn rescan() -> Result<()> {
    kernel::write("/sys/bus/pci/rescan", "1")
}

/// Fails unless exactly `count` VFs are there, by every way of counting.
pub fn expect_vfs(pf: &Device, count: usize) -> Result<()> {
    let ways = (pf.vf_count()?, pf.vf_links()?, all(IGB_VF)?.len());
    if ways != (count, count, count) {
        bail!(
            "{count} VFs should be there; sriov_numvfs says {}, virtfn links {}, devices {}",
            ways.0,
            ways.1,
            ways.2
        );
    }
    Ok(())
}

/// Brings the igb back if a scenario lost it.
pub fn restore_igb() -> Result<Device> {
    if all(IGB)?.is_empty() {
        rescan()?;
        wait::until("the igb is back", || Ok(!all(IGB)?.is_empty()))?;
    }
    Device::find(IGB)
}
