// SPDX-License-Identifier: GPL-2.0

//! Races two operations on PCI devices against each other, for the matrix.
//!
//! A cell is a pair of operations. In each of its rounds two threads, on a CPU each, make one
//! system call each (or have the monitor send one event); when each went in and came out is
//! written down, and it is an overlap if both were inside at once. The one that goes in second
//! does so a bit later from round to round, so that it meets the first at every stage of it.
//!
//! A side that does not come back is noticed by the main thread, which touches nothing that could
//! hang, says what both are in, and ends the machine.

mod cell;
mod operation;
mod place;
mod watch;

use std::fs;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use rustix::io::Errno;
use rustix::thread::CpuSet;
use serde_json::{json, Value};

use crate::kernel::{self, LeakCheck};
use cell::Cell;
use place::{Action, Attempt, Driver, Place, Round};
use watch::{Interval, Watch, SIDES};

/// The kernel's limit for a task that is blocked, in seconds.
const HUNG_TASK_SECONDS: &str = "10";

/// The kernel says nothing of devices that come and go while this is the console's level.
const QUIET: u32 = 6;
const ALL: u32 = 8;

/// In eighths of how long the first one takes; in an order that sees much of it soon.
const PHASES: [u32; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

/// Of so many rounds in which the driver of a PF goes there are VFs in one, unless they are what
/// the cell is about. They take long. Has no common factor with the number of phases.
const WITH_VFS: u32 = 5;

/// What a race may well be answered with: that the other side was first.
const LOST: &[Errno] = &[
    Errno::NOENT,
    Errno::NODEV,
    Errno::NXIO,
    Errno::BUSY,
    Errno::AGAIN,
    Errno::EXIST,
    Errno::CANCELED,
    // The PF has no driver any more, or one without such a callback.
    Errno::OPNOTSUPP,
];

/// How often somebody tries again who was too early. Not a synchronisation: what it waits for is
/// that something is there.
const AGAIN: Duration = Duration::from_micros(300);

const INTERVAL: Duration = Duration::from_millis(100);

/// How many times the rounds that are asked for there are at most, until the sides have met in
/// half of all.
const LONGEST: u32 = 4;

/// When leaks are looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaks {
    Never,
    AfterEach,
    AtTheEnd,
}

/// What a cell came to.
#[derive(Default)]
struct Tally {
    rounds: AtomicU32,
    overlaps: AtomicU32,
    /// How often a side's system call did what it is for.
    succeeded: [AtomicU32; SIDES],
}

/// Describes all cells.
pub fn list() -> Value {
    cell::all().iter().map(Cell::describe).collect()
}

fn tell(facts: &Value) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{facts}")?;
    output.flush()?;
    Ok(())
}

/// Races cells: `DRIVER never|each|end CELL=ROUNDS...`.
pub fn run(words: &[String]) -> Result<ExitCode> {
    let [driver, leaks, wanted @ ..] = words else {
        bail!("what is to be raced?");
    };
    let driver = Driver::find(driver)?;
    let leaks = match leaks.as_str() {
        "never" => Leaks::Never,
        "each" => Leaks::AfterEach,
        "end" => Leaks::AtTheEnd,
        _ => bail!("leaks are looked for never, after each, or at the end"),
    };
    let cells: Vec<(Cell, u32)> = wanted
        .iter()
        .map(|word| {
            let (name, rounds) = word.split_once('=').context("how many rounds?")?;
            Ok((cell::find(name)?, rounds.parse()?))
        })
        .collect::<Result<_>>()?;

    kernel::write("/proc/sys/kernel/hung_task_timeout_secs", HUNG_TASK_SECONDS)?;
    kernel::write("/proc/sys/kernel/hung_task_check_interval_secs", "1")?;
    kernel::write("/proc/sys/kernel/hung_task_warnings", "-1")?;

    let place = Arc::new(Place::set_up(driver).context("before the first race")?);
    kernel::set_console_level(QUIET)?;
    let mut begun: Vec<(String, u64)> = Vec::new();
    let whole = match leaks {
        Leaks::AtTheEnd => LeakCheck::begin()?,
        _ => None,
    };
    for (cell, rounds) in cells {
        let name = cell.name();
        begun.push((name.clone(), kernel::jiffies()?));
        kernel::log(&format!("holdfast: scenario {name} begins"))?;
        tell(&json!({"cell": name, "event": "begins"}))?;
        let verdict = one(&place, cell, rounds, leaks)?;
        kernel::log(&format!("holdfast: scenario {name} ends"))?;
        let is_spent = verdict["verdict"] != "ok" || verdict["spent"] == true;
        let hung = verdict["verdict"] == "hang";
        tell(&verdict)?;
        if is_spent {
            // One report silences lockdep, and one deadlock all else.
            if !hung {
                tell_leaks(whole, &begun)?;
            }
            return Ok(end());
        }
    }
    tell_leaks(whole, &begun)?;
    kernel::set_console_level(ALL)?;
    Ok(ExitCode::SUCCESS)
}

/// Ends the machine at once: one that hangs cannot power off.
fn end() -> ExitCode {
    println!("# holdfast: exit status 1");
    let _ = std::io::stdout().flush();
    let _ = rustix::termios::tcdrain(std::io::stdout());
    let _ = kernel::write("/proc/sysrq-trigger", "b");
    ExitCode::FAILURE
}

/// Says of each leak in which cell it was made.
fn tell_leaks(check: Option<LeakCheck>, begun: &[(String, u64)]) -> Result<()> {
    let Some(check) = check else {
        return Ok(());
    };
    for report in check.end()? {
        let born = LeakCheck::born(&report).unwrap_or(0);
        let cell = begun.iter().rev().find(|(_, since)| *since <= born);
        let cell = cell.map(|(name, _)| name.as_str());
        tell(&json!({"cell": cell, "event": "leak", "detail": report}))?;
    }
    tell(&json!({"event": "leaks-checked"}))
}

/// Races one cell, and looks after it from outside.
fn one(place: &Arc<Place>, cell: Cell, rounds: u32, leaks: Leaks) -> Result<Value> {
    let name = cell.name();
    let taint = kernel::taint()?;
    let lockdep = kernel::lockdep_is_on();
    let check = match leaks {
        Leaks::AfterEach => LeakCheck::begin()?,
        _ => None,
    };
    let begin = Instant::now();
    let tally = Arc::new(Tally::default());
    let (done, finished) = mpsc::channel();
    thread::spawn({
        let (place, tally) = (place.clone(), tally.clone());
        move || {
            let raced = race(&place, &cell, rounds, &tally);
            let _ = done.send(raced.and_then(|()| place.expect_works().context("afterwards")));
        }
    });
    let mut told = Instant::now();
    let (verdict, detail) = loop {
        match finished.recv_timeout(INTERVAL) {
            Ok(Ok(())) => break ("ok", String::new()),
            Ok(Err(error)) => break ("broken", format!("{error:#}")),
            Err(RecvTimeoutError::Disconnected) => break ("broken", "a side panicked".into()),
            Err(RecvTimeoutError::Timeout) if place.watch.is_overdue() => {
                let detail = describe_hang(&place.watch);
                kernel::set_console_level(ALL)?;
                kernel::show_blocked_tasks();
                break ("hang", detail);
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        if told.elapsed() >= Duration::from_secs(2) {
            told = Instant::now();
            let rounds = tally.rounds.load(Ordering::Relaxed);
            tell(&json!({"cell": name, "event": "goes on", "rounds": rounds}))?;
        }
    };
    let mut lost = Vec::new();
    if verdict == "ok" {
        if let Some(check) = check {
            lost = check.end()?;
        }
    }
    let allowed = kernel::TAINT_OOT_MODULE | kernel::TAINT_UNSIGNED_MODULE;
    let tainted = kernel::new_taint(taint, kernel::taint()?, allowed);
    let blind = lockdep == Some(true) && kernel::lockdep_is_on() == Some(false);
    Ok(json!({
        "cell": name,
        "event": "ends",
        "verdict": verdict,
        "detail": detail,
        "rounds": tally.rounds.load(Ordering::Relaxed),
        "overlaps": tally.overlaps.load(Ordering::Relaxed),
        "succeeded": [
            tally.succeeded[0].load(Ordering::Relaxed),
            tally.succeeded[1].load(Ordering::Relaxed),
        ],
        "milliseconds": begin.elapsed().as_millis() as u64,
        "leaks": lost,
        "taint": kernel::taint_names(tainted),
        "lockdep_off": blind,
        "spent": tainted != 0 || blind,
    }))
}

/// Who is where, for people who know the PCI core.
fn describe_hang(watch: &Watch) -> String {
    const DEEPEST: usize = 8;

    let mut parts = Vec::new();
    for inside in watch.everybody() {
        let seconds = inside.elapsed.as_secs();
        let stack = shorten(&inside.stack, DEEPEST);
        parts.push(format!("{}, for {seconds} s: {stack}", inside.what));
    }
    // The thread of a hotplug port belongs to neither side.
    let tasks = fs::read_dir("/proc").into_iter().flatten().flatten();
    for task in tasks {
        let Ok(name) = kernel::read(task.path().join("comm")) else {
            continue;
        };
        if name.starts_with("irq/") && name.contains("pciehp") {
            let stack = watch::stack(&task.path().join("stack").to_string_lossy());
            if stack.iter().any(|function| function.starts_with("pci")) {
                parts.push(format!("{name}: {}", shorten(&stack, DEEPEST)));
            }
        }
    }
    parts.join("; ")
}

fn shorten(stack: &[String], deepest: usize) -> String {
    let inner: Vec<_> = stack.iter().take(deepest).map(String::as_str).collect();
    match inner.is_empty() {
        true => "in no system call".into(),
        false => inner.join(" < "),
    }
}

/// When the side that begins is met.
#[derive(Clone, Copy)]
struct Pace {
    /// How long it is inside.
    typical: Duration,
    /// For how long of that the other one finds something to do.
    useful: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let guess = Duration::from_millis(20);
        Self {
            typical: guess,
            useful: guess,
        }
    }
}

impl Pace {
    /// Learns from a round in which the other side came `later`, and in time or not.
    fn learn(&mut self, length: Duration, later: Duration, in_time: bool) {
        self.typical = (self.typical * 3 + length) / 4;
        self.useful = match in_time {
            true => self.useful.max(later * 2).max(self.typical / 64),
            false => self.useful.min(later) / 2,
        };
        self.useful = self.useful.min(self.typical);
    }
}

fn race(place: &Arc<Place>, cell: &Cell, rounds: u32, tally: &Tally) -> Result<()> {
    let mut pace = [Pace::default(); SIDES];
    for number in 0..rounds * LONGEST {
        // Few rounds may be over before the sides have learnt when they meet.
        if number >= rounds && 2 * tally.overlaps.load(Ordering::Relaxed) >= number {
            break;
        }
        one_round(place, cell, number, &mut pace, tally)
            .with_context(|| format!("round {number}"))?;
        tally.rounds.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn one_round(
    place: &Place,
    cell: &Cell,
    number: u32,
    pace: &mut [Pace; SIDES],
    tally: &Tally,
) -> Result<()> {
    let functions = [0, cell.function_of_b()];
    let operations = [cell.a, cell.b];
    let (first, turn) = match cell.a.rank().cmp(&cell.b.rank()) {
        std::cmp::Ordering::Greater => (0, number),
        std::cmp::Ordering::Less => (1, number),
        std::cmp::Ordering::Equal => (number as usize % SIDES, number / 2),
    };
    let second = 1 - first;
    let needs = |side: usize| operations[side].needs(functions[side]);
    let mut needed = needs(first).and_if_possible(&needs(second));
    if turn % WITH_VFS == 0 {
        for side in [first, second] {
            if operations[side].ends_binding() {
                needed = needed.with_vfs(functions[side]);
            }
        }
    }
    place.reach(&needed)?;

    let waits = Place::waits(operations[first]);
    let phase = PHASES[turn as usize % PHASES.len()];
    let later = pace[first].useful * phase / 8;
    let offset = waits + later;
    let action = |side: usize| Action {
        operation: operations[side],
        function: functions[side],
        side,
    };
    let opened = [place.open(&action(0)), place.open(&action(1))];
    let [opened_first, opened_second] = match first {
        0 => opened,
        _ => {
            let [a, b] = opened;
            [b, a]
        }
    };
    let round = Round::default();
    let go = Barrier::new(SIDES);
    let (leading, following) = thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let pinned = pin(1);
            go.wait();
            wait_for(&place.watch, &round, first, offset);
            let tried =
                pinned.and_then(|()| follow(place, &action(second), opened_second, &round, first));
            round.over[second].store(true, Ordering::Release);
            tried
        });
        let pinned = pin(0);
        go.wait();
        let led = pinned.and_then(|()| place.perform(&action(first), opened_first, &round));
        round.over[first].store(true, Ordering::Release);
        match follower.join() {
            Ok(followed) => led.and_then(|led| Ok((led, followed?))),
            Err(_) => bail!("the side that follows panicked"),
        }
    })?;

    let mut overlaps = false;
    if let Attempt::Inside(interval, result) = &leading {
        overlaps = following
            .iter()
            .any(|(other, _)| other.intersects(interval));
        if *result != Err(Errno::CANCELED) {
            pace[first].learn(interval.length(), later, overlaps);
        }
        judge(&action(first), result, &tally.succeeded[first])?;
    }
    for (_, result) in &following {
        judge(&action(second), result, &tally.succeeded[second])?;
    }
    if overlaps {
        tally.overlaps.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn judge(action: &Action, result: &Result<(), Errno>, succeeded: &AtomicU32) -> Result<()> {
    match result {
        Ok(()) => {
            succeeded.fetch_add(1, Ordering::Relaxed);
        }
        Err(error) => ensure!(
            LOST.contains(error),
            "{} gives: {error}",
            action.operation.name()
        ),
    }
    Ok(())
}

/// Waits until the side `first` is inside, and then for `offset`; not longer than it is inside.
fn wait_for(watch: &Watch, round: &Round, first: usize, offset: Duration) {
    let is_over = || round.over[first].load(Ordering::Acquire);
    let mut begun = round.begun.load(Ordering::Acquire);
    while begun == 0 && !is_over() {
        std::hint::spin_loop();
        begun = round.begun.load(Ordering::Acquire);
    }
    let until = begun + offset.as_nanos() as u64;
    while watch.now() < until && !is_over() {
        // The last bit by turning round, since a sleep is not that exact.
        let left = Duration::from_nanos(until.saturating_sub(watch.now()));
        if left > Duration::from_millis(1) {
            thread::sleep((left - Duration::from_micros(500)).min(INTERVAL));
        }
    }
}

/// Does what follows: again and again until there is something to do it to, for as long as the
/// side `first` is inside.
fn follow(
    place: &Place,
    action: &Action,
    mut opened: Option<fs::File>,
    round: &Round,
    first: usize,
) -> Result<Vec<(Interval, Result<(), Errno>)>> {
    const TOO_EARLY: &[Errno] = &[
        Errno::NOENT,
        Errno::NODEV,
        Errno::NXIO,
        Errno::BUSY,
        Errno::AGAIN,
        Errno::EXIST,
    ];
    let mut tried = Vec::new();
    loop {
        let was_over = round.over[first].load(Ordering::Acquire);
        let error = match place.perform(action, opened.take(), round)? {
            Attempt::Outside(error) => error,
            Attempt::Inside(interval, result) => {
                tried.push((interval, result));
                match result {
                    Ok(()) => break,
                    Err(error) => error,
                }
            }
        };
        if was_over || !TOO_EARLY.contains(&error) {
            break;
        }
        thread::sleep(AGAIN);
    }
    Ok(tried)
}

fn pin(cpu: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).context("pinning a side to a CPU")
}
