// SPDX-License-Identifier: GPL-2.0

//! The kernel as seen from user space: modules, taint, its log, its leak checker.

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{bail, Context, Result};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::wait;

/// Where the guest image has the modules of this project.
const MODULES: &str = "/lib/modules/holdfast";

/// Reads a file of sysfs or procfs, without the newline at its end.
pub fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Writes to a file of sysfs or procfs, which is not created if it is missing.
pub fn write(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {text} to {}", path.display()))
}

/// Puts a line into the kernel's log, and so on its console.
pub fn log(text: &str) -> Result<()> {
    write("/dev/kmsg", &format!("<5>{text}\n"))
}

/// The kernel's log, from now on.
pub struct Log {
    records: fs::File,
}

impl Log {
    pub fn from_now() -> Result<Self> {
        let mut records = fs::OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open("/dev/kmsg")
            .context("opening /dev/kmsg")?;
        records.seek(SeekFrom::End(0))?;
        Ok(Self { records })
    }

    /// Waits for a line that has `words` in it, after those that were waited for before.
    pub fn wait_for(&mut self, words: &str) -> Result<()> {
        wait::until(&format!("the kernel says \"{words}\""), || {
            while let Some(line) = self.next()? {
                if line.contains(words) {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    /// The lines there are now, after those that were returned or waited for before.
    pub fn lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        while let Some(line) = self.next()? {
            lines.push(line);
        }
        Ok(lines)
    }

    fn next(&mut self) -> Result<Option<String>> {
        // A read gives one record.
        let mut record = [0; 8192];
        match self.records.read(&mut record) {
            Ok(count) => Ok(Some(String::from_utf8_lossy(&record[..count]).into_owned())),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("reading /dev/kmsg"),
        }
    }
}

/// A setting in /proc/sys that is put back when this is dropped.
pub struct Setting {
    path: &'static str,
    before: String,
}

impl Setting {
    pub fn change(path: &'static str, value: &str) -> Result<Self> {
        let before = read(path)?;
        write(path, value)?;
        Ok(Self { path, before })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        if let Err(error) = write(self.path, &self.before) {
            println!("{error:#}");
        }
    }
}

/// The kernel's taint flags.
pub fn taint() -> Result<u64> {
    Ok(read("/proc/sys/kernel/tainted")?.parse()?)
}

/// Names of the taint flags that this project has to do with.
pub fn taint_names(flags: u64) -> String {
    const NAMES: &[(u32, &str)] = &[
        (1, "forced module load"),
        (5, "bad page or KASAN report"),
        (7, "oops"),
        (9, "warning"),
        (12, "out-of-tree module"),
        (13, "unsigned module"),
        (14, "soft lockup"),
        (18, "in-kernel test"),
    ];
    let mut left = flags;
    let mut names = Vec::new();
    for &(bit, name) in NAMES {
        if left & (1 << bit) != 0 {
            left &= !(1 << bit);
            names.push(name.to_owned());
        }
    }
    if left != 0 {
        names.push(format!("flags {left:#x}"));
    }
    names.join(", ")
}

pub const TAINT_BAD_PAGE: u64 = 1 << 5;
pub const TAINT_WARN: u64 = 1 << 9;
pub const TAINT_OOT_MODULE: u64 = 1 << 12;
pub const TAINT_UNSIGNED_MODULE: u64 = 1 << 13;
pub const TAINT_TEST: u64 = 1 << 18;

/// Whether lockdep still watches: it stops for good at its first report, and at
/// some kinds of taint. `None` if this kernel has none.
pub fn lockdep_is_on() -> Option<bool> {
    let stats = fs::read_to_string("/proc/lockdep_stats").ok()?;
    let line = stats.lines().find(|line| line.contains("debug_locks:"))?;
    Some(line.trim_end().ends_with('1'))
}

/// Loads a module of this project, as insmod does.
pub fn insmod(name: &str) -> Result<(), Errno> {
    insmod_with(name, c"")
}

/// The same, with parameters.
pub fn insmod_with(name: &str, parameters: &CStr) -> Result<(), Errno> {
    wait_for_place(name)?;
    load_module(&module_path(name), parameters)?;
    if LeakCheck::is_asked_for() {
        // Only for the names in a leak's report: without it the report has bare addresses.
        let _ = keep_symbols(name);
    }
    Ok(())
}

/// Waits until the driver of a module that was unloaded has left its place in sysfs.
///
/// With DEBUG_KOBJECT_RELEASE it does so up to 4 s after the driver is gone, and nobody
/// waits for it: `bus_remove_driver()` drops a reference. A new driver of its name is
/// refused as long.
fn wait_for_place(name: &str) -> Result<(), Errno> {
    let place = PathBuf::from(format!("/sys/bus/pci/drivers/{name}"));
    if module_is_loaded(name) || !has_option("CONFIG_DEBUG_KOBJECT_RELEASE") {
        return Ok(());
    }
    let what = format!("{} is gone", place.display());
    wait::until(&what, || Ok(!place.exists())).map_err(|_| Errno::TIMEDOUT)
}

/// Loads a module from a file, and takes no time for anything else.
pub fn load_module(path: &Path, parameters: &CStr) -> Result<(), Errno> {
    let file = fs::File::open(path)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
    rustix::system::finit_module(&file, parameters, 0)
}

/// Where a module of this project is.
pub fn module_path(name: &str) -> PathBuf {
    Path::new(MODULES).join(format!("{name}.ko"))
}

/// Where the symbols of modules are kept, one file for each time that one was loaded.
const SYMBOLS: &str = "/tmp/symbols";

/// Notes the symbols of a module, which is long gone when its leaks are found.
fn keep_symbols(module: &str) -> Result<()> {
    fs::create_dir_all(SYMBOLS)?;
    let suffix = format!("[{module}]");
    let all = fs::read_to_string("/proc/kallsyms")?;
    let ours: Vec<_> = all.lines().filter(|line| line.ends_with(&suffix)).collect();
    fs::write(
        format!("{SYMBOLS}/{}-{module}", jiffies()?),
        ours.join("\n"),
    )?;
    Ok(())
}

/// Names an address in a module that was loaded when an object was allocated.
///
/// Symbols are noted when a module has been loaded, which is after its driver has
/// probed; so those of the loading nearest to the allocation count.
fn symbol(address: u64, born: u64) -> Option<String> {
    let mut best: Option<(u64, String)> = None;
    for entry in fs::read_dir(SYMBOLS).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let loaded: u64 = name.split_once('-')?.0.parse().ok()?;
        let text = fs::read_to_string(entry.path()).ok()?;
        let below = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let start = u64::from_str_radix(words.next()?, 16).ok()?;
            (start <= address && address - start < 0x4000).then_some((start, words.nth(1)?))
        });
        if let Some((start, function)) = below.max() {
            let distance = loaded.abs_diff(born);
            if best.as_ref().is_none_or(|(nearest, _)| distance < *nearest) {
                best = Some((distance, format!("{function}+{:#x}", address - start)));
            }
        }
    }
    best.map(|(_, text)| text)
}

/// Unloads a module, as rmmod does: never waits for its users, never forces.
pub fn rmmod(name: &str) -> Result<(), Errno> {
    let name = CString::new(name).map_err(|_| Errno::INVAL)?;
    const O_NONBLOCK: i32 = 0o4000;
    rustix::system::delete_module(&name, O_NONBLOCK)
}

/// Whether the running kernel was built with an option (`=y`).
pub fn has_option(name: &str) -> bool {
    static CONFIGURATION: LazyLock<String> = LazyLock::new(|| {
        let printed = Command::new("zcat").arg("/proc/config.gz").output();
        let printed = printed.expect("busybox has zcat, and base.config CONFIG_IKCONFIG_PROC");
        String::from_utf8_lossy(&printed.stdout).into_owned()
    });
    assert!(!CONFIGURATION.is_empty(), "/proc/config.gz is empty");
    let wanted = format!("{name}=y");
    CONFIGURATION.lines().any(|line| line == wanted)
}

/// How many rounds the races are to have, if the host says so on the kernel's command line.
pub fn race_rounds() -> Result<Option<u32>> {
    read("/proc/cmdline")?
        .split_whitespace()
        .find_map(|word| word.strip_prefix("holdfast.race_rounds="))
        .map(|rounds| {
            rounds
                .parse()
                .context("holdfast.race_rounds is not a number")
        })
        .transpose()
}

pub fn module_is_available(name: &str) -> bool {
    Path::new(&format!("{MODULES}/{name}.ko")).exists()
}

pub fn module_is_loaded(name: &str) -> bool {
    Path::new(&format!("/sys/module/{name}/refcnt")).exists()
}

pub fn module_users(name: &str) -> Result<u32> {
    Ok(read(format!("/sys/module/{name}/refcnt"))?.parse()?)
}

/// Waits until nothing uses a module any more. The kernel frees some objects later
/// than it drops their last reference; DEBUG_KOBJECT_RELEASE adds up to 4 s to that.
pub fn wait_until_unused(name: &str) -> Result<()> {
    wait::until(&format!("module {name} has no users"), || {
        Ok(module_users(name)? == 0)
    })
}

/// Has the console print what is of this level or more urgent; 8 is all.
pub fn set_console_level(level: u32) -> Result<()> {
    write("/proc/sys/kernel/printk", &level.to_string())
}

/// Tells the kernel to print all tasks that are blocked, and all locks that are held.
pub fn show_blocked_tasks() {
    for key in ["w", "d"] {
        let _ = write("/proc/sysrq-trigger", key);
    }
}

const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// The time in the kernel's jiffies, which is how kmemleak dates its objects.
pub fn jiffies() -> Result<u64> {
    // CONFIG_HZ is 1000, and jiffies start 5 minutes before they overflow 32 bits.
    const INITIAL: u64 = (1 << 32) - 300_000;
    let uptime: f64 = read("/proc/uptime")?
        .split_whitespace()
        .next()
        .context("/proc/uptime is empty")?
        .parse()?;
    Ok(INITIAL + (uptime * 1000.0) as u64)
}

/// Finds what was allocated and lost since it was made.
pub struct LeakCheck {
    since: u64,
}

impl LeakCheck {
    /// Whether the host asked for the leak checker: it more than doubles the time to boot.
    fn is_asked_for() -> bool {
        let words = read("/proc/cmdline").unwrap_or_default();
        words.split_whitespace().any(|word| word == "kmemleak=on")
    }

    /// `None` if the host did not ask for the leak checker.
    pub fn begin() -> Result<Option<Self>> {
        if !Self::is_asked_for() {
            return Ok(None);
        }
        Ok(Some(Self { since: jiffies()? }))
    }

    /// Scans, and returns a report for each object lost.
    ///
    /// The checker ignores objects younger than 5 s, and in its first scan those
    /// that have changed since it last saw them; hence the age, and two scans.
    pub fn end(self) -> Result<Vec<String>> {
        let ripe = jiffies()? + 5_500;
        wait::until("all objects are 5 s old", || Ok(jiffies()? >= ripe))?;
        for _ in 0..2 {
            write(KMEMLEAK, "scan")?;
        }
        let text = read(KMEMLEAK)?;
        let mut lost: Vec<String> = Vec::new();
        for line in text.lines() {
            if line.starts_with("unreferenced object") {
                lost.push(String::new());
            }
            let Some(report) = lost.last_mut() else {
                bail!("kmemleak said: {line}");
            };
            report.push_str(line);
            report.push('\n');
        }
        for report in &mut lost {
            *report = Self::with_names(report);
        }
        lost.retain(|report| Self::born(report).is_none_or(|born| born >= self.since));
        Ok(lost)
    }

    /// Puts names to the addresses of modules that are not loaded any more.
    fn with_names(report: &str) -> String {
        let born = Self::born(report).unwrap_or(0);
        let named = |line: &str| {
            let address = line.trim_start().strip_prefix("0x")?;
            let address = u64::from_str_radix(address, 16).ok()?;
            Some(format!("{line} {}", symbol(address, born)?))
        };
        let lines = report.lines();
        lines
            .map(|line| named(line).unwrap_or_else(|| line.to_owned()) + "\n")
            .collect()
    }

    /// When what a report is about was allocated, in jiffies.
    pub fn born(report: &str) -> Option<u64> {
        let rest = report.split_once("jiffies ")?.1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}

/// What an unexpected taint would be: the bits in `now` that are neither in `before` nor allowed.
pub fn new_taint(before: u64, now: u64, allowed: u64) -> u64 {
    now & !before & !allowed
}
