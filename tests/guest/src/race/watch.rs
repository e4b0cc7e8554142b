// SPDX-License-Identifier: GPL-2.0

//! Who is inside of which system call, since when: for the other side, and for who finds hangs.

use std::fs;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The two sides of a race. What is done between the rounds is done by the first.
pub const SIDES: usize = 2;

/// From when to when, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    pub begin: u64,
    pub end: u64,
}

impl Interval {
    pub fn intersects(&self, other: &Self) -> bool {
        self.begin < other.end && other.begin < self.end
    }

    pub fn length(&self) -> Duration {
        Duration::from_nanos(self.end.saturating_sub(self.begin))
    }
}

#[derive(Default)]
struct Seat {
    /// 0 if nobody is inside.
    since: AtomicU64,
    limit: AtomicU64,
    task: AtomicI32,
    what: Mutex<String>,
}

pub struct Watch {
    origin: Instant,
    seats: [Seat; SIDES],
}

/// A side that is inside of something.
pub struct Inside {
    pub what: String,
    pub elapsed: Duration,
    pub overdue: bool,
    /// The functions that it is in, innermost first, without those of the scheduler.
    pub stack: Vec<String>,
}

impl Watch {
    pub fn new() -> Self {
        Self {
            origin: Instant::now(),
            seats: Default::default(),
        }
    }

    /// Never 0.
    pub fn now(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64 + 1
    }

    /// Does something that may never return, for the side `side`.
    pub fn inside<T>(
        &self,
        side: usize,
        what: &str,
        limit: Duration,
        call: impl FnOnce() -> T,
    ) -> (T, Interval) {
        let seat = &self.seats[side];
        what.clone_into(&mut seat.what.lock().unwrap_or_else(PoisonError::into_inner));
        let task = rustix::thread::gettid().as_raw_nonzero().get();
        seat.task.store(task, Ordering::Relaxed);
        seat.limit.store(limit.as_nanos() as u64, Ordering::Relaxed);
        let begin = self.now();
        seat.since.store(begin, Ordering::Release);
        let result = call();
        let end = self.now();
        seat.since.store(0, Ordering::Release);
        (result, Interval { begin, end })
    }

    /// Whether a side has been inside for longer than it may be.
    pub fn is_overdue(&self) -> bool {
        self.who(false).iter().any(|inside| inside.overdue)
    }

    /// Those who are inside, with their stacks.
    pub fn everybody(&self) -> Vec<Inside> {
        self.who(true)
    }

    fn who(&self, with_stacks: bool) -> Vec<Inside> {
        let mut found = Vec::new();
        for seat in &self.seats {
            let since = seat.since.load(Ordering::Acquire);
            if since == 0 {
                continue;
            }
            let elapsed = self.now().saturating_sub(since);
            let task = seat.task.load(Ordering::Relaxed);
            found.push(Inside {
                what: seat
                    .what
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                elapsed: Duration::from_nanos(elapsed),
                overdue: elapsed > seat.limit.load(Ordering::Relaxed),
                stack: match with_stacks {
                    true => stack(&format!("/proc/self/task/{task}/stack")),
                    false => Vec::new(),
                },
            });
        }
        found
    }
}

/// What the kernel is in for a task.
pub fn stack(path: &str) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once("] "))
        .map(|(_, function)| function.split('+').next().unwrap_or(function).to_owned())
        .filter(|function| !function.contains("schedule"))
        .collect()
}
