// SPDX-License-Identifier: GPL-2.0

//! Two system calls at the same instant, and the proof that they were.

use std::hint;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{anyhow, ensure, Context, Result};

use crate::kernel;

/// Unless the host asks for more.
const ROUNDS: u32 = 100;

/// How many rounds a race has.
pub fn how_many() -> Result<u32> {
    how_many_or(ROUNDS)
}

/// The same, if nobody has asked for a number and a round takes long.
pub fn how_many_or(few: u32) -> Result<u32> {
    Ok(kernel::race_rounds()?.unwrap_or(few))
}

/// A race of two tasks, round by round.
pub struct Race {
    /// What `count` counts.
    what: &'static str,
    rounds: u32,
    /// Rounds in which both were in their calls at once.
    overlaps: u32,
    counted: u32,
    /// How long the first task waits after they have met: longer after a round in which it won, and
    /// less after one in which it lost, so that both come first in some.
    aim: u32,
}

/// Of whom the time is that somebody took.
struct Timed<T> {
    value: T,
    begin: Instant,
    end: Instant,
}

fn timed<T>(action: impl FnOnce() -> Result<T>) -> Result<Timed<T>> {
    let begin = Instant::now();
    let value = action()?;
    Ok(Timed {
        value,
        begin,
        end: Instant::now(),
    })
}

impl Race {
    pub fn new(what: &'static str) -> Self {
        Self {
            what,
            rounds: 0,
            overlaps: 0,
            counted: 0,
            aim: 1 << 10,
        }
    }

    /// Every other round is aimed; the rest try every order of magnitude.
    fn pause(&self) -> u32 {
        match self.rounds % 2 {
            0 => 1 << (self.rounds / 2 % 20),
            _ => self.aim,
        }
    }

    /// A round: both begin at once, on two CPUs.
    pub fn run<A: Send, B: Send>(
        &mut self,
        first: impl FnOnce() -> Result<A> + Send,
        second: impl FnOnce() -> Result<B> + Send,
    ) -> Result<(A, B)> {
        let pause = self.pause();
        let there = AtomicUsize::new(0);
        let meet = || {
            there.fetch_add(1, Ordering::AcqRel);
            while there.load(Ordering::Acquire) < 2 {
                // Not at once on a machine whose other CPU has something else to do.
                thread::yield_now();
            }
        };
        let (first, second) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                meet();
                timed(second)
            });
            meet();
            for _ in 0..pause {
                hint::spin_loop();
            }
            let first = timed(first);
            (first, other.join())
        });
        let round = self.rounds;
        let context = || format!("round {round}");
        let second = second
            .map_err(|_| anyhow!("the other task panicked"))?
            .with_context(context)?;
        let first = first.with_context(context)?;

        self.rounds += 1;
        if first.begin < second.end && second.begin < first.end {
            self.overlaps += 1;
        }
        Ok((first.value, second.value))
    }

    /// Says which of the two it was in this round, as the first task's success.
    pub fn count(&mut self, counted: bool) {
        self.counted += u32::from(counted);
        if (self.rounds - 1) % 2 == 1 {
            self.aim = match counted {
                true => (self.aim + self.aim / 4 + 1).min(1 << 22),
                false => self.aim - self.aim / 4,
            };
        }
    }

    /// Fails unless the tasks were at it at once, and either came first in some round.
    pub fn finish(self) -> Result<()> {
        ensure!(
            self.counted > 0 && self.counted < self.rounds,
            "of {} rounds, {} {}: the same task came first in all",
            self.rounds,
            self.counted,
            self.what
        );
        self.finish_few()
    }

    /// The same of few rounds, in which one may always have come first.
    pub fn finish_few(self) -> Result<()> {
        println!(
            "{} rounds, {} with both inside at once, {} {}",
            self.rounds, self.overlaps, self.counted, self.what
        );
        ensure!(self.overlaps > 0, "the two were never inside at once");
        Ok(())
    }
}
