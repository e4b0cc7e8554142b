// SPDX-License-Identifier: GPL-2.0

//! The sample driver `sriov_pf`, loaded and bound, as most scenarios need it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::io::Errno;

use crate::cxl;
use crate::kernel;
use crate::mailbox;
use crate::pci::{self, Device};
use crate::scenario::Skip;
use crate::scenarios::registry;
use crate::vf;
use crate::wait;

pub const LIBRARY: &str = "holdfast";
pub const EXAMPLES: &str = "holdfast_examples";
pub const CXL_EXAMPLES: &str = "holdfast_cxl_examples";
pub const MODULE: &str = "holdfast_sriov_pf";
pub const DRIVER: &str = MODULE;
pub const CLASS: &str = "/sys/class/holdfast_pf";

/// The driver of `tests/modules/forgetful.rs`.
pub const FORGETFUL: &str = "holdfast_forgetful";

/// Unloads a sample; fails if that hangs.
pub fn unload_module(module: &'static str) -> Result<()> {
    let what = format!("rmmod of {module}");
    wait::within(&what, move || {
        kernel::rmmod(module).with_context(|| format!("rmmod {module}"))
    })
    .map(drop)
}

pub struct Sample {
    pub pf: Device,
}

impl Sample {
    /// Loads the library and the sample, which binds to the igb.
    pub fn load() -> Result<Self> {
        require()?;
        let pf = Device::find(pci::IGB)?;
        kernel::insmod(LIBRARY).with_context(|| format!("insmod {LIBRARY}"))?;
        kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))?;
        let sample = Self { pf };
        sample.expect_bound()?;
        Ok(sample)
    }

    pub fn expect_bound(&self) -> Result<()> {
        let driver = self.pf.driver();
        ensure!(
            driver.as_deref() == Some(DRIVER),
            "the igb is bound to {driver:?}, not to {DRIVER}"
        );
        self.node().map(drop)
    }

    /// The device node of the one class device there is.
    pub fn node(&self) -> Result<PathBuf> {
        let mut names = class_devices()?;
        ensure!(names.len() == 1, "{CLASS} has {names:?}, not one device");
        let node = PathBuf::from("/dev").join(names.remove(0));
        ensure!(node.exists(), "{} does not exist", node.display());
        Ok(node)
    }

    pub fn open(&self) -> Result<OpenFile> {
        OpenFile::open(self.node()?)
    }

    /// The attribute `vfs` of the one class device there is.
    pub fn attribute(&self) -> Result<PathBuf> {
        let node = self.node()?;
        let name = node.file_name().context("a device node has a name")?;
        Ok(PathBuf::from(CLASS).join(name).join("vfs"))
    }

    pub fn open_attribute(&self) -> Result<OpenFile> {
        OpenFile::open(self.attribute()?)
    }

    /// Binds the driver again, which makes a new class device.
    pub fn bind(&self) -> Result<()> {
        self.pf.bind(DRIVER)?;
        self.expect_bound()
    }

    /// Unbinds; fails if that hangs.
    pub fn unbind(&self) -> Result<()> {
        let pf = self.pf.clone();
        wait::within("unbind", move || pf.unbind(DRIVER))?;
        ensure!(self.pf.driver().is_none(), "the igb is still bound");
        expect_no_class_device()
    }

    /// Unloads both modules, which must be possible whatever happened before.
    pub fn unload(self) -> Result<()> {
        self.unload_driver()?;
        unload_library()
    }

    /// Unloads the driver alone; fails if that hangs.
    pub fn unload_driver(self) -> Result<()> {
        unload_module(MODULE)
    }
}

/// Skips the scenario if the modules were not built.
pub fn require() -> Result<()> {
    for module in [LIBRARY, MODULE] {
        if !kernel::module_is_available(module) {
            return Err(Skip(format!("{module}.ko is not in this guest")).into());
        }
    }
    Ok(())
}

pub fn unload_library() -> Result<()> {
    kernel::wait_until_unused(LIBRARY)?;
    kernel::rmmod(LIBRARY).with_context(|| format!("rmmod {LIBRARY}"))
}

/// The device node of the device of a class below a PCI device.
pub fn node_of(class: &str, device: &Device) -> Result<PathBuf> {
    for entry in fs::read_dir(class).with_context(|| format!("reading {class}"))? {
        let entry = entry?;
        let link = fs::read_link(entry.path().join("device"))?;
        if link.file_name() == Some(device.address.as_ref()) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    bail!("{class} has no device below {}", device.address)
}

/// The names of the sample's class devices; none if the class is not there.
pub fn class_devices() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(CLASS) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

pub fn expect_no_class_device() -> Result<()> {
    let left = class_devices()?;
    ensure!(left.is_empty(), "{CLASS} still has {left:?}");
    Ok(())
}

/// Brings everything back to where scenarios begin: no module loaded, no VF on,
/// the igb there; but for the library if that is pinned. Says what could not be undone.
pub fn clean_up(library_is_pinned: bool) -> Result<()> {
    for module in [
        MODULE,
        vf::VF_MODULE,
        FORGETFUL,
        mailbox::MODULE,
        registry::MODULE,
        EXAMPLES,
        CXL_EXAMPLES,
    ] {
        if kernel::module_is_loaded(module) {
            kernel::wait_until_unused(module)?;
            kernel::rmmod(module).with_context(|| format!("rmmod {module} after the scenario"))?;
        }
    }
    cxl::clean_up()?;
    if kernel::module_is_loaded(LIBRARY) && !library_is_pinned {
        unload_library()?;
    }
    pci::restore_igb().map(drop)
}

/// An open file of the sample's character device.
pub struct OpenFile {
    file: File,
    path: PathBuf,
}

/// What one line of the character device says.
#[derive(Debug)]
pub struct Status {
    pub register: u32,
    pub vfs: usize,
}

impl OpenFile {
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
        Ok(Self { file, path })
    }

    /// Reads the whole text from the start; the error is the system call's.
    pub fn read(&self) -> Result<String, Errno> {
        let mut text = Vec::new();
        let mut buffer = [0; 256];
        loop {
            let position = text.len() as u64;
            match self.file.read_at(&mut buffer, position) {
                Ok(0) => break,
                Ok(count) => text.extend_from_slice(&buffer[..count]),
                Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Reads the status; fails unless it could have come from a real register.
    pub fn status(&self) -> Result<Status> {
        let text = self
            .read()
            .with_context(|| format!("reading {}", self.path.display()))?;
        let odd = || anyhow!("{} says {text:?}", self.path.display());
        let words: Vec<&str> = text.split_whitespace().collect();
        let ["status", register, "vfs", vfs] = words[..] else {
            return Err(odd());
        };
        let register = register.strip_prefix("0x").ok_or_else(odd)?;
        let status = Status {
            register: u32::from_str_radix(register, 16).map_err(|_| odd())?,
            vfs: vfs.parse().map_err(|_| odd())?,
        };
        // All ones is what the bus answers when nobody is there.
        ensure!(
            status.register != 0 && status.register != u32::MAX,
            "the status register reads {:#010x}",
            status.register
        );
        Ok(status)
    }

    /// Fails unless the file answers that its device is gone.
    pub fn expect_dead(&self) -> Result<()> {
        match self.read() {
            Err(Errno::NODEV) => Ok(()),
            other => bail!("reading a file of a device that is gone gives {other:?}, not ENODEV"),
        }
    }

    /// Fails unless its device is gone and nothing else has its name.
    pub fn expect_gone(&self) -> Result<()> {
        self.expect_dead()?;
        match File::open(&self.path) {
            Ok(_) => bail!("{} can still be opened", self.path.display()),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Ok(()),
                _ => bail!("opening {} again gives: {error}", self.path.display()),
            },
        }
    }
}
