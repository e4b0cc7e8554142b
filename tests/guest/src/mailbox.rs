// SPDX-License-Identifier: GPL-2.0

//! The sample driver `chardev`, a mailbox that needs no hardware.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;

use crate::cxl;
use crate::kernel;
use crate::sample::LIBRARY;
use crate::scenario::Skip;
use crate::sys::{self, Access, Mapping};
use crate::wait;

pub const MODULE: &str = "holdfast_chardev";
pub const NODE: &str = "/dev/holdfast-chardev0";

const O_NONBLOCK: i32 = 0o4000;

pub struct Mailbox(());

impl Mailbox {
    /// Loads the library and the sample.
    pub fn load() -> Result<Self> {
        for module in [LIBRARY, MODULE] {
            if !kernel::module_is_available(module) {
                return Err(Skip(format!("{module}.ko is not in this guest")).into());
            }
        }
        kernel::insmod(LIBRARY).with_context(|| format!("insmod {LIBRARY}"))?;
        Self::load_again()
    }

    /// Loads the sample alone.
    pub fn load_again() -> Result<Self> {
        kernel::insmod(MODULE).with_context(|| format!("insmod {MODULE}"))?;
        ensure!(Path::new(NODE).exists(), "{NODE} does not exist");
        Ok(Self(()))
    }

    /// Unloads the sample, which ends its device; fails if that hangs.
    pub fn end(self) -> Result<Duration> {
        let elapsed = self.end_quietly()?;
        println!("rmmod of the sample: {} ms", elapsed.as_millis());
        Ok(elapsed)
    }

    /// The same, without a line about it.
    pub fn end_quietly(self) -> Result<Duration> {
        let ((), elapsed) = wait::quietly_within("rmmod of the sample", || {
            kernel::rmmod(MODULE).with_context(|| format!("rmmod {MODULE}"))
        })?;
        ensure!(!Path::new(NODE).exists(), "{NODE} still exists");
        Ok(elapsed)
    }
}

pub fn open() -> Result<File> {
    open_with(0)
}

pub fn open_nonblocking() -> Result<File> {
    open_with(O_NONBLOCK)
}

fn open_with(flags: i32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(flags)
        .open(NODE)
        .with_context(|| format!("opening {NODE}"))
}

/// The error of a system call.
pub fn errno<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

pub fn read(file: &File) -> Result<Vec<u8>, Errno> {
    let mut buffer = [0; 64];
    let mut file = file;
    errno(file.read(&mut buffer)).map(|count| buffer[..count].to_vec())
}

pub fn write(file: &File, data: &[u8]) -> Result<usize, Errno> {
    let mut file = file;
    errno(file.write(data))
}

/// Fails unless every operation on the file says that the device is gone.
pub fn expect_dead(file: &File) -> Result<()> {
    let mapped = Mapping::new(file, 1, Access::Read).map(drop);
    let answers = [
        ("read", read(file).map(drop)),
        ("write", write(file, b"x").map(drop)),
        ("ioctl", sys::figures(file).map(drop)),
        ("mmap", mapped),
        ("fasync", sys::want_signals(file)),
    ];
    for (operation, answer) in answers {
        ensure!(
            answer == Err(Errno::NODEV),
            "{operation} on a file of a device that is gone gives {answer:?}, not ENODEV"
        );
    }
    Ok(())
}

/// Another process, which does its part of a scenario and may die of it.
pub struct Part {
    child: Child,
    go: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Part {
    /// Starts one, and waits until it has done the first half of its part.
    pub fn start(name: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["part", name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().context("the part has no output")?;
        let go = child.stdin.take();
        let mut this = Self {
            child,
            go,
            lines: BufReader::new(output).lines(),
        };
        match this.lines.next() {
            Some(Ok(line)) if line == READY => Ok(this),
            other => bail!("{name} is not ready: {other:?}"),
        }
    }

    /// Lets it do the second half.
    pub fn go(&mut self) {
        self.go.take();
    }

    /// The signal that it dies of.
    pub fn signal(mut self) -> Result<i32> {
        wait::until("the other process has ended", || {
            Ok(self.child.try_wait()?.is_some())
        })?;
        let status = self.child.wait()?;
        match status.signal() {
            Some(signal) => Ok(signal),
            None => bail!("the other process was not killed by a signal: {status}"),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const READY: &str = "ready";

/// The part of the other process.
pub fn part(name: &str) -> Result<ExitCode> {
    let file = match name {
        "region-touch" => cxl::open()?,
        _ => open()?,
    };
    match name {
        "touch-again" | "touch-first" => {
            let mapping = Mapping::new(&file, 1, Access::Read)?;
            if name == "touch-again" {
                mapping.figures();
            }
            // The mapping keeps the file open by itself.
            drop(file);
            pause()?;
            println!("touched: {:?}", mapping.figures());
        }
        "region-touch" => {
            let mapping = Mapping::new(&file, 16, Access::Write)?;
            drop(file);
            mapping.store(0, 1);
            pause()?;
            mapping.store(0, 2);
        }
        "signal" => {
            sys::want_signals(&file)?;
            pause()?;
        }
        _ => bail!("no part is called {name}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says that the first half is done, and waits until the second is wanted.
fn pause() -> Result<()> {
    println!("{READY}");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
