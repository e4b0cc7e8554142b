// SPDX-License-Identifier: GPL-2.0

//! CXL regions, as user space makes them, and the sample driver `cxl_region`.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{bail, ensure, Context, Result};

use crate::kernel;
use crate::sample::{self, LIBRARY};
use crate::scenario::Skip;
use crate::wait;

/// What the sample needs of the library.
pub const CRATE: &str = "holdfast_cxl";
pub const MODULE: &str = "holdfast_cxl_region";
pub const DRIVER: &str = MODULE;
const CLASS: &str = "/sys/class/holdfast_cxl_region";

const DEVICES: &str = "/sys/bus/cxl/devices";
const CORE_MODULES: &[&str] = &["cxl_acpi", "cxl_port", "cxl_mem", "cxl_pci"];

/// The device of the platform bus below which all of CXL is.
pub const ROOT: &str = "ACPI0017:00";

/// What each memory device of the machine has.
const BYTES_PER_TARGET: u64 = 256 << 20;
pub const GRANULARITY: u32 = 256;

fn device(name: &str) -> PathBuf {
    Path::new(DEVICES).join(name)
}

/// The devices on the CXL bus that are called `prefix` and a number, in its order.
fn devices(prefix: &str) -> Result<Vec<String>> {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(DEVICES)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Some(Ok(number)) = name.strip_prefix(prefix).map(str::parse::<u32>) {
            numbers.insert(number);
        }
    }
    Ok(numbers
        .iter()
        .map(|number| format!("{prefix}{number}"))
        .collect())
}

/// The memory devices that are ready: each with the first decoder of its endpoint.
pub fn targets() -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for endpoint in devices("endpoint")? {
        let number = endpoint.trim_start_matches("endpoint");
        let decoder = format!("decoder{number}.0");
        // It may be about to come or to go.
        let Ok(memory) = fs::canonicalize(device(&endpoint).join("uport")) else {
            continue;
        };
        let memory = memory.file_name().context("a device has a name")?;
        if device(&decoder).exists() {
            found.push(Target {
                memory: memory.to_string_lossy().into_owned(),
                endpoint,
                decoder,
            });
        }
    }
    found.sort_by(|a, b| a.memory.cmp(&b.memory));
    Ok(found)
}

/// A memory device.
pub struct Target {
    /// `mem0`.
    pub memory: String,
    /// Its port.
    pub endpoint: String,
    /// The decoder there that regions use.
    pub decoder: String,
}

/// Loads the one module of the core that the crate needs.
pub fn load_core_module() -> Result<()> {
    let status = Command::new("modprobe").arg("cxl_core").status()?;
    ensure!(status.success(), "modprobe cxl_core: {status}");
    Ok(())
}

/// Loads the core's modules, and waits until `count` memory devices are ready.
pub fn load_core(count: usize) -> Result<()> {
    for module in CORE_MODULES {
        let status = Command::new("modprobe").arg(module).status()?;
        if !status.success() {
            return Err(Skip(format!("{module} is not in this guest")).into());
        }
    }
    wait::until("the CXL memory is there", || {
        Ok(Path::new(DEVICES).exists() && targets()?.len() >= count)
    })
}

/// Loads the library and the sample.
pub fn load() -> Result<()> {
    for module in [LIBRARY, CRATE, MODULE] {
        if !kernel::module_is_available(module) {
            return Err(Skip(format!("{module}.ko is not in this guest")).into());
        }
    }
    load_core(1)?;
    for module in [LIBRARY, CRATE, MODULE] {
        kernel::insmod(module).with_context(|| format!("insmod {module}"))?;
    }
    Ok(())
}

/// Unloads the sample alone, which unbinds it; fails if that does not return at once.
pub fn unload_sample() -> Result<()> {
    sample::unload_module(MODULE)
}

/// Unloads all that [`load`] has loaded of this project.
pub fn unload() -> Result<()> {
    unload_sample()?;
    unload_crate()
}

/// Unloads the library, which objects below regions hold until they are freed.
pub fn unload_crate() -> Result<()> {
    kernel::wait_until_unused(CRATE)?;
    kernel::rmmod(CRATE).with_context(|| format!("rmmod {CRATE}"))?;
    sample::unload_library()
}

/// Unbinds a device from its driver, of the CXL bus or of another one.
pub fn unbind(driver: &str, device: &str) -> Result<()> {
    kernel::write(format!("/sys/bus/{driver}/unbind"), device)
}

/// Binds it again, and waits until `count` memory devices are ready.
pub fn bind(driver: &str, device: &str, count: usize) -> Result<()> {
    kernel::write(format!("/sys/bus/{driver}/bind"), device)?;
    wait::until("the CXL memory is there again", || {
        Ok(targets()?.len() >= count)
    })
}

/// A region that user space has made. It is not deleted when this is dropped.
#[derive(Clone)]
pub struct Region {
    pub name: String,
    pub ways: usize,
}

/// The decoder at the root, below which regions are made. It is another one when the root was
/// unbound and is back.
fn root() -> Result<PathBuf> {
    for entry in fs::read_dir(DEVICES)? {
        let path = entry?.path();
        if path.join("create_ram_region").exists() {
            return Ok(path);
        }
    }
    bail!("no decoder in {DEVICES} has create_ram_region")
}

/// What the name of a region is written to that is to be deleted.
pub fn delete_attribute() -> Result<PathBuf> {
    Ok(root()?.join("delete_region"))
}

impl Region {
    /// Makes a region that nothing is set of.
    pub fn create_idle(ways: usize) -> Result<Self> {
        let create = root()?.join("create_ram_region");
        let name = kernel::read(&create)?;
        kernel::write(&create, &name)?;
        Ok(Self { name, ways })
    }

    /// Makes a region over the first `ways` memory devices, and commits it.
    pub fn create(ways: usize) -> Result<Self> {
        let targets = targets()?;
        ensure!(targets.len() >= ways, "{} memory devices", targets.len());
        let this = Self::create_idle(ways)?;
        this.set("interleave_granularity", &GRANULARITY.to_string())?;
        this.set("interleave_ways", &ways.to_string())?;
        for target in &targets[..ways] {
            let decoder = device(&target.decoder);
            kernel::write(decoder.join("mode"), "ram")?;
            kernel::write(decoder.join("dpa_size"), &format!("{BYTES_PER_TARGET:#x}"))?;
        }
        this.set("size", &format!("{:#x}", this.size()))?;
        for (position, target) in targets[..ways].iter().enumerate() {
            this.set(&format!("target{position}"), &target.decoder)?;
        }
        this.set("commit", "1")?;
        Ok(this)
    }

    pub fn size(&self) -> u64 {
        BYTES_PER_TARGET * self.ways as u64
    }

    pub fn path(&self) -> PathBuf {
        device(&self.name)
    }

    pub fn set(&self, attribute: &str, value: &str) -> Result<()> {
        kernel::write(self.path().join(attribute), value)
    }

    pub fn get(&self, attribute: &str) -> Result<String> {
        kernel::read(self.path().join(attribute))
    }

    /// Binds the sample, which makes a device node.
    pub fn bind(&self) -> Result<()> {
        self.ask_to_bind()?;
        node().map(drop)
    }

    /// The same while somebody else takes the region away.
    pub fn ask_to_bind(&self) -> Result<()> {
        kernel::write(format!("/sys/bus/cxl/drivers/{DRIVER}/bind"), &self.name)
    }

    pub fn unbind(&self) -> Result<()> {
        kernel::write(format!("/sys/bus/cxl/drivers/{DRIVER}/unbind"), &self.name)
    }

    pub fn is_bound(&self) -> bool {
        self.path().join("driver").exists()
    }

    /// Takes it out of the decoders.
    pub fn reset(&self) -> Result<()> {
        self.set("commit", "0")
    }

    pub fn commit(&self) -> Result<()> {
        self.set("commit", "1")
    }

    pub fn delete(&self) -> Result<()> {
        kernel::write(delete_attribute()?, &self.name)
    }
}

/// Deletes all regions, and gives back what they had of the memory devices.
pub fn delete_regions() -> Result<()> {
    for name in devices("region")? {
        Region { name, ways: 1 }.delete()?;
    }
    for target in targets()? {
        kernel::write(device(&target.decoder).join("dpa_size"), "0")?;
    }
    Ok(())
}

/// Brings everything back to where scenarios begin, but for the core's modules.
pub fn clean_up() -> Result<()> {
    for module in [MODULE, CRATE] {
        if kernel::module_is_loaded(module) {
            kernel::wait_until_unused(module)?;
            kernel::rmmod(module).with_context(|| format!("rmmod {module} after the scenario"))?;
        }
    }
    if Path::new(DEVICES).exists() {
        // What a scenario that failed has left unbound.
        let core = Path::new("/sys/bus/platform").join("drivers/cxl_acpi");
        if core.exists() && !core.join(ROOT).exists() {
            kernel::write(core.join("bind"), ROOT)?;
        }
        for memory in devices("mem")? {
            if !device(&memory).join("driver").exists() {
                kernel::write("/sys/bus/cxl/drivers/cxl_mem/bind", &memory)?;
            }
        }
        delete_regions()?;
    }
    Ok(())
}

/// The names of the sample's class devices.
pub fn class_devices() -> Result<Vec<String>> {
    let Ok(entries) = fs::read_dir(CLASS) else {
        return Ok(Vec::new());
    };
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// The device node of the one region that is bound.
pub fn node() -> Result<PathBuf> {
    let names = class_devices()?;
    let [name] = &names[..] else {
        bail!("{CLASS} has {names:?}, not one device");
    };
    let node = Path::new("/dev").join(name);
    ensure!(node.exists(), "{} does not exist", node.display());
    Ok(node)
}

/// An attribute of the one region that is bound.
pub fn attribute(name: &str) -> Result<PathBuf> {
    let names = class_devices()?;
    ensure!(names.len() == 1, "{CLASS} has {names:?}, not one device");
    Ok(Path::new(CLASS).join(&names[0]).join(name))
}

pub fn open() -> Result<File> {
    let node = node()?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(&node)
        .with_context(|| format!("opening {}", node.display()))
}
