// SPDX-License-Identifier: GPL-2.0

//! The memory of a CXL region as a file, and everything that can take the region away.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::event::{poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::cxl::{self, Region, GRANULARITY};
use crate::kernel;
use crate::mailbox::{errno, Part};
use crate::rounds::{self, Race};
use crate::scenario::{Scenario, Skip};
use crate::sys::{self, Access, Mapping};
use crate::wait;

const SIGBUS: i32 = 7;
const PAGE: usize = 4096;

pub const FILE: Scenario = Scenario::new(
    "region-file",
    "what is written to a region through a file is seen in a mapping, and the other way",
    file,
);

/// A pattern that says where it is.
fn pattern(offset: usize, seed: u8) -> u8 {
    let mixed = offset.wrapping_mul(0x9e37_79b1) >> 8;
    mixed as u8 ^ seed
}

/// So many bytes of a pattern.
pub fn patterns(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|offset| pattern(offset, seed)).collect()
}

/// A checksum, FNV-1a.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The start of a file, as a mapping has it.
pub fn mapped(file: &File, length: usize) -> Result<Vec<u8>> {
    let mapping = Mapping::new(file, length / PAGE, Access::Read)?;
    Ok((0..length / 4)
        .flat_map(|index| mapping.load(index).to_ne_bytes())
        .collect())
}

pub fn read_at(file: &File, length: usize, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

fn file() -> Result<()> {
    cxl::load()?;
    let region = Region::create(1)?;
    region.bind()?;
    let size = region.size();
    let file = cxl::open()?;

    let [start, length, ways, granularity, targets, persistent] = sys::facts(&file)?;
    ensure!(
        (length, ways, granularity, targets, persistent) == (size, 1, u64::from(GRANULARITY), 1, 0),
        "facts: {length} {ways} {granularity} {targets} {persistent}"
    );
    ensure!(
        region.get("resource")? == format!("{start:#x}"),
        "it begins at {start:#x}"
    );
    for (name, expected) in [
        ("size", format!("{size:#x}")),
        ("mode", "ram".to_owned()),
        ("interleave_ways", "1".to_owned()),
        ("interleave_granularity", GRANULARITY.to_string()),
        ("targets", region.get("target0")?),
    ] {
        let found = kernel::read(cxl::attribute(name)?)?;
        ensure!(found == expected, "{name} is {found}, not {expected}");
    }

    // Through the file, seen in the mapping: at the start, and across the end of a page.
    const LENGTH: usize = 5 * PAGE + 123;
    let written = patterns(LENGTH, 0x5a);
    file.write_all_at(&written, 0)?;
    let mapping = Mapping::new(&file, 8, Access::Write)?;
    for index in 0..LENGTH / 4 {
        let expected = &written[index * 4..index * 4 + 4];
        let found = mapping.load(index).to_ne_bytes();
        ensure!(found == expected, "mapped word {index} is {found:?}");
    }
    // The other way.
    for index in 0..2 * PAGE / 4 {
        mapping.store(index, index as u32 ^ 0xdead_beef);
    }
    for (index, word) in read_at(&file, 2 * PAGE, 0)?.chunks(4).enumerate() {
        let expected = (index as u32 ^ 0xdead_beef).to_ne_bytes();
        ensure!(word == expected, "word {index} of the file is {word:?}");
    }
    let sum = checksum(&read_at(&file, 8 * PAGE, 0)?);

    // The end of it.
    let last = patterns(PAGE, 0xc3);
    file.write_all_at(&last, size - PAGE as u64)?;
    ensure!((&file).seek(SeekFrom::End(-8))? == size - 8, "seek");
    let mut rest = Vec::new();
    (&file).read_to_end(&mut rest)?;
    ensure!(rest == last[PAGE - 8..], "the last bytes are {rest:?}");
    let behind = errno(file.write_at(b"x", size));
    ensure!(
        behind == Err(Errno::NOSPC),
        "write behind the end: {behind:?}"
    );
    let pages = (size as usize) / PAGE;
    let too_much = Mapping::new(&file, pages + 1, Access::Read).map(drop);
    ensure!(too_much == Err(Errno::INVAL), "mmap of more: {too_much:?}");
    let private = Mapping::new(&file, 1, Access::WritePrivately).map(drop);
    ensure!(private == Err(Errno::INVAL), "private mmap: {private:?}");
    expect_events(&file, PollFlags::IN | PollFlags::OUT)?;
    drop(mapping);

    // The contents are the memory's, not the binding's.
    let (_, elapsed) = wait::within("unbind", {
        let region = region.clone();
        move || region.unbind()
    })?;
    expect_dead(&file)?;
    drop(file);
    region.bind()?;
    let file = cxl::open()?;
    ensure!(
        checksum(&read_at(&file, 8 * PAGE, 0)?) == sum,
        "the contents changed"
    );
    println!("checksum {sum:#x}, the same after unbind ({elapsed:?}) and bind");
    drop(file);

    // What is not committed is not bound.
    region.reset()?;
    ensure!(region.bind().is_err(), "a region without memory was bound");
    region.commit()?;
    region.bind()?;

    region.delete()?;
    cxl::delete_regions()?;
    cxl::unload()
}

fn expect_events(file: &File, expected: PollFlags) -> Result<()> {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(file, PollFlags::IN | PollFlags::OUT)];
    poll(&mut polled, Some(&now))?;
    let found = polled[0].revents();
    ensure!(found == expected, "poll: {found:?}, not {expected:?}");
    Ok(())
}

/// Fails unless every operation on the file says that the region is gone.
pub fn expect_dead(file: &File) -> Result<()> {
    let answers = [
        ("read", errno(file.read_at(&mut [0; 8], 0)).map(drop)),
        ("write", errno(file.write_at(b"x", 0)).map(drop)),
        ("seek", errno((&*file).seek(SeekFrom::Start(0))).map(drop)),
        ("ioctl", sys::facts(file).map(drop)),
        ("mmap", Mapping::new(file, 1, Access::Read).map(drop)),
    ];
    for (operation, answer) in answers {
        ensure!(
            answer == Err(Errno::NODEV),
            "{operation} on a file of a region that is gone gives {answer:?}, not ENODEV"
        );
    }
    expect_events(file, PollFlags::HUP | PollFlags::ERR)
}

/// Reads from a file until it says that the region is gone; how often.
fn read_until_gone(file: &File, started: &mpsc::Sender<()>) -> Result<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut buffer = vec![0; 64 << 10];
    let mut rounds = 0;
    while Instant::now() < deadline {
        match errno(file.read_at(&mut buffer, (rounds % 64) * (64 << 10))) {
            Ok(_) => rounds += 1,
            Err(Errno::NODEV) => return Ok(rounds as usize),
            Err(error) => bail!("read: {error}"),
        }
        if rounds == 1 {
            started.send(())?;
        }
    }
    bail!("the region did not go");
}

/// Takes a region away while a file is open, reads are under way and a mapping is touched.
///
/// The region is created and bound before, and can be again afterwards.
fn take_away(what: &str, how: impl FnOnce(Region) -> Result<()> + Send + 'static) -> Result<()> {
    let region = Region::create(1)?;
    region.bind()?;
    let file = cxl::open()?;
    let mut part = Part::start("region-touch")?;
    let (sender, started) = mpsc::channel();
    let reader = {
        let file = file.try_clone()?;
        thread::spawn(move || read_until_gone(&file, &sender))
    };
    started.recv().context("the reader has not started")?;

    wait::within(what, move || how(region))?;

    wait::until("the reader has seen the end", || Ok(reader.is_finished()))?;
    let reads = reader
        .join()
        .map_err(|_| anyhow!("the reader panicked"))??;
    println!("{what}: after {reads} reads");
    expect_dead(&file)?;
    part.go();
    let signal = part.signal()?;
    ensure!(signal == SIGBUS, "killed by signal {signal}, not by SIGBUS");
    let left = cxl::class_devices()?;
    ensure!(left.is_empty(), "{left:?} is left");
    Ok(())
}

pub const TAKEN_AWAY: Scenario = Scenario::new(
    "region-taken-away",
    "a region goes, in every way it can, under an open file, a read and a touched mapping",
    taken_away,
);

fn wait_until_no_device() -> Result<()> {
    wait::until("the node is gone", || Ok(cxl::class_devices()?.is_empty()))
}

fn taken_away() -> Result<()> {
    cxl::load()?;
    let again = |region: Region| -> Result<()> {
        ensure!(!region.is_bound(), "{} is still bound", region.name);
        region.delete()?;
        cxl::delete_regions()
    };
    take_away("unbind", move |region| {
        region.unbind()?;
        again(region)
    })?;
    take_away("commit=0", move |region| {
        region.reset()?;
        again(region)
    })?;
    take_away("delete_region", |region| {
        region.delete()?;
        cxl::delete_regions()
    })?;
    take_away("the ioctl of the sample, twice", move |region| {
        let file = cxl::open()?;
        sys::unregister(&file)?;
        // It has not ended yet, or has.
        let _ = sys::unregister(&file);
        wait_until_no_device()?;
        // The driver is still bound, and has nothing left to end.
        region.unbind()?;
        again(region)
    })?;
    take_away("the attribute of the sample", move |region| {
        kernel::write(cxl::attribute("unregister")?, "1")?;
        wait_until_no_device()?;
        region.unbind()?;
        again(region)
    })?;
    take_away("rmmod", |_region| {
        cxl::unload_sample()?;
        // A file is open, and has memory that the core releases.
        ensure!(
            kernel::rmmod(cxl::CRATE).is_err(),
            "{} goes under an open file",
            cxl::CRATE
        );
        cxl::delete_regions()
    })?;
    cxl::unload_crate()
}

pub const MEMORY_GOES: Scenario = Scenario::new(
    "region-memory-goes",
    "what a region is made of goes: its memory device, the port of that, the root of all",
    memory_goes,
);

fn memory_goes() -> Result<()> {
    cxl::load()?;
    let count = cxl::targets()?.len();
    let first = || -> Result<cxl::Target> {
        let mut targets = cxl::targets()?;
        ensure!(!targets.is_empty(), "there is no CXL memory");
        Ok(targets.remove(0))
    };

    let memory = first()?.memory;
    take_away("unbind of the memory device", {
        let memory = memory.clone();
        move |_region| cxl::unbind("cxl/drivers/cxl_mem", &memory)
    })?;
    cxl::bind("cxl/drivers/cxl_mem", &memory, count)?;
    cxl::delete_regions()?;

    let endpoint = first()?.endpoint;
    take_away("unbind of the endpoint port", move |_region| {
        cxl::unbind("cxl/drivers/cxl_port", &endpoint)
    })?;
    // The core unbinds the memory device after its port, some time later.
    let bound = format!("/sys/bus/cxl/devices/{memory}/driver");
    wait::until("the memory device is unbound", || {
        Ok(!std::path::Path::new(&bound).exists())
    })?;
    cxl::bind("cxl/drivers/cxl_mem", &memory, count)?;
    cxl::delete_regions()?;

    const ACPI: (&str, &str) = ("platform/drivers/cxl_acpi", cxl::ROOT);
    take_away("unbind of the ACPI root", |_region| {
        cxl::unbind(ACPI.0, ACPI.1)
    })?;
    cxl::bind(ACPI.0, ACPI.1, count)?;
    cxl::delete_regions()?;

    // All of it can be used again.
    let region = Region::create(1)?;
    region.bind()?;
    drop(cxl::open()?);
    cxl::delete_regions()?;
    cxl::unload()
}

pub const INTERLEAVED: Scenario = Scenario::new(
    "region-interleaved",
    "the memory of two devices, interleaved, keeps its contents when the driver goes and comes",
    interleaved,
);

fn interleaved() -> Result<()> {
    /// Many times the granularity, and some pages.
    const LENGTH: usize = 1 << 20;

    cxl::load()?;
    if cxl::targets()?.len() < 2 {
        return Err(Skip("this machine has one memory device".into()).into());
    }
    let region = Region::create(2)?;
    region.bind()?;
    let file = cxl::open()?;
    let [_, length, ways, _, targets, _] = sys::facts(&file)?;
    ensure!(
        (length, ways, targets) == (region.size(), 2, 2),
        "facts: {length} {ways} {targets}"
    );
    let names = format!("{}\n{}", region.get("target0")?, region.get("target1")?);
    let found = kernel::read(cxl::attribute("targets")?)?;
    ensure!(found == names, "targets: {found}");

    let written = patterns(LENGTH, 0x17);
    let before = checksum(&written);
    for offset in [0, region.size() - LENGTH as u64] {
        file.write_all_at(&written, offset)?;
    }
    let mapped = checksum(&mapped(&file, LENGTH)?);
    ensure!(mapped == before, "the mapping is not the file");

    region.unbind()?;
    expect_dead(&file)?;
    drop(file);
    region.bind()?;
    let file = cxl::open()?;
    for offset in [0, region.size() - LENGTH as u64] {
        let after = checksum(&read_at(&file, LENGTH, offset)?);
        ensure!(after == before, "checksum {after:#x}, not {before:#x}");
    }
    println!("checksum {before:#x} at both ends, the same after unbind and bind");

    region.delete()?;
    expect_dead(&file)?;
    drop(file);
    cxl::delete_regions()?;
    cxl::unload()
}

const fn row(name: &'static str, description: &'static str, run: fn() -> Result<()>) -> Scenario {
    Scenario {
        flavour: Some("debug"),
        ..Scenario::new(name, description, run)
    }
}

pub const DELETE_AGAINST_DELETE: Scenario = row(
    "region-delete-against-delete",
    "two tasks delete a region that is bound and open: one of them does it",
    || race(Region::delete, Region::delete, |a, b| a != b),
);

pub const DELETE_AGAINST_UNBIND: Scenario = row(
    "region-delete-against-unbind",
    "a region that is open is deleted while its driver is unbound",
    || race(Region::delete, Region::unbind, |deleted, _| deleted),
);

pub const DELETE_ACROSS_REBIND: Scenario = row(
    "region-delete-across-rebind",
    "a region that is open is deleted while its driver is unbound and bound again",
    || race(Region::delete, bind_again, |deleted, _| deleted),
);

pub const DELETE_AGAINST_RESET: Scenario = row(
    "region-delete-against-reset",
    "a region that is bound and open is deleted while it is taken out of the decoders",
    || race(Region::delete, Region::reset, |deleted, _| deleted),
);

pub const RESET_AGAINST_RESET: Scenario = row(
    "region-reset-against-reset",
    "two tasks take a region that is bound and open out of the decoders",
    || race(Region::reset, Region::reset, |a, b| a && b),
);

pub const RESET_ACROSS_REBIND: Scenario = row(
    "region-reset-across-rebind",
    "an open region is taken out of the decoders while its driver is unbound and bound again",
    || race(Region::reset, bind_again, |reset, _| reset),
);

fn bind_again(region: &Region) -> Result<()> {
    region.unbind()?;
    // Somebody may have taken the region by then.
    was_done(region.ask_to_bind()).map(drop)
}

/// Whether it was done, and not refused because the region, or its driver, or its memory was gone.
fn was_done(answer: Result<()>) -> Result<bool> {
    const GONE: [Errno; 3] = [Errno::NODEV, Errno::NOENT, Errno::NXIO];
    match answer {
        Ok(()) => Ok(true),
        Err(error) => {
            let why = error
                .downcast_ref::<std::io::Error>()
                .and_then(Errno::from_io_error);
            match why {
                Some(why) if GONE.contains(&why) => Ok(false),
                _ => Err(error),
            }
        }
    }
}

/// How many rounds a race has that commits a region in each, unless the host asks for more.
const FEW: u32 = 10;

/// Races `first` against `second` on a region that is committed, bound and open. Whatever came
/// first, the region can be deleted and created again afterwards, and nothing of it is left.
fn race(
    first: fn(&Region) -> Result<()>,
    second: fn(&Region) -> Result<()>,
    judge: fn(bool, bool) -> bool,
) -> Result<()> {
    cxl::load()?;
    let mut race = Race::new("done by the first task");
    for _ in 0..rounds::how_many_or(FEW)? {
        let region = Region::create(1)?;
        region.bind()?;
        let file = cxl::open()?;
        let (first, second) =
            race.run(|| was_done(first(&region)), || was_done(second(&region)))?;
        ensure!(judge(first, second), "done: {first} and {second}");
        race.count(first);
        if region.path().exists() {
            was_done(region.unbind())?;
            region.delete()?;
        }
        expect_dead(&file)?;
        let left = cxl::class_devices()?;
        ensure!(left.is_empty(), "{left:?} is left");
        cxl::delete_regions()?;
    }
    race.finish_few()?;
    cxl::unload()
}

pub const DELETE_DURING_PROBE: Scenario = row(
    "region-delete-during-probe",
    "a region is deleted while the driver is being bound to it",
    delete_during_probe,
);

fn delete_during_probe() -> Result<()> {
    cxl::load()?;
    let mut race = Race::new("bound before the delete");
    for _ in 0..rounds::how_many_or(FEW)? {
        let region = Region::create(1)?;
        let (bound, deleted) = race.run(
            || was_done(region.ask_to_bind()),
            || was_done(region.delete()),
        )?;
        ensure!(deleted, "the region was not deleted");
        race.count(bound);
        let left = cxl::class_devices()?;
        ensure!(left.is_empty(), "{left:?} is left");
        cxl::delete_regions()?;
    }
    race.finish_few()?;
    cxl::unload()
}
