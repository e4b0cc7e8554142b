// SPDX-License-Identifier: GPL-2.0

//! Explores a scenario, and says how far.

use std::{
    collections::BTreeSet,
    sync::{
        atomic::{
            AtomicUsize,
            Ordering::Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

/// What happened in any interleaving of a scenario.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<BTreeSet<&'static str>>>);

impl Seen {
    pub(crate) fn note(&self, what: &'static str) {
        self.0.lock().unwrap().insert(what);
    }
}

/// How many interleavings to explore.
#[derive(Clone, Copy)]
pub(crate) enum Extent {
    /// All.
    All,
    /// All in which a task is interrupted so often at most, where it could have gone on.
    Preemptions(usize),
}

/// Explores `scenario`, in which each of `expected` must happen in some interleaving: it would
/// prove nothing if one of them could not.
pub(crate) fn explore(
    extent: Extent,
    expected: &[&'static str],
    scenario: impl Fn(&Seen) + Send + Sync + 'static,
) {
    let seen = Seen::default();
    let count = Arc::new(AtomicUsize::new(0));

    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10_000;
    let limited = match extent {
        Extent::All => String::new(),
        Extent::Preemptions(most) => {
            builder.preemption_bound = Some(most);
            format!(", those with at most {most} preemptions")
        }
    };
    builder.check({
        let (seen, count) = (seen.clone(), count.clone());
        move || {
            count.fetch_add(1, Relaxed);
            scenario(&seen);
        }
    });

    println!("explored {} interleavings{limited}", count.load(Relaxed));
    let happened = seen.0.lock().unwrap();
    for what in expected {
        assert!(happened.contains(what), "it never happened that: {what}");
    }
}
