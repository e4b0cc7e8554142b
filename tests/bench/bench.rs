// SPDX-License-Identifier: GPL-2.0

//! What `make bench` measures, of the library and of the kernel's own Rust.
//!
//! The library is used here as a driver uses it. `unsafe` is what talks to the C part, which has
//! the clock, the other CPU and the open files (`measure.c`) and what the library is compared with
//! (`peers.c`). What is measured in a loop is a function of its own with a name, so that its object
//! code can be looked at, too; each returns what it has found, in C as here.

use holdfast::{
    chardev::{
        self,
        Flags,
        Handle, //
    },
    class::Class,
    managed::{
        self,
        Managed, //
    },
    object::{
        self,
        Access,
        Object,
        Registered,
        Registration,
        Unregistered, //
    }, //
};

#[cfg(all(CONFIG_PCI, not(CONFIG_UML)))]
use holdfast::pci::{
    RescanLock,
    Unlocked, //
};

use kernel::{
    bindings,
    device::{
        Bound,
        Device, //
    },
    devres::Devres,
    error::to_result,
    faux,
    iov::IovIterDest,
    prelude::*,
    revocable::Revocable,
    sync::Completion, //
};

/// An operation, as the C part calls it.
type Once = unsafe extern "C" fn(*mut c_void) -> u32;

// Declared in `bench.h`.
extern "C" {
    fn holdfast_bench_run() -> c_int;
    fn holdfast_bench_measure(
        row: *const c_char,
        who: *const c_char,
        once: Once,
        data: *mut c_void,
        atomic: bool,
    );
    fn holdfast_bench_now() -> u64;
    fn holdfast_bench_report(
        row: *const c_char,
        who: *const c_char,
        n: c_uint,
        count: c_uint,
        values: *const u64,
        length: c_uint,
    );
    fn holdfast_bench_wants(part: *const c_char) -> bool;
    fn holdfast_bench_busy_begin(once: Once, data: *mut c_void) -> *mut c_void;
    fn holdfast_bench_busy_end(busy: *mut c_void);
    fn holdfast_bench_stuck_begin(once: Once, data: *mut c_void) -> *mut c_void;
    fn holdfast_bench_stuck_end(task: *mut c_void);
    fn holdfast_bench_stuck_wait();
    fn holdfast_bench_files_open(
        devt: bindings::dev_t,
        n: c_uint,
        blocked: bool, //
    ) -> *mut c_void;
    fn holdfast_bench_files_close(files: *mut c_void);
    fn holdfast_bench_devt(device: *const c_void) -> bindings::dev_t;
    fn holdfast_bench_sizeof_srcu() -> usize;
    fn holdfast_bench_sizeof_srcu_percpu() -> usize;
}

/// The same function, for a caller that knows no types.
fn erased<T>(once: extern "C" fn(&T) -> u32) -> Once {
    // SAFETY: A reference is passed as a pointer is. Whoever calls it has to give a valid one.
    unsafe { core::mem::transmute::<extern "C" fn(&T) -> u32, Once>(once) }
}

fn pointer<T>(target: &T) -> *mut c_void {
    core::ptr::from_ref(target).cast_mut().cast()
}

/// Measures `once`, which does not sleep.
fn measure<T>(row: &CStr, who: &CStr, target: &T, once: extern "C" fn(&T) -> u32) {
    // SAFETY: The function gets a reference to the target, for as long as this runs. The strings
    // are printed.
    unsafe {
        holdfast_bench_measure(
            row.as_char_ptr(),
            who.as_char_ptr(),
            erased(once),
            pointer(target),
            true,
        )
    };
}

/// The same, while another CPU does it, too.
fn measure_contended<T: Sync>(who: &CStr, target: &T, once: extern "C" fn(&T) -> u32) {
    // SAFETY: As in `measure`; the other task is gone when this returns.
    unsafe {
        let busy = holdfast_bench_busy_begin(erased(once), pointer(target));
        if !busy.is_null() {
            measure(c"access-contended", who, target, once);
            holdfast_bench_busy_end(busy);
        }
    }
}

fn now() -> u64 {
    // SAFETY: May be called anywhere.
    unsafe { holdfast_bench_now() }
}

/// What something takes.
fn time(what: impl FnOnce()) -> u64 {
    let begin = now();
    what();
    now() - begin
}

fn wants(part: &CStr) -> bool {
    // SAFETY: It is a string.
    unsafe { holdfast_bench_wants(part.as_char_ptr()) }
}

fn report_of(row: &CStr, who: &CStr, n: usize, count: usize, values: &[u64]) {
    // SAFETY: The values are there, and copied.
    unsafe {
        holdfast_bench_report(
            row.as_char_ptr(),
            who.as_char_ptr(),
            n as c_uint,
            count as c_uint,
            values.as_ptr(),
            values.len() as c_uint,
        )
    };
}

fn report(row: &CStr, who: &CStr, n: usize, value: u64) {
    report_of(row, who, n, 1, &[value]);
}

/// What can be reached in an object, and is compared with the same elsewhere.
struct Value {
    value: u32,
}

impl Value {
    const fn new() -> Self {
        Self { value: 1 }
    }
}

/// An object with something in it.
struct Lamp;

impl object::Operations for Lamp {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = Value;
    type Argument = ();
    const CLASS: Class = Class::new(c"holdfast_bench_lamp", c"holdfast-bench-lamp");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Value, Error> + 'bound {
        Ok(Value::new())
    }
}

impl Lamp {
    fn register(device: &Device<Bound>) -> Result<Registration<Self>> {
        Unregistered::<Self>::new(())?.register(device, ())
    }
}

/// An object below that.
struct Bulb;

impl object::Operations for Bulb {
    type Parent = Object<Lamp>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();
    const CLASS: Class = Class::new(c"holdfast_bench_bulb", c"holdfast-bench-bulb");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _lamp: Registered<'bound, Lamp>,
        _argument: (),
    ) -> impl PinInit<(), Error> + 'bound {
        Ok(())
    }
}

/// An object with a character device, on which a reader sleeps.
struct Node;

impl object::Operations for Node {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();
    const CLASS: Class = Class::new(c"holdfast_bench_node", c"holdfast-bench-node");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<(), Error> + 'bound {
        Ok(())
    }
}

#[vtable]
impl chardev::Operations for Node {
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result {
        Ok(())
    }

    fn read(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        file.wait_for(access, || None)
    }
}

/// The door of an object.
#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_access(lamp: &Object<Lamp>) -> u32 {
    lamp.access(|lamp| lamp.value).unwrap_or(0)
}

/// The door of a managed value.
#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_managed(value: &managed::Handle<Value>) -> u32 {
    value.access(|value| value.value).unwrap_or(0)
}

/// The door in atomic context.
#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_access_atomic(lamp: &Object<Lamp>) -> u32 {
    lamp.access_atomic(|lamp| lamp.value).unwrap_or(0)
}

/// Inside, where nothing is checked any more.
#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_bound(lamp: &Access<'_, '_, Lamp>) -> u32 {
    lamp.value
}

/// What a reference to it would be.
struct Held<'a>(&'a Value);

#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_plain(held: &Held<'_>) -> u32 {
    held.0.value
}

#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_revocable(value: &Revocable<Value>) -> u32 {
    value.try_access_with(|value| value.value).unwrap_or(0)
}

#[no_mangle]
#[inline(never)]
extern "C" fn holdfast_bench_devres(value: &Devres<Value>) -> u32 {
    value.try_access_with(|value| value.value).unwrap_or(0)
}

/// Stays inside of an object until it is let go.
extern "C" fn stay(lamp: &Object<Lamp>) -> u32 {
    lamp.access(|lamp| {
        // SAFETY: There is one who is stuck at most.
        unsafe { holdfast_bench_stuck_wait() };
        lamp.value
    })
    .unwrap_or(0)
}

fn measure_access(device: &Device<Bound>) -> Result {
    let lamp = Lamp::register(device)?;
    let managed = Managed::<Value>::new(device, Value::new())?;
    let handle = managed.handle();
    let revocable = KBox::pin_init(Revocable::new(Value::new()), GFP_KERNEL)?;
    let devres = Devres::new(device, Value::new())?;

    measure(c"access", c"ours", &*lamp, holdfast_bench_access);
    measure(c"access", c"ours-managed", &handle, holdfast_bench_managed);
    measure(
        c"access-atomic",
        c"ours",
        &*lamp,
        holdfast_bench_access_atomic,
    );
    measure(
        c"access-atomic",
        c"Revocable",
        &*revocable,
        holdfast_bench_revocable,
    );
    measure(c"access-atomic", c"Devres", &devres, holdfast_bench_devres);
    lamp.access(|access| measure(c"bound", c"ours", access, holdfast_bench_bound))?;
    let value = Value::new();
    measure(c"bound", c"plain", &Held(&value), holdfast_bench_plain);

    if wants(c"times") {
        measure_contended(c"ours", &*lamp, holdfast_bench_access);
        measure_contended(c"Revocable", &*revocable, holdfast_bench_revocable);
    }
    Ok(())
}

/// Allocation and registration of an object, and its end.
fn measure_object(device: &Device<Bound>) -> Result {
    // Few in a round, so that most rounds have no tick in them, and enough rounds for some in
    // which the allocator does nothing but hand out what it has just got back.
    const COUNT: usize = 4;
    const ROUNDS: usize = 31;

    // Keeps the class, as the other side keeps its own.
    let _first = Lamp::register(device)?;
    let mut values = KVec::new();
    for _ in 0..ROUNDS {
        let begin = now();
        for _ in 0..COUNT {
            drop(Lamp::register(device)?);
        }
        values.push(now() - begin, GFP_KERNEL)?;
    }
    report_of(c"object", c"ours", 1, COUNT, &values);
    Ok(())
}

/// Many objects below one. The allocator has pages at hand in some of the rounds.
fn measure_many(device: &Device<Bound>) -> Result {
    let rounds = [(1000, 10), (3000, 6), (10_000, 5)];
    for n in (rounds.into_iter()).flat_map(|(n, rounds)| core::iter::repeat_n(n, rounds)) {
        let lamp = Lamp::register(device)?;
        let mut bulbs = KVVec::<Registration<Bulb>>::with_capacity(n, GFP_KERNEL)?;
        let mut result = Ok(());
        let took = time(|| {
            result = lamp
                .access(|lamp| {
                    for _ in 0..n {
                        let bulb = Unregistered::<Bulb>::new(())?;
                        bulbs.push(bulb.register(lamp.registered(), ())?, GFP_KERNEL)?;
                    }
                    Ok(())
                })
                .flatten();
        });
        result?;
        report(c"many-register", c"ours", n, took);
        let took = time(|| {
            result = lamp.unregister().map(|_| ());
            bulbs.clear();
        });
        result?;
        report(c"many-end", c"ours", n, took);
    }
    Ok(())
}

/// The unbind of a device to which `made` has bound `n` things, each of which was used.
fn unbind<T>(
    who: &CStr,
    n: usize,
    made: impl Fn(&Device<Bound>) -> Result<T>, //
) -> Result {
    let device = faux::Registration::new(c"holdfast-bench-unbind", None)?;
    let mut things = KVVec::with_capacity(n, GFP_KERNEL)?;
    for _ in 0..n {
        things.push(made(device.as_ref().as_ref())?, GFP_KERNEL)?;
    }
    let took = time(|| drop(device));
    report(c"unbind", who, n, took);
    Ok(())
}

fn measure_unbind() -> Result {
    for n in [1, 10, 100, 1000] {
        for _ in 0..5 {
            unbind(c"ours", n, |device| {
                let value = Managed::<Value>::new(device, Value::new())?;
                value.access(|_| ())?;
                Ok(value)
            })?;
            unbind(c"ours-objects", n, |device| {
                let lamp = Lamp::register(device)?;
                lamp.access(|_| ())?;
                Ok(lamp)
            })?;
        }
        // Each of them takes a grace period: a thousand of them take many seconds.
        for _ in 0..if n > 10 { 1 } else { 5 } {
            unbind(c"Devres", n, |device| Devres::new(device, Value::new()))?;
        }
    }
    Ok(())
}

/// The end of an object with open files.
fn measure_files(device: &Device<Bound>) -> Result {
    for n in [0, 10, 100, 1000] {
        for blocked in [false, true] {
            for _ in 0..5 {
                let node = Unregistered::<Node>::new(())?.register(device, ())?;
                let raw: &Device = (*node).as_ref();
                // SAFETY: `Device` is a transparent wrapper of the structure. The files are closed
                // below, when their device has been unregistered.
                let files = unsafe {
                    holdfast_bench_files_open(
                        holdfast_bench_devt(core::ptr::from_ref(raw).cast()),
                        n as c_uint,
                        blocked,
                    )
                };
                if files.is_null() {
                    return Err(ENOMEM);
                }
                let mut outcome = Err(EIO);
                let took = time(|| outcome = node.unregister());
                // SAFETY: Opened above, and closed once.
                unsafe { holdfast_bench_files_close(files) };
                outcome?;
                let row = if blocked {
                    c"files-blocked"
                } else {
                    c"files-idle"
                };
                report(row, c"ours", n, took);
            }
        }
    }
    Ok(())
}

/// What somebody who is stuck in one object delays: the end of another one.
fn measure_stuck(device: &Device<Bound>) -> Result {
    let (stuck, first, second) = (
        Lamp::register(device)?,
        Lamp::register(device)?,
        Lamp::register(device)?,
    );
    // Who was never entered ends without a grace period.
    first.access(|_| ())?;
    second.access(|_| ())?;

    let mut outcome = Err(EIO);
    let took = time(|| outcome = first.unregister());
    outcome?;
    report(c"stuck", c"ours", 0, took);

    // SAFETY: The task is gone before the object is.
    let task = unsafe { holdfast_bench_stuck_begin(erased(stay), pointer(&*stuck)) };
    if task.is_null() {
        return Err(ENOMEM);
    }
    let took = time(|| outcome = second.unregister());
    // SAFETY: Begun above.
    unsafe { holdfast_bench_stuck_end(task) };
    outcome?;
    report(c"stuck", c"ours", 1, took);
    Ok(())
}

/// What an object takes of memory beyond its C structure and the data of the driver.
fn measure_bytes() {
    let ours = size_of::<Object<Bulb>>() - size_of::<bindings::device>();
    report(c"bytes", c"ours", 0, ours as u64);

    // Its parts, since the structure is private: what devres needs, the reference count of the
    // allocation, the completion, the flag before the data, and what its owner has.
    let devres = size_of::<bindings::devres_node>()
        + size_of::<usize>()
        + size_of::<Completion>()
        + (size_of::<Revocable<usize>>() - size_of::<usize>())
        + size_of::<Devres<usize>>();
    report(c"bytes", c"Devres", 0, devres as u64);
    // SAFETY: May be called anywhere.
    let (srcu, per_cpu) = unsafe {
        (
            holdfast_bench_sizeof_srcu(),
            holdfast_bench_sizeof_srcu_percpu(),
        )
    };
    report(c"bytes", c"srcu", 0, srcu as u64);
    report(c"bytes-per-cpu", c"ours", 0, 0);
    report(c"bytes-per-cpu", c"srcu", 0, per_cpu as u64);
}

#[cfg(all(CONFIG_PCI, not(CONFIG_UML)))]
mod rescan {
    use super::*;

    #[no_mangle]
    #[inline(never)]
    extern "C" fn holdfast_bench_rescan_first(unlocked: &mut Unlocked) -> u32 {
        RescanLock::with(unlocked, |_lock| 1).unwrap_or(0)
    }

    #[no_mangle]
    #[inline(never)]
    extern "C" fn holdfast_bench_rescan_again(lock: &RescanLock) -> u32 {
        RescanLock::with(lock, |_lock| 1).unwrap_or(0)
    }

    pub(super) fn measure_all() -> Result {
        // SAFETY: This task is the one that loads the module, or boots: it holds no such lock, is
        // inside of nothing, and nobody who holds one waits for it.
        let mut unlocked = unsafe { Unlocked::new() };
        // SAFETY: As in `measure`, and the reference is exclusive.
        unsafe {
            holdfast_bench_measure(
                c"rescan-first".as_char_ptr(),
                c"ours".as_char_ptr(),
                core::mem::transmute::<extern "C" fn(&mut Unlocked) -> u32, Once>(
                    holdfast_bench_rescan_first,
                ),
                core::ptr::from_mut(&mut unlocked).cast(),
                true,
            )
        };
        RescanLock::with(&mut unlocked, |lock| {
            measure(
                c"rescan-again",
                c"ours",
                lock,
                holdfast_bench_rescan_again, //
            )
        })
    }
}

fn measure_all() -> Result {
    let device = faux::Registration::new(c"holdfast-bench", None)?;
    let device: &Device<Bound> = device.as_ref().as_ref();

    measure_bytes();
    measure_access(device)?;
    #[cfg(all(CONFIG_PCI, not(CONFIG_UML)))]
    rescan::measure_all()?;
    measure_object(device)?;
    measure_many(device)?;
    if wants(c"times") {
        measure_stuck(device)?;
        measure_files(device)?;
        measure_unbind()?;
    }
    Ok(())
}

/// The part of the Rust side. Called by the C part.
#[no_mangle]
extern "C" fn holdfast_bench_ours() -> c_int {
    match measure_all() {
        Ok(()) => 0,
        Err(error) => error.to_errno(),
    }
}

/// Measures when it is loaded. Built in, the C part does it, at the end of the boot.
struct Bench;

impl kernel::Module for Bench {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        if cfg!(MODULE) {
            // SAFETY: Called once.
            to_result(unsafe { holdfast_bench_run() })?;
        }
        Ok(Self)
    }
}

module! {
    type: Bench,
    name: "holdfast_bench",
    authors: ["The Holdfast authors"],
    description: "Test: measures Holdfast and what it is compared with",
    license: "GPL",
}
