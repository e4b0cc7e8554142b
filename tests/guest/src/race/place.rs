// SPDX-License-Identifier: GPL-2.0

//! Where the races are run: a port with a slot, two PFs in it, and their driver.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::io::Errno;

use super::operation::{Needs, Operation};
use super::watch::{Interval, Watch, SIDES};
use crate::kernel;
use crate::monitor::Monitor;
use crate::pci::{self, Device};
use crate::sample::{self, OpenFile};
use crate::vf;
use crate::wait;

/// How long a system call may take. It is more than any of them takes when it has to wait for
/// some others, and more than the kernel waits until it reports a hung task.
const LIMIT: Duration = Duration::from_secs(15);

/// How long pciehp waits for somebody to press the button again, before it does anything.
const BLINKS: Duration = Duration::from_secs(5);

/// How long it waits after it has switched a slot on.
const POWERS_UP: Duration = Duration::from_secs(1);

/// How long it takes at most to do something in a slot that is told to.
const SLOT_LIMIT: Duration = Duration::from_secs(25);

/// How long an event in a slot is waited for when the other side may have prevented it.
const PREVENTED: Duration = Duration::from_secs(3);

/// How long what follows from an operation may take, after it.
const SETTLES: Duration = Duration::from_secs(10);

const PORT_DRIVER: &str = "pcieport";
const VFS: usize = 2;

/// Who drives the PFs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// `samples/sriov_pf.rs`, and `samples/sriov_vf.rs` the VFs.
    Holdfast,
    /// The kernel's `pci-pf-stub`, PFs and VFs.
    PfStub,
}

impl Driver {
    pub fn find(name: &str) -> Result<Self> {
        match name {
            "holdfast" => Ok(Self::Holdfast),
            "pci-pf-stub" => Ok(Self::PfStub),
            _ => bail!("no driver is called {name}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Holdfast => sample::DRIVER,
            Self::PfStub => "pci-pf-stub",
        }
    }

    fn of_vfs(self) -> &'static str {
        match self {
            Self::Holdfast => vf::VF_DRIVER,
            Self::PfStub => "pci-pf-stub",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Holdfast => sample::MODULE,
            Self::PfStub => "pci_pf_stub",
        }
    }

    fn file(self) -> Result<PathBuf> {
        match self {
            Self::Holdfast => Ok(kernel::module_path(sample::MODULE)),
            Self::PfStub => {
                let release = kernel::read("/proc/sys/kernel/osrelease")?;
                Ok(Path::new("/lib/modules")
                    .join(release)
                    .join("kernel/drivers/pci/pci-pf-stub.ko"))
            }
        }
    }
}

/// What came of one try.
pub enum Attempt {
    /// There was nothing to call, or it was refused before the call.
    Outside(Errno),
    Inside(Interval, Result<(), Errno>),
}

/// What the two sides of a round know of each other.
#[derive(Default)]
pub struct Round {
    /// When the side that begins got inside; 0 before.
    pub begun: AtomicU64,
    /// Which sides are done.
    pub over: [AtomicBool; SIDES],
}

pub struct Place {
    pub watch: Watch,
    driver: Driver,
    file: PathBuf,
    functions: [Device; 2],
    port: Device,
    bus: PathBuf,
    vf: Device,
    monitor: Mutex<Option<Monitor>>,
    /// Whether a request to unplug may still be under way.
    pending: AtomicBool,
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn open(path: &Path) -> Result<File, Errno> {
    let opened = OpenOptions::new().write(true).open(path);
    opened.map_err(|error| errno(&error))
}

fn write(file: &File, text: &str) -> Result<(), Errno> {
    rustix::io::write(file, text.as_bytes()).map(drop)
}

impl Place {
    /// Loads everything, and finds out what is where.
    pub fn set_up(driver: Driver) -> Result<Self> {
        let mut found = pci::all(pci::IGB)?;
        found.sort_by(|a, b| a.address.cmp(&b.address));
        let count = found.len();
        let functions: [Device; 2] = found
            .try_into()
            .map_err(|_| anyhow!("{count} functions of an igb are there, not 2"))?;
        let real = fs::canonicalize(functions[0].path())?;
        let parent = real.parent().and_then(Path::file_name);
        let port = Device {
            address: parent
                .context("a PF is below a port")?
                .to_string_lossy()
                .into_owned(),
        };
        let bus = fs::read_dir(port.path().join("pci_bus"))?
            .next()
            .context("the port has no bus")??
            .path();
        let mut place = Self {
            watch: Watch::new(),
            driver,
            file: driver.file()?,
            vf: functions[0].clone(),
            functions,
            port,
            bus,
            monitor: Mutex::new(None),
            pending: AtomicBool::new(false),
        };
        if driver == Driver::Holdfast {
            kernel::insmod(sample::LIBRARY).context("insmod of the library")?;
            // Here, and not by the races, the symbols for reports of leaks are noted.
            kernel::insmod(sample::MODULE).context("insmod of the PFs' driver")?;
            kernel::insmod(vf::VF_MODULE).context("insmod of the VFs' driver")?;
        }
        place.reach(&Needs::default())?;
        place.set_vfs(0, VFS)?;
        let link = fs::read_link(place.functions[0].path().join("virtfn0"))?;
        let address = link.file_name().context("a link to a VF has no name")?;
        place.vf.address = address.to_string_lossy().into_owned();
        place.set_vfs(0, 0)?;
        Ok(place)
    }

    fn monitor(&self) -> Result<MonitorGuard<'_>> {
        let mut monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        if monitor.is_none() {
            *monitor = Some(Monitor::open()?);
        }
        Ok(MonitorGuard(monitor))
    }
}

struct MonitorGuard<'a>(MutexGuard<'a, Option<Monitor>>);

impl MonitorGuard<'_> {
    fn get(&mut self) -> &mut Monitor {
        self.0.as_mut().expect("opened before it was handed out")
    }
}

/// What a side does.
#[derive(Clone, Copy)]
pub struct Action {
    pub operation: Operation,
    /// Which PF it is about.
    pub function: usize,
    /// Which side does it.
    pub side: usize,
}

impl Place {
    /// The file that is written to for an operation, and what is written; `None` if it is not one
    /// write.
    fn file_of(&self, action: &Action) -> Option<(PathBuf, String)> {
        let pf = &self.functions[action.function];
        let drivers = Path::new("/sys/bus/pci/drivers");
        let of_driver = |driver: &str, file: &str, device: &Device| {
            (drivers.join(driver).join(file), device.address.clone())
        };
        let one = |path: PathBuf| (path, "1".to_owned());
        Some(match action.operation {
            Operation::Bind => of_driver(self.driver.name(), "bind", pf),
            Operation::Unbind => of_driver(self.driver.name(), "unbind", pf),
            Operation::NumvfsUp => (pf.path().join("sriov_numvfs"), VFS.to_string()),
            Operation::NumvfsDown => (pf.path().join("sriov_numvfs"), "0".to_owned()),
            Operation::Remove => one(pf.path().join("remove")),
            Operation::RescanBus => one(PathBuf::from("/sys/bus/pci/rescan")),
            Operation::RescanDevice => one(pf.path().join("rescan")),
            Operation::RescanParent => one(self.port.path().join("rescan")),
            Operation::PortBind => of_driver(PORT_DRIVER, "bind", &self.port),
            Operation::PortUnbind => of_driver(PORT_DRIVER, "unbind", &self.port),
            Operation::PortRemove => one(self.port.path().join("remove")),
            Operation::PortBusRescan => one(self.bus.join("rescan")),
            Operation::VfBind => of_driver(self.driver.of_vfs(), "bind", &self.vf),
            Operation::VfUnbind => of_driver(self.driver.of_vfs(), "unbind", &self.vf),
            Operation::VfMsixCount => one(self.vf.path().join("sriov_vf_msix_count")),
            Operation::Unplug | Operation::Plug | Operation::Rmmod | Operation::Insmod => {
                return None
            }
        })
    }

    /// Opens the file that will be written to, if it is there, so that the write alone is left.
    pub fn open(&self, action: &Action) -> Option<File> {
        self.file_of(action).and_then(|(path, _)| open(&path).ok())
    }

    /// Does it, once.
    pub fn perform(&self, action: &Action, opened: Option<File>, round: &Round) -> Result<Attempt> {
        let name = action.operation.name();
        let tell = || {
            let _ = round.begun.compare_exchange(
                0,
                self.watch.now(),
                Ordering::Release,
                Ordering::Relaxed,
            );
        };
        if let Some((path, text)) = self.file_of(action) {
            let file = match opened.map_or_else(|| open(&path), Ok) {
                Ok(file) => file,
                Err(error) => return Ok(Attempt::Outside(error)),
            };
            let (result, interval) = self.watch.inside(action.side, name, LIMIT, || {
                tell();
                write(&file, &text)
            });
            return Ok(Attempt::Inside(interval, result));
        }
        let limit = match action.operation.is_hotplug() {
            true => 2 * SLOT_LIMIT,
            false => LIMIT,
        };
        let (result, mut interval) = self.watch.inside(action.side, name, limit, || {
            tell();
            match action.operation {
                Operation::Insmod => Ok(self.insmod()),
                Operation::Rmmod => Ok(kernel::rmmod(self.driver.module())),
                Operation::Plug => self.plug(&round.over[1 - action.side]),
                _ => self.unplug(&round.over[1 - action.side]),
            }
        });
        if action.operation == Operation::Unplug {
            // What it does for the first seconds is wait.
            interval.begin += BLINKS.as_nanos() as u64;
        }
        Ok(Attempt::Inside(interval, result?))
    }

    /// What an operation waits for before it does anything.
    pub fn waits(operation: Operation) -> Duration {
        match operation {
            Operation::Unplug => BLINKS,
            _ => Duration::ZERO,
        }
    }

    fn insmod(&self) -> Result<(), Errno> {
        kernel::load_module(&self.file, c"")?;
        if self.driver == Driver::PfStub {
            let new_id = open(Path::new("/sys/bus/pci/drivers/pci-pf-stub/new_id"))?;
            for ids in [pci::IGB, pci::IGB_VF] {
                write(&new_id, &format!("{:04x} {:04x}", ids.0, ids.1))?;
            }
        }
        Ok(())
    }

    /// Plugs the PFs, and waits until the kernel has them. The error is that of the race: that
    /// the other side, which is over, has prevented it.
    fn plug(&self, other_is_over: &AtomicBool) -> Result<Result<(), Errno>> {
        self.monitor()?.get().plug()?;
        let pf = &self.functions[0];
        let is_done = |is_over| {
            // The other side may have taken the driver away as soon as it was there.
            let is_bound = || pf.driver().is_some();
            let is_loaded = || kernel::module_is_loaded(self.driver.module());
            Ok(pf.exists() && (is_over || is_bound() || !is_loaded()))
        };
        // Unless the port has no driver, whose next one does not wait.
        let likely = BLINKS + POWERS_UP - Duration::from_millis(10);
        self.event(other_is_over, likely, is_done)
    }

    /// Asks for the PFs, and waits until QEMU has them back.
    fn unplug(&self, other_is_over: &AtomicBool) -> Result<Result<(), Errno>> {
        wait::until_within("the slot can be unplugged", SLOT_LIMIT, || {
            self.monitor()?.get().unplug()
        })?;
        self.pending.store(true, Ordering::Relaxed);
        // Not to the end, since the kernel's clock for this has a coarse hand.
        thread::sleep(BLINKS - Duration::from_millis(10));
        let is_done = |_| Ok(self.monitor()?.get().plugged()? == 0);
        let result = self.event(other_is_over, Duration::ZERO, is_done)?;
        if result.is_ok() {
            self.pending.store(false, Ordering::Relaxed);
        }
        Ok(result)
    }

    /// Waits for something in the slot, which is not likely to be before `likely`.
    fn event(
        &self,
        other_is_over: &AtomicBool,
        likely: Duration,
        mut is_done: impl FnMut(bool) -> Result<bool>,
    ) -> Result<Result<(), Errno>> {
        let begin = self.watch.now();
        let mut over_since = None;
        loop {
            let is_over = other_is_over.load(Ordering::Acquire);
            if is_done(is_over)? {
                return Ok(Ok(()));
            }
            let now = self.watch.now();
            if is_over {
                let since = *over_since.get_or_insert(now);
                if now - since > PREVENTED.as_nanos() as u64 {
                    return Ok(Err(Errno::CANCELED));
                }
            }
            ensure!(
                now - begin < SLOT_LIMIT.as_nanos() as u64,
                "nothing happens in the slot for {} s",
                SLOT_LIMIT.as_secs()
            );
            thread::sleep(match now - begin < likely.as_nanos() as u64 {
                true => Duration::from_millis(50),
                false => Duration::from_millis(2),
            });
        }
    }
}

impl Place {
    fn step<T>(&self, what: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
        let what = format!("between the rounds: {what}");
        let (result, _) = self.watch.inside(0, &what, LIMIT, call);
        result.with_context(|| what)
    }

    fn write(&self, path: PathBuf, text: &str) -> Result<()> {
        let what = format!("{text} to {}", path.display());
        self.step(&what, || kernel::write(&path, text))
    }

    fn rescan(&self) -> Result<()> {
        self.write(PathBuf::from("/sys/bus/pci/rescan"), "1")
    }

    fn set_vfs(&self, function: usize, count: usize) -> Result<()> {
        let pf = &self.functions[function];
        self.write(pf.path().join("sriov_numvfs"), &count.to_string())?;
        ensure!(
            pf.vf_links()? == count,
            "{} of {count} VFs are there after sriov_numvfs",
            pf.vf_links()?
        );
        Ok(())
    }

    fn set_bound(&self, device: &Device, driver: &str, bound: bool) -> Result<()> {
        if device.driver().is_some() == bound {
            return Ok(());
        }
        let file = if bound { "bind" } else { "unbind" };
        let drivers = Path::new("/sys/bus/pci/drivers");
        let written = self.write(drivers.join(driver).join(file), &device.address);
        if device.driver().is_some() == bound {
            // Also if it was refused: what the last round has begun may have been done with it.
            return Ok(());
        }
        written?;
        bail!("{} is not what {file} makes it", device.address)
    }

    fn set_loaded(&self, loaded: bool) -> Result<()> {
        let module = self.driver.module();
        if kernel::module_is_loaded(module) == loaded {
            return Ok(());
        }
        if loaded {
            return self.step("insmod", || Ok(self.insmod()?));
        }
        kernel::wait_until_unused(module)?;
        self.step("rmmod", || Ok(kernel::rmmod(module)?))
    }

    /// Plugs and unplugs until the slot is what it is to be.
    fn set_plugged(&self, plugged: bool) -> Result<()> {
        if self.pending.swap(false, Ordering::Relaxed) {
            // A request that was heard is acted upon by then, and one that was not never is.
            let gone = || Ok(self.monitor()?.get().plugged()? == 0);
            let _ = wait::until_within("", BLINKS + PREVENTED, gone);
        }
        let is_plugged = self.monitor()?.get().plugged()? > 0;
        if is_plugged == plugged {
            return Ok(());
        }
        let never = AtomicBool::new(false);
        let what = if plugged { "hot-plug" } else { "hot-unplug" };
        let limit = 2 * SLOT_LIMIT;
        let (result, _) = self.watch.inside(0, what, limit, || match plugged {
            true => self.plug(&never),
            false => self.unplug(&never),
        });
        result?.with_context(|| format!("between the rounds: {what}"))?;
        wait::until_within("the kernel knows of all in the slot", SETTLES, || {
            let all = |is: &dyn Fn(&Device) -> bool| self.functions.iter().all(is);
            let loaded = kernel::module_is_loaded(self.driver.module());
            Ok(match plugged {
                true => all(&|pf| pf.exists() && (pf.driver().is_some() || !loaded)),
                false => all(&|pf| !pf.exists()),
            })
        })
    }

    /// Fails if there is a VF whose PF is gone.
    fn expect_no_orphan(&self) -> Result<()> {
        wait::until_within("no VF is left without its PF", PREVENTED, || {
            let vfs = pci::all(pci::IGB_VF)?;
            Ok(vfs
                .iter()
                .all(|vf| vf.path().join("physfn").exists() || !vf.exists()))
        })
    }

    /// Makes everything as it is to be before a round, whatever the last one has left.
    pub fn reach(&self, needs: &Needs) -> Result<()> {
        self.expect_no_orphan()?;
        if !self.port.exists() {
            self.rescan()?;
            ensure!(self.port.exists(), "the port does not come back");
        }
        self.set_bound(&self.port, PORT_DRIVER, true)?;
        let plugged = needs.plugged.unwrap_or(true);
        if !plugged || self.has_used_hotplug() {
            self.set_plugged(plugged)?;
        }
        if plugged {
            self.reach_functions(needs)?;
        }
        self.set_loaded(needs.loaded.unwrap_or(true))?;
        if needs.port_bound == Some(false) {
            self.set_bound(&self.port, PORT_DRIVER, false)?;
        }
        Ok(())
    }

    fn has_used_hotplug(&self) -> bool {
        let monitor = self.monitor.lock().unwrap_or_else(PoisonError::into_inner);
        monitor.is_some()
    }

    fn reach_functions(&self, needs: &Needs) -> Result<()> {
        let is_wanted = |function: usize| needs.functions[function].present != Some(false);
        let is_missing =
            |function: usize| is_wanted(function) && !self.functions[function].exists();
        if (0..2).any(is_missing) {
            self.rescan()?;
            wait::until_within("the PFs come back", SETTLES, || Ok(!(0..2).any(is_missing)))?;
        }
        if needs.loaded != Some(false) {
            self.set_loaded(true)?;
        }
        for (function, pf) in self.functions.iter().enumerate() {
            if !pf.exists() {
                continue;
            }
            let of = &needs.functions[function];
            let wanted = if of.vfs == Some(true) { VFS } else { 0 };
            let mut count = pf.vf_count()?;
            let is_damaged = pf.vf_links()? != count || (function == 0 && !self.vf.exists());
            if count != 0 && (count != wanted || is_damaged) {
                self.set_loaded(true)?;
                self.set_bound(pf, self.driver.name(), true)?;
                self.set_vfs(function, 0)?;
                count = 0;
            }
            if count != wanted {
                self.set_bound(pf, self.driver.name(), true)?;
                self.set_vfs(function, wanted)?;
            }
            if kernel::module_is_loaded(self.driver.module()) {
                self.set_bound(pf, self.driver.name(), of.bound.unwrap_or(true))?;
            }
        }
        if let Some(bound) = needs.vf_bound {
            if self.vf.exists() {
                self.set_bound(&self.vf, self.driver.of_vfs(), bound)?;
            }
        }
        for (function, pf) in self.functions.iter().enumerate() {
            if !is_wanted(function) && pf.exists() {
                self.write(pf.path().join("remove"), "1")?;
            }
        }
        Ok(())
    }

    /// Fails unless the PFs and their VFs do what they always do.
    pub fn expect_works(&self) -> Result<()> {
        self.reach(&Needs::default())?;
        ensure!(pci::all(pci::IGB_VF)?.is_empty(), "VFs are left");
        for (function, pf) in self.functions.iter().enumerate() {
            match self.driver {
                Driver::Holdfast => {
                    OpenFile::open(sample::node_of(sample::CLASS, pf)?)?.status()?;
                }
                Driver::PfStub => {
                    let config = fs::read(pf.path().join("config"))?;
                    let vendor = config
                        .get(..2)
                        .map(|id| u16::from(id[0]) | u16::from(id[1]) << 8);
                    ensure!(vendor == Some(pci::IGB.0), "the device does not answer");
                }
            }
            self.set_vfs(function, VFS)?;
            let vfs = pci::all(pci::IGB_VF)?;
            ensure!(vfs.len() == VFS, "{} VFs are there, not {VFS}", vfs.len());
            for vf in &vfs {
                let driver = vf.driver();
                ensure!(
                    driver.as_deref() == Some(self.driver.of_vfs()),
                    "a VF is bound to {driver:?}"
                );
                if self.driver == Driver::Holdfast {
                    OpenFile::open(sample::node_of(vf::CLASS, vf)?)?.vf_status()?;
                }
            }
            self.set_vfs(function, 0)?;
            ensure!(pci::all(pci::IGB_VF)?.is_empty(), "VFs are left");
        }
        Ok(())
    }
}
