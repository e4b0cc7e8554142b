// SPDX-License-Identifier: GPL-2.0

//! The sample drivers `sriov_pf` and `sriov_vf` together.

use std::fs;

use anyhow::{anyhow, ensure, Context, Result};

use crate::kernel;
use crate::pci::{self, Device};
use crate::sample::{self, OpenFile, Sample};
use crate::scenario::Skip;

pub const VF_MODULE: &str = "holdfast_sriov_vf";
pub const VF_DRIVER: &str = VF_MODULE;
pub const CLASS: &str = "/sys/class/holdfast_vf";

pub struct VfSample {
    sample: Sample,
}

/// What one line of a VF's character device says.
pub struct VfStatus {
    pub number: usize,
    pub granted: usize,
    pub vectors: u32,
    pub greeting: usize,
}

impl VfSample {
    /// Loads the library and both drivers.
    pub fn load() -> Result<Self> {
        if !kernel::module_is_available(VF_MODULE) {
            return Err(Skip(format!("{VF_MODULE}.ko is not in this guest")).into());
        }
        let sample = Sample::load()?;
        kernel::insmod(VF_MODULE).with_context(|| format!("insmod {VF_MODULE}"))?;
        Ok(Self { sample })
    }

    pub fn pf(&self) -> &Device {
        &self.sample.pf
    }

    /// The file of a VF, which must be bound.
    pub fn file_of(&self, vf: &Device) -> Result<OpenFile> {
        let driver = vf.driver();
        ensure!(
            driver.as_deref() == Some(VF_DRIVER),
            "{} is bound to {driver:?}, not to {VF_DRIVER}",
            vf.address
        );
        OpenFile::open(sample::node_of(CLASS, vf)?)
    }

    /// The files of the igb's VFs, of which there must be `count`.
    pub fn files(&self, count: usize) -> Result<Vec<OpenFile>> {
        pci::expect_vfs(self.pf(), count)?;
        pci::all(pci::IGB_VF)?
            .iter()
            .map(|vf| self.file_of(vf))
            .collect()
    }

    /// Unloads everything that is loaded; the PF's driver first, with its VFs.
    pub fn unload(self) -> Result<()> {
        self.sample.unload_driver()?;
        if kernel::module_is_loaded(VF_MODULE) {
            sample::unload_module(VF_MODULE)?;
        }
        sample::unload_library()
    }
}

impl OpenFile {
    /// Reads the status of a VF.
    pub fn vf_status(&self) -> Result<VfStatus> {
        let text = self.read().context("reading the file of a VF")?;
        let odd = || anyhow!("the file of a VF says {text:?}");
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["vf", number, "of", granted, "vectors", vectors, "greeting", greeting, "status", _] =
            words[..]
        else {
            return Err(odd());
        };
        Ok(VfStatus {
            number: number.parse().map_err(|_| odd())?,
            granted: granted.parse().map_err(|_| odd())?,
            vectors: vectors.parse().map_err(|_| odd())?,
            greeting: greeting.parse().map_err(|_| odd())?,
        })
    }
}

/// Fails if the VFs' driver has a class device.
pub fn expect_no_class_device() -> Result<()> {
    let left = fs::read_dir(CLASS).map_or(0, Iterator::count);
    ensure!(left == 0, "{CLASS} still has {left} devices");
    Ok(())
}
