// SPDX-License-Identifier: GPL-2.0

//! What the protocol promises, as scenarios of two to four tasks.

use crate::{
    explore::{
        explore,
        Extent,
        Seen, //
    },
    library::{
        Bound,
        Inside,
        Object,
        Outcome, //
    },
    platform::{
        set_index,
        Cpus,
        Current, //
    },
    protocol::{
        Claim,
        Entered,
        Lost,
        Slots, //
    },
};

use std::sync::{
    atomic::{
        AtomicUsize,
        Ordering::{
            Acquire,
            Relaxed,
            Release, //
        },
    },
    Arc, //
};

use loom::{
    sync::atomic::AtomicBool,
    thread::{
        self,
        JoinHandle, //
    },
};

/// The number of the task that a scenario begins with.
const MAIN: usize = 9;

/// The CPUs and the objects of one interleaving.
struct World {
    cpus: Cpus,
    objects: Vec<Object>,
}

impl World {
    /// A world whose objects `make` makes, on the first CPU.
    fn new(cpus: Cpus, make: impl FnOnce(&Current<'_>) -> Vec<Object>) -> Arc<Self> {
        let objects = make(&Current::new(&cpus, MAIN, 0));
        Arc::new(Self { cpus, objects })
    }

    /// Starts a task with its number and the index of its CPU.
    fn start(
        self: &Arc<Self>,
        number: usize,
        cpu: usize,
        run: impl FnOnce(&Self, &Current<'_>) + 'static,
    ) -> JoinHandle<()> {
        let world = self.clone();
        thread::spawn(move || {
            set_index(number);
            run(&world, &Current::new(&world.cpus, number, cpu));
        })
    }

    fn object(&self) -> &Object {
        &self.objects[0]
    }
}

const SLOT: &str = "somebody entered with a slot";
const COUNTED: &str = "somebody entered and was counted";
const REFUSED: &str = "somebody found the door closed";
const OPEN: &str = "somebody operated in a section";
const DONE: &str = "somebody ended it";
const ALREADY: &str = "somebody found it ended";
const REGISTERED: &str = "it was registered";
const CANCELLED: &str = "its end was asked for during its registration";
const GAVE_UP: &str = "somebody gave up waiting";
const TOO_LATE: &str = "it had ended before it could be registered";

/// Enters and operates, and says whether it has.
fn enter(seen: &Seen, object: &Object, current: &Current<'_>) -> Option<Inside> {
    let inside = object.enter(current);
    seen.note(match inside {
        Some(Entered::Slot(_)) => SLOT,
        Some(Entered::Counted) => COUNTED,
        None => REFUSED,
    });
    if inside.is_some() {
        object.operate();
    }
    inside
}

fn access(seen: &Seen, object: &Object, current: &Current<'_>) {
    if let Some(inside) = enter(seen, object, current) {
        object.leave(current, inside);
    }
}

/// Operates in a section without entering.
fn look(seen: &Seen, object: &Object, current: &Current<'_>) {
    let open = object.operate_in_section(current);
    seen.note(if open { OPEN } else { REFUSED });
}

fn unregister(seen: &Seen, object: &Object, current: &Current<'_>) {
    seen.note(match object.unregister(current) {
        Outcome::Done => DONE,
        Outcome::AlreadyDone => ALREADY,
        Outcome::WouldWaitForItself => panic!("took another task for itself"),
    });
    object.assert_ended();
}

fn register(seen: &Seen, object: &Object, current: &Current<'_>) {
    match object.register(current) {
        Ok(()) => seen.note(REGISTERED),
        Err(Lost::Cancelled) => {
            seen.note(CANCELLED);
            object.assert_ended();
        }
        Err(Lost::NotUnregistered) => {
            seen.note(TOO_LATE);
            assert_eq!(object.bound(), Bound::NotYet);
        }
    }
}

// The registration

/// Tasks that all unregister an object: one does it, the others return when it is done.
fn callers_of_unregister(extent: Extent, count: usize) {
    explore(extent, &[DONE, ALREADY], move |seen| {
        let done = Arc::new(AtomicUsize::new(0));
        let world = World::new(Cpus::new(&[1]), |current| {
            vec![Object::registered(current, false)]
        });
        let one = |done: Arc<AtomicUsize>, seen: Seen| {
            move |world: &World, current: &Current<'_>| {
                match world.object().unregister(current) {
                    Outcome::Done => {
                        seen.note(DONE);
                        assert_eq!(done.fetch_add(1, Relaxed), 0, "two of them ended it");
                    }
                    Outcome::AlreadyDone => seen.note(ALREADY),
                    Outcome::WouldWaitForItself => panic!("took another task for itself"),
                }
                world.object().assert_ended();
                assert_eq!(world.object().bound(), Bound::Dropped);
            }
        };
        for number in 1..count {
            world.start(number, 0, one(done.clone(), seen.clone()));
        }
        one(done, seen.clone())(&world, &Current::new(&world.cpus, MAIN, 0));
    });
}

#[test]
fn two_callers_of_unregister() {
    callers_of_unregister(Extent::All, 2);
}

/// At most 4 preemptions.
#[test]
fn three_callers_of_unregister() {
    callers_of_unregister(Extent::Preemptions(4), 3);
}

/// The parent is unbound during an unregister, and a reader is inside: nobody frees the device
/// before the reader has left it. At most 3 preemptions.
#[test]
fn unbind_during_unregister() {
    let expected = [DONE, ALREADY, SLOT, REFUSED];
    explore(Extent::Preemptions(3), &expected, |seen| {
        let world = World::new(Cpus::new(&[1]), |current| {
            vec![Object::registered(current, true)]
        });
        world.start(1, 0, {
            let seen = seen.clone();
            move |world, current| unregister(&seen, world.object(), current)
        });
        world.start(2, 0, {
            let seen = seen.clone();
            move |world, current| access(&seen, world.object(), current)
        });
        unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
    });
}

/// The end is asked for while another task registers.
#[test]
fn unregister_during_registration() {
    let expected = [REGISTERED, CANCELLED, TOO_LATE, DONE, ALREADY];
    explore(Extent::All, &expected, |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        world.start(1, 0, {
            let seen = seen.clone();
            move |world, current| register(&seen, world.object(), current)
        });
        unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
    });
}

/// The same with a reader, who can come as soon as the door is open. At most 4 preemptions.
#[test]
fn reader_and_unregister_during_registration() {
    let expected = [
        REGISTERED, CANCELLED, TOO_LATE, DONE, ALREADY, SLOT, REFUSED,
    ];
    explore(Extent::Preemptions(4), &expected, |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        world.start(1, 0, {
            let seen = seen.clone();
            move |world, current| register(&seen, world.object(), current)
        });
        world.start(2, 0, {
            let seen = seen.clone();
            move |world, current| access(&seen, world.object(), current)
        });
        unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
    });
}

/// Who comes as soon as the door is open sees what was bound, also if somebody else came first.
#[test]
fn readers_during_registration() {
    let expected = [REGISTERED, SLOT, COUNTED, REFUSED, OPEN];
    explore(Extent::All, &expected, |seen| {
        let world = World::new(Cpus::new(&[1, 0]), |_| vec![Object::new()]);
        world.start(1, 0, {
            let seen = seen.clone();
            move |world, current| register(&seen, world.object(), current)
        });
        world.start(2, 1, {
            let seen = seen.clone();
            move |world, current| access(&seen, world.object(), current)
        });
        let current = Current::new(&world.cpus, MAIN, 0);
        look(seen, world.object(), &current);
        access(seen, world.object(), &current);
    });
}

/// Two tasks register the same object: one does.
#[test]
fn two_registrations() {
    explore(Extent::All, &[REGISTERED, TOO_LATE], |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        let one = |world: &World, current: &Current<'_>| world.object().register(current).is_ok();
        let other = Arc::new(AtomicUsize::new(0));
        let task = world.start(1, 0, {
            let other = other.clone();
            move |world, current| other.store(one(world, current).into(), Relaxed)
        });
        let this = one(&world, &Current::new(&world.cpus, MAIN, 0));
        task.join().unwrap();
        assert_ne!(this, other.load(Relaxed) == 1);
        seen.note(if this { REGISTERED } else { TOO_LATE });
        assert_eq!(world.object().bound(), Bound::Present);
    });
}

/// What has ended before it was registered cannot be registered.
#[test]
fn unregister_before_registration() {
    explore(Extent::All, &[TOO_LATE, ALREADY], |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        let current = Current::new(&world.cpus, MAIN, 0);
        unregister(seen, world.object(), &current);
        register(seen, world.object(), &current);
        unregister(seen, world.object(), &current);
    });
}

/// A registration that fails, while another task asks for the end.
fn failing_registration(opened: bool) {
    explore(
        Extent::All,
        &["it failed", TOO_LATE, ALREADY],
        move |seen| {
            let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
            world.start(1, 0, {
                let seen = seen.clone();
                move |world, current| {
                    if world.object().begin_registration(current).is_err() {
                        seen.note(TOO_LATE);
                        return;
                    }
                    if opened {
                        world.object().bind_and_open();
                    }
                    world.object().fail_registration(current, opened);
                    world.object().assert_ended();
                    seen.note("it failed");
                }
            });
            let current = Current::new(&world.cpus, MAIN, 0);
            assert_eq!(world.object().unregister(&current), Outcome::AlreadyDone);
            seen.note(ALREADY);
            world.object().assert_ended();
        },
    );
}

#[test]
fn unregister_during_failing_registration() {
    failing_registration(false);
}

#[test]
fn unregister_during_registration_that_fails_late() {
    failing_registration(true);
}

/// A task asks for the end from inside the registration and the teardown that it does itself, while
/// another one asks for it too.
#[test]
fn unregister_from_inside_itself() {
    let expected = [REGISTERED, CANCELLED, DONE, ALREADY];
    explore(Extent::All, &expected, |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        let first = Current::new(&world.cpus, 1, 0);
        assert_eq!(world.object().begin_registration(&first), Ok(()));

        world.start(2, 0, {
            let seen = seen.clone();
            move |world, current| {
                assert!(!world.object().is_owner(current));
                let again = || {
                    assert!(world.object().is_owner(current));
                    assert_eq!(
                        world.object().unregister(current),
                        Outcome::WouldWaitForItself
                    );
                };
                match world.object().unregister_with(current, again) {
                    Outcome::Done => seen.note(DONE),
                    Outcome::AlreadyDone => seen.note(ALREADY),
                    Outcome::WouldWaitForItself => panic!("took another task for itself"),
                }
                assert!(!world.object().is_owner(current));
                world.object().assert_ended();
            }
        });

        let again = || {
            assert!(!world.object().is_owner(&first));
            assert_eq!(
                world.object().unregister(&first),
                Outcome::WouldWaitForItself
            );
        };
        again();
        world.object().bind_and_open();
        again();
        match world.object().finish_registration(&first) {
            Ok(()) => seen.note(REGISTERED),
            Err(_) => seen.note(CANCELLED),
        }
        assert!(!world.object().is_owner(&first));
    });
}

/// One who is inside asks for the end, and another task's end waits for that one to leave. The word
/// names that task; who asked gives up waiting, leaves, and the end goes on. At most 4 preemptions.
#[test]
fn give_up_waiting() {
    explore(Extent::Preemptions(4), &[GAVE_UP, DONE, ALREADY], |seen| {
        let world = World::new(Cpus::new(&[0]), |current| {
            vec![Object::registered(current, false)]
        });
        let main = Current::new(&world.cpus, MAIN, 0);
        let inside = world.object().enter(&main).expect("the door is open");
        assert_eq!(world.object().owner(), None);

        let circle = Arc::new(AtomicBool::new(false));
        world.start(1, 0, {
            let (seen, circle) = (seen.clone(), circle.clone());
            move |world, current| {
                let found = || {
                    assert_eq!(world.object().owner(), Some(current.task));
                    circle.store(true, Release);
                    world.object().wake_who_waits();
                };
                seen.note(match world.object().unregister_with(current, found) {
                    Outcome::Done => DONE,
                    Outcome::AlreadyDone => ALREADY,
                    Outcome::WouldWaitForItself => panic!("took another task for itself"),
                });
                world.object().assert_ended();
                assert_eq!(world.object().owner(), None);
            }
        });

        match world.object().begin_unregistration(&main) {
            Claim::Owner => {
                assert_eq!(world.object().owner(), Some(main.task));
                world.object().leave(&main, inside);
                world.object().tear_down(&main);
            }
            Claim::Busy => {
                assert_ne!(world.object().owner(), None);
                assert_ne!(world.object().owner(), Some(main.task));
                let ended = world.object().wait_for_end(|| circle.load(Acquire));
                assert!(!ended, "it ended with somebody inside");
                seen.note(GAVE_UP);
                world.object().operate();
                world.object().leave(&main, inside);
                assert!(world.object().wait_for_end(|| false));
            }
            claim => panic!("{claim:?} with somebody inside"),
        }
        world.object().assert_ended();
    });
}

/// The task that registers asks for the end, after another one has.
#[test]
fn unregister_from_inside_cancelled_registration() {
    explore(Extent::All, &[CANCELLED], |seen| {
        let world = World::new(Cpus::new(&[1]), |_| vec![Object::new()]);
        let first = Current::new(&world.cpus, MAIN, 0);
        let other = Current::new(&world.cpus, 1, 0);
        assert_eq!(world.object().begin_registration(&first), Ok(()));
        assert_eq!(world.object().begin_unregistration(&other), Claim::Busy);
        assert_eq!(
            world.object().begin_unregistration(&first),
            Claim::WouldWaitForItself
        );
        world.object().bind_and_open();
        assert_eq!(
            world.object().finish_registration(&first),
            Err(Lost::Cancelled)
        );
        seen.note(CANCELLED);
        world.object().assert_ended();
    });
}

// The door

/// Who finds the door open because somebody else has used it sees what was bound.
#[test]
fn second_reader_during_registration() {
    explore(Extent::All, &[SLOT, REFUSED], |seen| {
        let world = World::new(Cpus::new(&[1, 1]), |_| vec![Object::new()]);
        world.start(1, 1, {
            let seen = seen.clone();
            move |world, current| {
                register(&seen, world.object(), current);
                access(&seen, world.object(), current);
            }
        });
        access(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
    });
}

/// Who comes after the grace period is refused, but may be seen until then.
#[test]
fn reader_after_grace_period() {
    explore(Extent::All, &[REFUSED], |seen| {
        let world = World::new(Cpus::new(&[1]), |current| {
            vec![Object::registered(current, true)]
        });
        let main = Current::new(&world.cpus, MAIN, 0);
        assert!(world.object().close(&main));
        main.grace_period();
        world.start(1, 0, {
            let seen = seen.clone();
            move |world, current| access(&seen, world.object(), current)
        });
        world.object().drain_and_end(&main);
        world.object().assert_ended();
    });
}

/// Readers against one unregister.
#[derive(Clone, Copy)]
struct Readers {
    /// How many slots each CPU has.
    slots: &'static [usize],
    /// The CPU of each reader.
    cpus: &'static [usize],
    /// Whether the door was used before.
    used: bool,
    /// Whether the CPUs play different parts.
    both_ways: bool,
}

fn readers(extent: Extent, expected: &[&'static str], readers: Readers) {
    for backwards in [false, true] {
        if backwards && !readers.both_ways {
            break;
        }
        explore(extent, expected, move |seen| {
            let cpus = Cpus::new(readers.slots).backwards(backwards);
            let world = World::new(cpus, |current| {
                vec![Object::registered(current, readers.used)]
            });
            for (index, &cpu) in readers.cpus.iter().enumerate() {
                let seen = seen.clone();
                world.start(index + 1, cpu, move |world, current| {
                    access(&seen, world.object(), current);
                });
            }
            unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
        });
    }
}

#[test]
fn reader_with_slot() {
    readers(
        Extent::All,
        &[SLOT, REFUSED],
        Readers {
            slots: &[1],
            cpus: &[0],
            used: true,
            both_ways: false,
        },
    );
}

#[test]
fn reader_without_slot() {
    readers(
        Extent::All,
        &[COUNTED, REFUSED],
        Readers {
            slots: &[0],
            cpus: &[0],
            used: true,
            both_ways: false,
        },
    );
}

/// The first one ever to enter.
#[test]
fn first_reader_with_slot() {
    readers(
        Extent::All,
        &[SLOT, REFUSED],
        Readers {
            slots: &[1],
            cpus: &[0],
            used: false,
            both_ways: false,
        },
    );
}

#[test]
fn first_reader_without_slot() {
    readers(
        Extent::All,
        &[COUNTED, REFUSED],
        Readers {
            slots: &[0],
            cpus: &[0],
            used: false,
            both_ways: false,
        },
    );
}

/// At most 4 preemptions.
#[test]
fn two_readers_on_two_cpus() {
    readers(
        Extent::Preemptions(4),
        &[SLOT, REFUSED],
        Readers {
            slots: &[1, 1],
            cpus: &[0, 1],
            used: true,
            both_ways: false,
        },
    );
}

/// Nobody has entered before. At most 3 preemptions.
#[test]
fn first_two_readers_on_two_cpus() {
    readers(
        Extent::Preemptions(3),
        &[SLOT, REFUSED],
        Readers {
            slots: &[1, 1],
            cpus: &[0, 1],
            used: false,
            both_ways: false,
        },
    );
}

/// At most 4 preemptions.
#[test]
fn two_readers_with_two_slots() {
    readers(
        Extent::Preemptions(4),
        &[SLOT, REFUSED],
        Readers {
            slots: &[2],
            cpus: &[0, 0],
            used: true,
            both_ways: false,
        },
    );
}

/// One of them gets the slot, and the other one may have to be counted. At most 4 preemptions.
#[test]
fn two_readers_with_one_slot() {
    readers(
        Extent::Preemptions(4),
        &[SLOT, COUNTED, REFUSED],
        Readers {
            slots: &[1],
            cpus: &[0, 0],
            used: true,
            both_ways: false,
        },
    );
}

/// The CPU of one has a slot, that of the other one has none. At most 4 preemptions.
#[test]
fn two_readers_and_a_cpu_without_slot() {
    readers(
        Extent::Preemptions(4),
        &[SLOT, COUNTED, REFUSED],
        Readers {
            slots: &[1, 0],
            cpus: &[0, 1],
            used: false,
            both_ways: true,
        },
    );
}

/// At most 4 preemptions.
#[test]
fn two_readers_without_slot() {
    readers(
        Extent::Preemptions(4),
        &[COUNTED, REFUSED],
        Readers {
            slots: &[0],
            cpus: &[0, 0],
            used: false,
            both_ways: false,
        },
    );
}

/// One who has been inside for long leaves while the end waits, on the CPU where it entered and on
/// another one.
#[test]
fn leave_during_unregister() {
    for (slots, leaves_on) in [(1, 0), (1, 1), (0, 0)] {
        for backwards in [false, true] {
            explore(Extent::All, &[DONE], move |seen| {
                let cpus = Cpus::new(&[slots, 0]).backwards(backwards);
                let world = World::new(cpus, |current| vec![Object::registered(current, false)]);
                let reader = Current::new(&world.cpus, 1, 0);
                let inside = world.object().enter(&reader).expect("the door is open");
                world.start(1, leaves_on, move |world, current| {
                    world.object().operate();
                    world.object().leave(current, inside);
                });
                unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
            });
        }
    }
}

/// One sleeps inside until the end: it is woken, and the end goes on.
#[test]
fn sleep_inside() {
    for slots in [0, 1] {
        explore(
            Extent::All,
            &["somebody slept inside", REFUSED],
            move |seen| {
                let world = World::new(Cpus::new(&[slots]), |current| {
                    vec![Object::registered(current, true)]
                });
                world.start(1, 0, {
                    let seen = seen.clone();
                    move |world, current| {
                        if let Some(inside) = enter(&seen, world.object(), current) {
                            world.object().sleep();
                            seen.note("somebody slept inside");
                            world.object().operate();
                            world.object().leave(current, inside);
                        }
                    }
                });
                unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
            },
        );
    }
}

/// One looks at the door in a section of its own, without entering.
#[test]
fn look_in_section() {
    for used in [false, true] {
        explore(Extent::All, &[OPEN, REFUSED], move |seen| {
            let world = World::new(Cpus::new(&[1]), |current| {
                vec![Object::registered(current, used)]
            });
            world.start(1, 0, {
                let seen = seen.clone();
                move |world, current| look(&seen, world.object(), current)
            });
            unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
        });
    }
}

/// A slot is given back on another CPU, and claimed for another door before the end of the first
/// looks at it.
#[test]
fn slot_goes_to_another_door() {
    for backwards in [false, true] {
        explore(Extent::All, &[DONE, SLOT, COUNTED], move |seen| {
            let world = World::new(Cpus::new(&[1, 0]).backwards(backwards), |current| {
                vec![
                    Object::registered(current, false),
                    Object::registered(current, true),
                ]
            });
            let reader = Current::new(&world.cpus, 1, 0);
            let inside = world.object().enter(&reader).expect("the door is open");
            world.start(1, 1, move |world, current| {
                world.object().operate();
                world.object().leave(current, inside);
            });
            world.start(2, 0, {
                let seen = seen.clone();
                move |world, current| access(&seen, &world.objects[1], current)
            });
            unregister(seen, world.object(), &Current::new(&world.cpus, MAIN, 0));
        });
    }
}

/// Who is inside of one door does not delay the end of another.
#[test]
fn another_door_does_not_wait() {
    for slots in [0, 1, 2] {
        explore(Extent::All, &[DONE, REFUSED], move |seen| {
            let world = World::new(Cpus::new(&[slots]), |current| {
                vec![
                    Object::registered(current, true),
                    Object::registered(current, true),
                ]
            });
            let current = Current::new(&world.cpus, MAIN, 0);
            let inside = world.objects[1].enter(&current).expect("the door is open");
            assert_eq!(world.objects[1].is_inside(&current), slots > 0);
            assert!(!world.object().is_inside(&current));
            let end = world.start(1, 0, {
                let seen = seen.clone();
                move |world, current| unregister(&seen, world.object(), current)
            });
            access(seen, world.object(), &current);
            end.join().unwrap();
            world.objects[1].operate();
            world.objects[1].leave(&current, inside);
        });
    }
}

/// One grace period for two doors that were closed before it. At most 3 preemptions.
#[test]
fn one_grace_period_for_two_doors() {
    for (second_used, backwards) in [(true, false), (false, false), (false, true)] {
        explore(Extent::Preemptions(3), &[SLOT, REFUSED], move |seen| {
            let world = World::new(Cpus::new(&[1, 1]).backwards(backwards), |current| {
                vec![
                    Object::registered(current, true),
                    Object::registered(current, second_used),
                ]
            });
            for index in [0, 1] {
                let seen = seen.clone();
                world.start(index + 1, index, move |world, current| {
                    access(&seen, &world.objects[index], current);
                });
            }
            let current = Current::new(&world.cpus, MAIN, 0);
            let used = world.objects.iter().map(|object| object.close(&current));
            if used.fold(false, |any, one| any | one) {
                current.grace_period();
            }
            for object in &world.objects {
                object.drain_and_end(&current);
                object.assert_ended();
            }
        });
    }
}

/// Each task knows exactly whether it is inside, also when it sees the slot of another one that was
/// its own before.
#[test]
fn is_inside() {
    explore(Extent::All, &[SLOT, COUNTED], |seen| {
        // The one who asks without being inside has used the slot before.
        let world = World::new(Cpus::new(&[1, 0]), |_| vec![Object::new()]);
        let main = Current::new(&world.cpus, MAIN, 0);
        world.object().register(&main).unwrap();
        access(seen, world.object(), &main);
        for number in [1, 2] {
            let seen = seen.clone();
            world.start(number, 0, move |world, current| {
                let inside = enter(&seen, world.object(), current).expect("the door is open");
                let with_slot = matches!(inside, Entered::Slot(_));
                assert_eq!(world.object().is_inside(current), with_slot);
                // On another CPU, so that the other one can have the slot at once.
                let elsewhere = Current::new(&world.cpus, number, 1);
                world.object().leave(&elsewhere, inside);
                assert!(!world.object().is_inside(current));
            });
        }
        assert!(!world.object().is_inside(&main));
    });
}
