// SPDX-License-Identifier: GPL-2.0

//! Everything that user space can do with a character device, and what becomes of it when the
//! device ends meanwhile.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, bail, ensure, Context, Result};
use rustix::event::{epoll, poll, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

use crate::kernel;
use crate::mailbox::{self, errno, Mailbox, Part, NODE};
use crate::sample;
use crate::scenario::Scenario;
use crate::sys::{self, Access, Mapping};
use crate::wait;

const SIGBUS: i32 = 7;
const SIGIO: i32 = 29;

/// The numbers of system calls that may do what is waited for.
const READ: &[&str] = &["0"];
const POLL: &[&str] = &["7", "271"];
const EPOLL_WAIT: &[&str] = &["232", "281", "441"];

const NOW: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

pub const OPERATIONS: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-operations",
        "read, write, poll, ioctl, mmap and seek do what the driver says, and no more",
        operations,
    )
};

fn operations() -> Result<()> {
    let mailbox = Mailbox::load()?;
    let file = mailbox::open_nonblocking()?;
    let mapping = Mapping::new(&file, 1, Access::Read).context("mmap")?;

    expect("read of nothing", mailbox::read(&file), Err(Errno::AGAIN))?;
    expect_events(&file, PollFlags::OUT)?;
    expect("figures", sys::figures(&file), Ok([0, 0, 0]))?;
    expect("mapped figures", Ok(mapping.figures()), Ok([0, 0, 0]))?;

    expect("write", mailbox::write(&file, b"holdfast"), Ok(8))?;
    expect_events(&file, PollFlags::IN | PollFlags::OUT)?;
    expect("figures", sys::figures(&file), Ok([8, 8, 0]))?;
    expect("mapped figures", Ok(mapping.figures()), Ok([8, 8, 0]))?;
    if kernel::has_option("CONFIG_IA32_EMULATION") {
        expect("32-bit ioctl", sys::figures_as_32_bit(&file), Ok([8, 8, 0]))?;
    } else {
        println!("no 32-bit ioctl: this kernel has no CONFIG_IA32_EMULATION");
    }

    // A second file is another view of the same mailbox.
    let other = mailbox::open()?;
    expect("read", mailbox::read(&other), Ok(b"holdfast".to_vec()))?;
    expect("mapped figures", Ok(mapping.figures()), Ok([0, 8, 8]))?;

    // Until it is full.
    let mut written = 0;
    let full = loop {
        match mailbox::write(&file, &[b'x'; 1000]) {
            Ok(count) => written += count,
            Err(error) => break error,
        }
    };
    expect(
        "write to a full mailbox",
        Err::<(), _>(full),
        Err(Errno::AGAIN),
    )?;
    expect("bytes until it was full", Ok(written), Ok(4096))?;
    expect_events(&file, PollFlags::IN)?;

    expect(
        "an unknown ioctl",
        sys::unknown_ioctl(&file),
        Err(Errno::NOTTY),
    )?;
    let seek = errno((&file).seek(SeekFrom::Start(1)));
    expect("seek in a stream", seek, Err(Errno::SPIPE))?;
    let map = |pages, access| Mapping::new(&file, pages, access).map(drop);
    expect("mmap of too much", map(2, Access::Read), Err(Errno::INVAL))?;
    expect("mmap to write", map(1, Access::Write), Err(Errno::ACCESS))?;
    let private = map(1, Access::WritePrivately);
    expect("private mmap to write", private, Err(Errno::ACCESS))?;

    drop(mapping);
    drop((file, other));
    mailbox.end()?;
    sample::unload_library()
}

pub const LACKING: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-lacking",
        "what a driver does not implement answers as a file that does not have it",
        lacking,
    )
};

fn lacking() -> Result<()> {
    let sample = sample::Sample::load()?;
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(sample.node()?)?;
    expect("write", mailbox::write(&file, b"x"), Err(Errno::INVAL))?;
    expect("ioctl", sys::unknown_ioctl(&file), Err(Errno::NOTTY))?;
    let mmap = Mapping::new(&file, 1, Access::Read).map(drop);
    expect("mmap", mmap, Err(Errno::NODEV))?;
    expect_events(&file, PollFlags::IN | PollFlags::OUT)?;
    drop(file);
    sample.unload()
}

fn expect<T: PartialEq + std::fmt::Debug>(
    what: &str,
    found: Result<T, Errno>,
    expected: Result<T, Errno>,
) -> Result<()> {
    ensure!(found == expected, "{what}: {found:?}, not {expected:?}");
    Ok(())
}

/// What `poll` says of a file at once.
fn events(file: &File) -> Result<PollFlags> {
    let all = PollFlags::IN | PollFlags::OUT | PollFlags::PRI;
    let mut polled = [PollFd::new(file, all)];
    poll(&mut polled, Some(&NOW))?;
    Ok(polled[0].revents())
}

fn expect_events(file: &File, expected: PollFlags) -> Result<()> {
    let found = events(file)?;
    ensure!(found == expected, "poll: {found:?}, not {expected:?}");
    Ok(())
}

pub const BLOCKED_READERS: Scenario = Scenario::new(
    "chardev-blocked-readers",
    "readers that wait for data are woken by the end of the device, with ENODEV",
    blocked_readers,
);

fn blocked_readers() -> Result<()> {
    const READERS: usize = 4;

    let mailbox = Mailbox::load()?;
    let file = mailbox::open()?;
    let (sender, threads) = mpsc::channel();
    let readers: Vec<_> = (0..READERS)
        .map(|_| -> Result<_> {
            let file = file.try_clone()?;
            let sender = sender.clone();
            Ok(thread::spawn(move || {
                let _ = sender.send(rustix::thread::gettid());
                mailbox::read(&file)
            }))
        })
        .collect::<Result<_>>()?;
    for _ in 0..READERS {
        let id = threads.recv()?.as_raw_nonzero();
        wait_until_blocked(id.get(), READ)?;
    }

    // One is woken by data, and by that alone, since the file is not read otherwise.
    expect("write", mailbox::write(&file, b"x"), Ok(1))?;
    wait::until("one reader has read", || {
        Ok(readers.iter().any(|reader| reader.is_finished()))
    })?;

    mailbox.end()?;
    let mut answers = Vec::new();
    for reader in readers {
        wait::until("a reader has been woken", || Ok(reader.is_finished()))?;
        answers.push(reader.join().map_err(|_| anyhow!("a reader panicked"))?);
    }
    let gone = |answer: &&Result<Vec<u8>, Errno>| **answer == Err(Errno::NODEV);
    ensure!(
        answers.contains(&Ok(b"x".to_vec())) && answers.iter().filter(gone).count() == READERS - 1,
        "the readers got {answers:?}"
    );

    // The file is still open, and the driver is gone.
    mailbox::expect_dead(&file)?;
    drop(file);
    sample::unload_library()
}

/// Waits until a thread of this process sleeps in one of these system calls.
fn wait_until_blocked(thread: i32, system_calls: &[&str]) -> Result<()> {
    wait::until("the thread sleeps in its system call", || {
        let entered = kernel::read(format!("/proc/self/task/{thread}/syscall"))?;
        let stat = kernel::read(format!("/proc/self/task/{thread}/stat"))?;
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        let entered = entered.split(' ').next().unwrap_or_default();
        Ok(system_calls.contains(&entered) && state == Some('S'))
    })
}

pub const UNPLUGGED: Scenario = Scenario::new(
    "chardev-ends-itself",
    "an operation asks for the end of its own device, while another sleeps in there",
    unplugged,
);

fn unplugged() -> Result<()> {
    let mailbox = Mailbox::load()?;
    let file = mailbox::open()?;
    let (sender, threads) = mpsc::channel();
    let read = file.try_clone()?;
    let reader = thread::spawn(move || {
        let _ = sender.send(rustix::thread::gettid());
        mailbox::read(&read)
    });
    wait_until_blocked(threads.recv()?.as_raw_nonzero().get(), READ)?;

    expect("unplug", sys::unplug(&file), Ok(()))?;
    wait::until("the reader has been woken", || Ok(reader.is_finished()))?;
    let answer = reader.join().map_err(|_| anyhow!("the reader panicked"))?;
    expect("the blocked read", answer, Err(Errno::NODEV))?;
    wait::until("the node is gone", || {
        Ok(!std::path::Path::new(NODE).exists())
    })?;
    mailbox::expect_dead(&file)?;
    expect("unplug again", sys::unplug(&file), Err(Errno::NODEV))?;

    // The module has nothing left to end.
    mailbox.end()?;
    drop(file);
    sample::unload_library()
}

pub const POLLERS: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-pollers",
        "poll and epoll are woken by the end of the device, with hang-up and error",
        pollers,
    )
};

fn pollers() -> Result<()> {
    let mailbox = Mailbox::load()?;
    let file = mailbox::open()?;
    let (sender, threads) = mpsc::channel();

    let polled = file.try_clone()?;
    let poll_id = sender.clone();
    let poller = thread::spawn(move || -> Result<PollFlags> {
        poll_id.send(rustix::thread::gettid())?;
        let mut polled = [PollFd::new(&polled, PollFlags::IN)];
        poll(&mut polled, None)?;
        Ok(polled[0].revents())
    });
    wait_until_blocked(threads.recv()?.as_raw_nonzero().get(), POLL)?;

    // One that is told of changes only, and one that is told of states.
    let mut epollers = Vec::new();
    for flags in [epoll::EventFlags::ET, epoll::EventFlags::empty()] {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let data = epoll::EventData::new_u64(1);
        epoll::add(&epoll, &file, data, epoll::EventFlags::IN | flags)?;
        let id = sender.clone();
        epollers.push(thread::spawn(move || -> Result<_> {
            id.send(rustix::thread::gettid())?;
            Ok((epolled(&epoll, None)?, epoll))
        }));
        wait_until_blocked(threads.recv()?.as_raw_nonzero().get(), EPOLL_WAIT)?;
    }

    mailbox.end()?;
    let gone = PollFlags::HUP | PollFlags::ERR;
    wait::until("poll has returned", || Ok(poller.is_finished()))?;
    let found = poller.join().map_err(|_| anyhow!("poll panicked"))??;
    ensure!(found == gone, "poll: {found:?}, not {gone:?}");
    expect_events(&file, gone)?;

    let gone = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
    let mut left = Vec::new();
    for poller in epollers {
        wait::until("epoll has returned", || Ok(poller.is_finished()))?;
        let (found, epoll) = poller.join().map_err(|_| anyhow!("epoll panicked"))??;
        ensure!(found == gone, "epoll: {found:?}, not {gone:?}");
        left.push(epoll);
    }
    // The state stays.
    let found = epolled(&left[1], Some(&NOW))?;
    ensure!(found == gone, "epoll again: {found:?}, not {gone:?}");

    // The library goes only after the file, and the epolls outlive both.
    drop(file);
    sample::unload_library()?;
    for epoll in left {
        let found = epolled(&epoll, Some(&NOW))?;
        ensure!(found.is_empty(), "epoll of a closed file: {found:?}");
    }
    Ok(())
}

/// What an epoll says of its one file; nothing if it does not say anything in time.
fn epolled(epoll: &impl std::os::fd::AsFd, limit: Option<&Timespec>) -> Result<epoll::EventFlags> {
    let mut events = Vec::with_capacity(4);
    epoll::wait(epoll, rustix::buffer::spare_capacity(&mut events), limit)?;
    Ok(events
        .iter()
        .fold(epoll::EventFlags::empty(), |all, event| all | event.flags))
}

pub const MAPPINGS: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-mappings",
        "what was mapped gives SIGBUS after the end of the device, touched before or not",
        mappings,
    )
};

fn mappings() -> Result<()> {
    let mailbox = Mailbox::load()?;
    let parts = ["touch-again", "touch-first"].map(Part::start);
    mailbox.end()?;
    for part in parts {
        let mut part = part?;
        part.go();
        let signal = part.signal()?;
        ensure!(signal == SIGBUS, "killed by signal {signal}, not by SIGBUS");
    }
    sample::unload_library()
}

pub const SIGNALS: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-signals",
        "SIGIO tells of new data, and of the end of the device",
        signals,
    )
};

fn signals() -> Result<()> {
    let mailbox = Mailbox::load()?;
    let expect_signal = |part: Part| -> Result<()> {
        let signal = part.signal()?;
        ensure!(signal == SIGIO, "killed by signal {signal}, not by SIGIO");
        Ok(())
    };

    let part = Part::start("signal")?;
    let file = mailbox::open()?;
    expect("write", mailbox::write(&file, b"x"), Ok(1))?;
    expect_signal(part)?;
    drop(file);

    let part = Part::start("signal")?;
    mailbox.end()?;
    expect_signal(part)?;
    sample::unload_library()
}

pub const MANY_FILES: Scenario = Scenario {
    flavour: Some("debug"),
    ..Scenario::new(
        "chardev-1000-files",
        "the end of the device does not take longer for 1000 open files, polled and mapped",
        many_files,
    )
};

fn many_files() -> Result<()> {
    const FILES: usize = 1000;

    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;

    let mailbox = Mailbox::load()?;
    let none = mailbox.end()?;
    let mailbox = Mailbox::load_again()?;

    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut files = Vec::new();
    let mut mappings = Vec::new();
    for number in 0..FILES {
        let file = mailbox::open()?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&epoll, &file, data, epoll::EventFlags::IN)?;
        let mapping = Mapping::new(&file, 1, Access::Read)?;
        expect("mapped figures", Ok(mapping.figures()), Ok([0, 0, 0]))?;
        mappings.push(mapping);
        files.push(file);
    }

    let many = mailbox.end()?;
    println!(
        "rmmod: {} ms without a file, {} ms with {FILES} files open, polled and mapped",
        none.as_millis(),
        many.as_millis()
    );

    // Those of a new device are apart from them.
    let mailbox = Mailbox::load_again()?;
    let new = mailbox::open()?;
    expect("figures of a new device", sys::figures(&new), Ok([0, 0, 0]))?;
    for file in &files {
        expect("read", mailbox::read(file), Err(Errno::NODEV))?;
    }
    for file in [&files[0], &files[FILES - 1]] {
        mailbox::expect_dead(file)?;
    }

    let begin = Instant::now();
    drop(mappings);
    drop(files);
    println!("closing {FILES} files: {} ms", begin.elapsed().as_millis());

    drop(new);
    mailbox.end()?;
    sample::unload_library()
}

pub const RACE: Scenario = Scenario::new(
    "chardev-race",
    "files are opened, used, mapped and closed while the device comes and goes",
    race,
);

fn race() -> Result<()> {
    const TASKS: usize = 3;

    // Unloading takes seconds where releases are delayed.
    let rounds = match kernel::has_option("CONFIG_DEBUG_KOBJECT_RELEASE") {
        true => 3,
        false => kernel::race_rounds()?.unwrap_or(10),
    };

    let mut mailbox = Mailbox::load()?;
    let mut used = 0;
    for round in 0..rounds {
        let (sender, started) = mpsc::channel();
        let tasks: Vec<_> = (0..TASKS)
            .map(|_| {
                let sender = sender.clone();
                thread::spawn(move || use_until_gone(&sender))
            })
            .collect();
        // Each is in the midst of it.
        for _ in 0..TASKS {
            started.recv()?;
        }
        let ended = mailbox.end_quietly();
        for task in tasks {
            used += task
                .join()
                .map_err(|_| anyhow!("a task panicked"))?
                .with_context(|| format!("round {round}"))?;
        }
        ended?;
        mailbox = Mailbox::load_again()?;
    }
    println!("{rounds} rounds, {used} files opened and closed, every task saw the end each time");
    mailbox.end()?;
    sample::unload_library()
}

/// Opens, uses and closes files until the device is gone; how many.
fn use_until_gone(started: &mpsc::Sender<()>) -> Result<usize> {
    let deadline = Instant::now() + wait::LIMIT;
    let mut used = 0;
    loop {
        ensure!(Instant::now() < deadline, "the device did not go");
        let opened = fs::OpenOptions::new().read(true).write(true).open(NODE);
        let file = match errno(opened) {
            Ok(file) => file,
            Err(Errno::NODEV | Errno::NXIO | Errno::NOENT) => return Ok(used),
            Err(error) => bail!("open: {error}"),
        };
        let write = mailbox::write(&file, b"x").map(|_| ());
        let read = write.and_then(|()| mailbox::read(&file).map(|_| ()));
        let mapped = read.and_then(|()| Mapping::new(&file, 1, Access::Read).map(drop));
        match mapped {
            Ok(()) => {}
            Err(Errno::NODEV) => expect_events(&file, PollFlags::HUP | PollFlags::ERR)?,
            Err(error) => bail!("using the file: {error}"),
        }
        used += 1;
        if used == 1 {
            started.send(())?;
        }
    }
}
