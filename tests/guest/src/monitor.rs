// SPDX-License-Identifier: GPL-2.0

//! QEMU's monitor, through which devices are plugged and unplugged.
//!
//! The host connects it to the third serial port, so a request takes no way around the host, and
//! its time can be compared with that of a system call.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::fs::OFlags;
use rustix::termios::{self, OptionalActions, QueueSelector};
use serde_json::{json, Value};

const PORT: &str = "/dev/ttyS2";

/// For one answer. The guest's time may run faster than the host's while nothing happens, but not
/// while somebody waits here.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Monitor {
    port: File,
    received: Vec<u8>,
    number: u64,
    /// Those of [`FUNCTIONS`] that QEMU has.
    plugged: [bool; FUNCTIONS.len()],
}

impl Monitor {
    pub fn open() -> Result<Self> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        let port = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(PORT)
            .with_context(|| format!("opening {PORT}, which is to be QEMU's monitor"))?;
        let mut settings = termios::tcgetattr(&port)?;
        settings.make_raw();
        settings.set_speed(115_200)?;
        termios::tcsetattr(&port, OptionalActions::Now, &settings)?;
        termios::tcflush(&port, QueueSelector::IFlush)?;
        let mut monitor = Self {
            port,
            received: Vec::new(),
            number: 0,
            plugged: [false; FUNCTIONS.len()],
        };
        // The monitor's greeting may have been sent back to it before the port was raw. This byte
        // makes it forget what it has received so far.
        monitor.send(b"\xff\n")?;
        monitor.ask("qmp_capabilities", json!({}))?;
        let listed = monitor.ask("qom-list", json!({"path": "/machine/peripheral"}))?;
        let entries = listed.as_array().context("QEMU lists no devices")?;
        for (index, (id, _)) in FUNCTIONS.iter().enumerate() {
            monitor.plugged[index] = entries.iter().any(|entry| entry["name"] == *id);
        }
        Ok(monitor)
    }

    /// Makes a request, and waits for the answer.
    pub fn ask(&mut self, command: &str, arguments: Value) -> Result<Value> {
        self.number += 1;
        let request = json!({"execute": command, "arguments": arguments, "id": self.number});
        self.send(format!("{request}\n").as_bytes())?;
        let deadline = Instant::now() + LIMIT;
        loop {
            let Some(line) = self.line()? else {
                pause(deadline)?;
                continue;
            };
            // Half of a line from before the port was opened.
            let Ok(mut answer) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            self.note(&answer);
            if answer["id"] != self.number {
                continue;
            }
            if let Some(why) = answer["error"]["desc"].as_str() {
                bail!("QEMU refuses {command}: {why}");
            }
            return Ok(answer["return"].take());
        }
    }

    fn send(&mut self, mut text: &[u8]) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !text.is_empty() {
            match self.port.write(text) {
                Ok(count) => text = &text[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => pause(deadline)?,
                Err(error) => return Err(error).context("writing to QEMU's monitor"),
            }
        }
        Ok(())
    }

    /// A line, if there is one.
    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Ok(Some(std::mem::replace(&mut self.received, rest)));
            }
            let mut buffer = [0; 512];
            match self.port.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error).context("reading from QEMU's monitor"),
            }
        }
    }

    /// Takes note of what QEMU says by itself.
    fn note(&mut self, said: &Value) {
        if said["event"] == "DEVICE_DELETED" {
            for (index, (id, _)) in FUNCTIONS.iter().enumerate() {
                self.plugged[index] &= said["data"]["device"] != *id;
            }
        }
    }
}

/// Never sleeps: the time of an idle guest may jump, and the monitor answers in the host's time.
fn pause(deadline: Instant) -> Result<()> {
    ensure!(
        Instant::now() < deadline,
        "QEMU's monitor did not answer within {} s",
        LIMIT.as_secs()
    );
    rustix::thread::sched_yield();
    Ok(())
}

/// The functions of the slot, in the order in which they are plugged.
const FUNCTIONS: [(&str, &str); 2] = [("pf1", "0.1"), ("pf0", "0.0")];

impl Monitor {
    /// Plugs both functions; the guest is told when function 0 comes.
    pub fn plug(&mut self) -> Result<()> {
        for (id, address) in FUNCTIONS {
            let device = json!({
                "driver": "igb",
                "id": id,
                "bus": "rp1",
                "addr": address,
                "multifunction": true,
                // With ARI the kernel asks function 0 which one is next.
                "x-pcie-ari-nextfn-1": address == "0.0",
                "romfile": "",
            });
            self.ask("device_add", device)?;
        }
        self.plugged = [true; FUNCTIONS.len()];
        Ok(())
    }

    /// Asks the guest to let the slot go. False if that cannot be asked now, because the guest is
    /// about to do something in the slot.
    pub fn unplug(&mut self) -> Result<bool> {
        match self.ask("device_del", json!({"id": "pf0"})) {
            Ok(_) => Ok(true),
            Err(error) if error.to_string().contains("power indicator blinking") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How many of the functions QEMU has, which says by itself when it is rid of one.
    pub fn plugged(&mut self) -> Result<usize> {
        while let Some(line) = self.line()? {
            if let Ok(said) = serde_json::from_slice(&line) {
                self.note(&said);
            }
        }
        Ok(self.plugged.iter().filter(|is_there| **is_there).count())
    }
}
