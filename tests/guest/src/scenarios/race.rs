// SPDX-License-Identifier: GPL-2.0

//! System calls in flight against the unbind.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{bail, ensure, Result};
use rustix::io::Errno;

use crate::kernel;
use crate::sample::{OpenFile, Sample};
use crate::scenario::Scenario;
use crate::wait;

/// Unless the host asks for more.
const ROUNDS: u32 = 30;
const READERS: usize = 2;

pub const READERS_AGAINST_UNBIND: Scenario = Scenario::new(
    "readers-race-unbind",
    "two threads read without a pause while the driver is unbound and bound",
    readers_against_unbind,
);

pub const ATTRIBUTE_READERS_AGAINST_UNBIND: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "attribute-readers-race-unbind",
        "two threads read an attribute without a pause while the driver is unbound and bound",
        attribute_readers_against_unbind,
    )
};

#[derive(Default)]
struct Counts {
    succeeded: AtomicU64,
    ended: AtomicU64,
}

fn readers_against_unbind() -> Result<()> {
    race(Sample::open, |text| text.starts_with("status 0x"))
}

fn attribute_readers_against_unbind() -> Result<()> {
    race(Sample::open_attribute, |text| text == "0\n")
}

/// Readers of what `open` opens, which must read as something `valid`.
fn race(open: fn(&Sample) -> Result<OpenFile>, valid: fn(&str) -> bool) -> Result<()> {
    let rounds = kernel::race_rounds()?.unwrap_or(ROUNDS);
    let sample = Sample::load()?;
    let mut reads = 0;
    for round in 0..rounds {
        let file = open(&sample)?;
        reads += one_round(&sample, &file, valid)
            .map_err(|error| error.context(format!("round {round}")))?;
        drop(file);
        sample.bind()?;
    }
    println!(
        "{rounds} rounds, {reads} reads before the unbinds, every reader saw ENODEV each time"
    );
    sample.unload()
}

/// Unbinds once all readers are at it, and returns how often they succeeded. That
/// they overlap is shown, not hoped for: each has read before, and is told ENODEV after.
fn one_round(sample: &Sample, file: &OpenFile, valid: fn(&str) -> bool) -> Result<u64> {
    let counts: [Counts; READERS] = Default::default();
    let unbound = thread::scope(|scope| {
        let readers: Vec<_> = counts
            .iter()
            .map(|counts| scope.spawn(move || read_until_gone(file, valid, counts)))
            .collect();
        let all_read = || {
            let busy = |counts: &Counts| counts.succeeded.load(Ordering::Relaxed) > 0;
            // One that has ended has failed, and is asked below.
            Ok(counts.iter().all(busy) || readers.iter().any(|reader| reader.is_finished()))
        };
        // Unbinds in any case, since it is what ends the readers.
        let started = wait::until("all readers have read", all_read);
        let unbound = sample.unbind().and(started);
        for reader in readers {
            match reader.join() {
                Ok(result) => result?,
                Err(_) => bail!("a reader panicked"),
            }
        }
        unbound
    });
    unbound?;
    for counts in &counts {
        ensure!(
            counts.succeeded.load(Ordering::Relaxed) > 0,
            "a reader never succeeded"
        );
        ensure!(
            counts.ended.load(Ordering::Relaxed) == 1,
            "a reader never saw ENODEV"
        );
    }
    Ok(counts
        .iter()
        .map(|counts| counts.succeeded.load(Ordering::Relaxed))
        .sum())
}

fn read_until_gone(file: &OpenFile, valid: fn(&str) -> bool, counts: &Counts) -> Result<()> {
    loop {
        match file.read() {
            Ok(text) => {
                ensure!(valid(&text), "a read gave {text:?}");
                counts.succeeded.fetch_add(1, Ordering::Relaxed);
            }
            Err(Errno::NODEV) => {
                counts.ended.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(error) => bail!("a read failed: {error}"),
        }
    }
}
