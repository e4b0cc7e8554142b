// SPDX-License-Identifier: GPL-2.0

//! Registries: the races of story 4, each with both sides in the midst of it.

use super::*;

use crate::{
    attribute::Output,
    object::{
        Header,
        Registered,
        Structure, //
    },
    registry::Registry,
    waits, //
};

use kernel::{
    bindings,
    str::BStr,
    types::Opaque, //
};

/// Where a test holds a task up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nowhere.
    Nowhere,
    /// `bind` fails.
    Fails,
    /// The region is visible in sysfs, and its registration not complete.
    Visible,
    /// The same, until somebody waits for its end.
    VisibleUntilWaitedFor,
    /// Its door has just been closed, or that of the decoder.
    Wake,
    /// It is about to be removed from sysfs.
    Removal,
    /// What it has bound is being dropped.
    Drop,
}

/// What a test knows of the objects that it makes, and how it holds them up.
#[pin_data]
struct Watch {
    at: At,
    alive: Atomic<usize>,
    made: Atomic<usize>,
    errors: Atomic<usize>,
    /// Completed by the task that is held up.
    #[pin]
    reached: Completion,
    /// Completed to let it go on.
    #[pin]
    go_on: Completion,
}

impl Watch {
    fn new(at: At) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                at,
                alive: Atomic::new(0),
                made: Atomic::new(0),
                errors: Atomic::new(0),
                reached <- Completion::new(),
                go_on <- Completion::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn pass(&self, at: At) {
        if self.at == at {
            self.reached.complete_all();
            self.go_on.wait_for_completion();
        }
    }

    fn alive(&self) -> usize {
        self.alive.load(Acquire)
    }

    fn expect(&self, condition: bool) {
        if !condition {
            self.errors.fetch_add(1, Full);
        }
    }

    /// That nothing went wrong in other tasks, and what was made is gone.
    fn is_over(&self, made: usize) -> bool {
        self.errors.load(Acquire) == 0 && self.alive() == 0 && self.made.load(Acquire) == made
    }
}

/// What regions are created below.
struct Decoder;

#[pin_data]
struct DecoderBound {
    #[pin]
    regions: Registry<Region>,
}

impl object::Operations for Decoder {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Arc<Watch>;
    type Bound<'bound> = DecoderBound;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_test_decoder", c"holdfast-test-decoder");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<DecoderBound, Error> + 'bound {
        try_pin_init!(DecoderBound { regions <- Registry::new() }? Error)
    }

    fn wake(object: &Object<Self>) {
        object.pass(At::Wake);
    }
}

/// A device whose addition and removal can be held up.
#[repr(transparent)]
struct Gated(Opaque<bindings::device>);

// SAFETY: It is a `struct device`.
unsafe impl Structure for Gated {
    const DEVICE: usize = 0;

    unsafe fn add(this: *mut Self) -> Result {
        // SAFETY: By the safety requirements; only regions have this structure.
        unsafe {
            kernel::error::to_result(bindings::device_add(this.cast()))?;
            let region = Object::<Region>::from_header(Header::of_device(this.cast()));
            region.expect((*this.cast::<bindings::device>()).kobj.state_in_sysfs() != 0);
            region.pass(At::Visible);
            if region.at == At::VisibleUntilWaitedFor {
                until_waited_for(region);
            }
        }
        Ok(())
    }

    unsafe fn remove(this: *mut Self) {
        // SAFETY: By the safety requirements; only regions have this structure.
        unsafe {
            Object::<Region>::from_header(Header::of_device(this.cast())).pass(At::Removal);
            bindings::device_del(this.cast());
        }
    }
}

/// What is created and deleted.
struct Region;

struct RegionBound<'bound> {
    object: &'bound Object<Region>,
}

impl Drop for RegionBound<'_> {
    fn drop(&mut self) {
        self.object.pass(At::Drop);
        self.object.alive.fetch_sub(1, Full);
    }
}

impl object::Operations for Region {
    type Parent = Object<Decoder>;
    type Structure = Gated;
    type Data = Arc<Watch>;
    type Bound<'bound> = RegionBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_test_region", c"holdfast-region");

    fn bind<'bound>(
        object: &'bound Object<Self>,
        _decoder: Registered<'bound, Decoder>,
        _argument: (),
    ) -> impl PinInit<RegionBound<'bound>, Error> + 'bound {
        if object.at == At::Fails {
            return Err(EIO);
        }
        object.alive.fetch_add(1, Full);
        object.made.fetch_add(1, Full);
        Ok(RegionBound { object })
    }

    fn wake(object: &Object<Self>) {
        object.pass(At::Wake);
    }
}

const FIRST: &str = "holdfast-region0";

fn name(name: &str) -> &BStr {
    BStr::from_bytes(name.as_bytes())
}

fn decoder(device: &faux::Registration, watch: &Arc<Watch>) -> Result<Registration<Decoder>> {
    Unregistered::<Decoder>::new(Ok::<_, Error>(watch.clone()))?
        .register(device.as_ref().as_ref(), ())
}

fn create(decoder: &Object<Decoder>, watch: &Arc<Watch>) -> Result<ARef<Object<Region>>> {
    decoder.access(|access| {
        let data = Ok::<_, Error>(watch.clone());
        access.regions.create(access.registered(), data, ())
    })?
}

fn create_named(
    decoder: &Object<Decoder>,
    region: &str,
    watch: &Arc<Watch>,
) -> Result<ARef<Object<Region>>> {
    decoder.access(|access| {
        let data = Ok::<_, Error>(watch.clone());
        (access.regions).create_named(name(region), access.registered(), data, ())
    })?
}

fn get(decoder: &Object<Decoder>, region: &str) -> Result<ARef<Object<Region>>> {
    decoder.access(|access| access.regions.get(name(region)))?
}

fn delete(decoder: &Object<Decoder>, region: &str) -> Result {
    decoder.access(|access| access.regions.delete(name(region)))?
}

/// What a `create_*` attribute shows.
fn next(decoder: &Object<Decoder>) -> Result<KVec<u8>> {
    let mut page = KVec::from_elem(0, 64, GFP_KERNEL)?;
    let mut output = Output::new(&mut page);
    decoder.access(|access| access.regions.show_next(&mut output))??;
    let length = output.length();
    page.truncate(length);
    Ok(page)
}

fn yield_to_others() {
    // SAFETY: The tests run in tasks that may sleep.
    unsafe { bindings::schedule() };
}

/// Waits until somebody waits for the end of `object`.
fn until_waited_for<T: object::Operations>(object: &Object<T>) {
    while !waits::is_waited_for(&object.header().revocable) {
        yield_to_others();
    }
}

/// A delete against the unbind of the device below which the decoder is.
///
/// The deleter is inside of the decoder when the unbind begins. It deletes when the unbind has come
/// to where `decoder_at` or `region_at` holds that up.
fn delete_inside_unbind(decoder_at: At, region_at: At, expected: Result) -> Result {
    for _ in 0..rounds() {
        let device = parent()?;
        let (outer, inner) = (Watch::new(decoder_at)?, Watch::new(region_at)?);
        let decoder = decoder(&device, &outer)?;
        let region = create(&decoder, &inner)?;
        let other = Other::new()?;

        let task = (
            decoder.reference(),
            outer.clone(),
            inner.clone(),
            other.clone(),
        );
        spawn(move || {
            let (decoder, outer, inner, other) = task;
            let deleted = decoder.access(|access| {
                other.ready.complete_all();
                if outer.at == At::Wake {
                    outer.reached.wait_for_completion();
                } else {
                    inner.reached.wait_for_completion();
                }
                inner.expect(!access.object().is_registered());
                access.regions.delete(name(FIRST))
            });
            inner.expect(deleted == Ok(expected));
            outer.go_on.complete_all();
            inner.go_on.complete_all();
            other.done.complete_all();
        })?;

        other.ready.wait_for_completion();
        drop(device);
        assert_shared!(inner.alive() == 0);
        other.done.wait_for_completion();
        assert_shared!(inner.is_over(1));
        assert_shared!(region.unregister() == Ok(Outcome::AlreadyDone));
        assert_shared!(delete(&decoder, FIRST) == Err(ENODEV));
    }
    Ok(())
}

#[kunit_tests(holdfast_registry)]
mod registry_tests {
    use super::*;

    /// What was created can be found, and what was deleted cannot; a name can be used again.
    #[test]
    fn names() -> Result {
        let device = parent()?;
        let watch = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &watch)?;

        assert!(*next(&decoder)? == *b"holdfast-region0\n");
        assert!(get(&decoder, FIRST).err() == Some(ENODEV));
        let first = create_named(&decoder, FIRST, &watch)?;
        assert!(first.name().to_bytes() == FIRST.as_bytes());
        assert!(core::ptr::eq(&*get(&decoder, FIRST)?, &*first));
        let second = create(&decoder, &watch)?;
        assert!(second.name().to_bytes() == b"holdfast-region1");
        assert!(*next(&decoder)? == *b"holdfast-region2\n");
        // Its data can be looked at through this and through the registry.
        assert_eq!(first.header().typed_references(), 2);

        assert!(delete(&decoder, FIRST) == Ok(()));
        assert!(!first.is_registered() && second.is_registered());
        assert!(delete(&decoder, FIRST) == Err(ENODEV));
        assert!(get(&decoder, FIRST).err() == Some(ENODEV));
        assert_eq!(watch.alive(), 1);
        assert_eq!(first.header().typed_references(), 1);

        // At once, though there are references to the old one.
        assert!(*next(&decoder)? == *b"holdfast-region0\n");
        let again = create_named(&decoder, FIRST, &watch)?;
        assert!(!core::ptr::eq(&*again, &*first));
        let all = decoder.access(|access| {
            access
                .regions
                .iter()
                .map(|region| region.name().to_bytes() == FIRST.as_bytes())
                .eq([true, false])
        })?;
        assert!(all);

        drop(decoder);
        assert!(watch.is_over(3));
        Ok(())
    }

    /// One name for one object: nothing else is a name, and only the next one can be created.
    #[test]
    fn other_names() -> Result {
        let device = parent()?;
        let watch = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &watch)?;
        let _first = create(&decoder, &watch)?;

        for wrong in [
            "",
            "holdfast-region",
            "holdfast-region00",
            "holdfast-region+0",
            "holdfast-region0x0",
            "holdfast-region0 ",
            "holdfast-region18446744073709551616",
            "region0",
        ] {
            assert!(create_named(&decoder, wrong, &watch).err() == Some(EINVAL));
            assert!(get(&decoder, wrong).err() == Some(ENODEV));
            assert!(delete(&decoder, wrong) == Err(ENODEV));
        }
        for busy in [
            FIRST,
            "holdfast-region2",
            "holdfast-region18446744073709551615",
        ] {
            assert!(create_named(&decoder, busy, &watch).err() == Some(EBUSY));
        }
        drop(decoder);
        assert!(watch.is_over(1));
        Ok(())
    }

    /// A construction that fails leaves nothing, not even a name.
    #[test]
    fn failed_construction() -> Result {
        let device = parent()?;
        let (good, bad) = (Watch::new(At::Nowhere)?, Watch::new(At::Fails)?);
        let decoder = decoder(&device, &good)?;

        assert!(create(&decoder, &bad).err() == Some(EIO));
        assert!(delete(&decoder, FIRST) == Err(ENODEV));
        assert!(create(&decoder, &good)?.name().to_bytes() == FIRST.as_bytes());
        drop(decoder);
        assert!(good.is_over(1) && bad.is_over(0));
        Ok(())
    }

    /// An object that has ended by itself is not found, and its name can be used again.
    #[test]
    fn ended_otherwise() -> Result {
        let device = parent()?;
        let watch = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &watch)?;

        let first = create(&decoder, &watch)?;
        assert!(first.unregister() == Ok(Outcome::Done));
        assert!(get(&decoder, FIRST).err() == Some(ENODEV));
        let again = create_named(&decoder, FIRST, &watch)?;
        assert!(core::ptr::eq(&*get(&decoder, FIRST)?, &*again));

        assert!(again.unregister() == Ok(Outcome::Done));
        assert!(delete(&decoder, FIRST) == Err(ENODEV));
        drop(decoder);
        assert!(watch.is_over(2));
        assert_eq!(first.reference_count(), 1);
        Ok(())
    }

    /// A registry that a driver keeps ends what is in it.
    #[test]
    fn dropped_registry() -> Result {
        let device = parent()?;
        let script = Script::new()?;
        let registry = KBox::pin_init(Registry::<Subject>::new(), GFP_KERNEL)?;
        let make = |number| -> Result<_> {
            let data = Ok::<_, Error>(Data {
                number,
                script: Atomic::new(0),
            });
            registry.create(device.as_ref().as_ref(), data, script.clone())
        };
        let (first, second) = (make(1)?, make(2)?);
        assert_eq!(script.alive(), 2);
        assert_eq!(first.number, 1);

        drop(registry);
        assert_eq!(script.alive(), 0);
        assert!(second.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(first.reference_count(), 1);
        Ok(())
    }

    /// A name that was deleted answers `ENODEV` at once, while its object is still being taken
    /// apart, and is not given to another one before that is over.
    #[test]
    fn delete_during_delete() -> Result {
        let device = parent()?;
        let _class = Unregistered::<Region>::new(Ok::<_, Error>(Watch::new(At::Nowhere)?))?;
        let quick = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &quick)?;
        for _ in 0..rounds() {
            let watch = Watch::new(At::Drop)?;
            let region = create(&decoder, &watch)?;
            let first = "holdfast-region1";
            assert!(region.name().to_bytes() == first.as_bytes());
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                watch.expect(delete(&decoder, "holdfast-region1") == Ok(()));
                other.done.complete_all();
            })?;

            // The other task is in the midst of it, and stays there.
            watch.reached.wait_for_completion();
            assert!(delete(&decoder, first) == Err(ENODEV));
            assert!(get(&decoder, first).err() == Some(ENODEV));
            assert!(*next(&decoder)? == *b"holdfast-region2\n");
            assert!(create_named(&decoder, first, &quick).err() == Some(EBUSY));
            assert_eq!(watch.alive(), 1);

            watch.go_on.complete_all();
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// Race 1: of two who delete at the same instant, one does it and the other finds nothing.
    #[test]
    fn delete_against_delete() -> Result {
        let device = parent()?;
        let watch = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &watch)?;
        let mut ours_won = 0;
        let mut aim = Aim::new();
        for round in 0..rounds() {
            let pause = aim.pause(round);
            let region = create_named(&decoder, FIRST, &watch)?;
            let other = Other::new()?;

            let task = (decoder.reference(), other.clone());
            spawn(move || {
                let (decoder, other) = task;
                other.meet(pause);
                other.outcome.store(
                    match delete(&decoder, FIRST) {
                        Ok(()) => DONE,
                        Err(error) if error == ENODEV => ALREADY_DONE,
                        Err(_) => FAILED,
                    },
                    Release,
                );
                other.done.complete_all();
            })?;

            other.meet(0);
            let ours = delete(&decoder, FIRST);
            other.done.wait_for_completion();
            match ours {
                Ok(()) => {
                    ours_won += 1;
                    assert_eq!(other.outcome.load(Acquire), ALREADY_DONE);
                }
                Err(error) => {
                    assert!(error == ENODEV);
                    assert_eq!(other.outcome.load(Acquire), DONE);
                }
            }
            aim.adjust(pause, ours.is_err());
            assert!(!region.is_registered());
            assert!(watch.is_over(round + 1));
        }
        assert!(ours_won > 0 && ours_won < rounds());
        pr_info!(
            "delete_against_delete: {} rounds, {ours_won} won by the first of two tasks\n",
            rounds()
        );
        Ok(())
    }

    /// Race 2, the delete first: the unbind waits for it.
    #[test]
    fn unbind_during_delete() -> Result {
        for _ in 0..rounds() {
            let device = parent()?;
            let watch = Watch::new(At::Drop)?;
            let decoder = decoder(&device, &Watch::new(At::Nowhere)?)?;
            create(&decoder, &watch)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                watch.expect(delete(&decoder, FIRST) == Ok(()));
                other.done.complete_all();
            })?;
            watch.reached.wait_for_completion();

            // Let the delete go on when the unbind has closed the decoder's door.
            let task = (decoder.reference(), watch.clone());
            spawn(move || {
                let (decoder, watch) = task;
                while decoder.is_registered() {
                    yield_to_others();
                }
                watch.go_on.complete_all();
            })?;
            drop(device);
            assert_eq!(watch.alive(), 0);
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// Race 2, the unbind first, which has not come to the region: the delete does it.
    #[test]
    fn delete_before_unbind_claims() -> Result {
        delete_inside_unbind(At::Wake, At::Nowhere, Ok(()))
    }

    /// Race 2, the unbind first, which has claimed the region: the delete does not wait for it, as
    /// it waits for the delete.
    #[test]
    fn delete_after_unbind_claims() -> Result {
        delete_inside_unbind(At::Nowhere, At::Wake, Err(ENODEV))
    }

    /// Race 2, the unbind first, and nobody can tell that it waits for the delete: the task that
    /// deletes does it for another one, which is inside of the decoder.
    #[test]
    fn delete_for_somebody_inside() -> Result {
        for _ in 0..rounds() {
            let device = parent()?;
            let watch = Watch::new(At::Wake)?;
            let decoder = decoder(&device, &Watch::new(At::Nowhere)?)?;
            create(&decoder, &watch)?;
            let (other, helper) = (Other::new()?, Other::new()?);

            let task = (decoder.reference(), watch.clone(), other.clone(), helper);
            spawn(move || {
                let (decoder, watch, other, helper) = task;
                let entered = decoder.access(|access| {
                    other.ready.complete_all();
                    // The unbind has claimed the region.
                    watch.reached.wait_for_completion();

                    let registry = core::ptr::from_ref(&access.regions) as usize;
                    let task = (watch.clone(), helper.clone());
                    let spawned = spawn(move || {
                        let (watch, helper) = task;
                        // SAFETY: Who has lent it is inside of the decoder until this is done.
                        let registry = unsafe { &*(registry as *const Registry<Region>) };
                        watch.expect(registry.delete(name(FIRST)) == Err(ENODEV));
                        helper.done.complete_all();
                    });
                    match spawned {
                        Ok(()) => helper.done.wait_for_completion(),
                        Err(_) => watch.expect(false),
                    }
                });
                watch.expect(entered.is_ok());
                watch.go_on.complete_all();
                other.done.complete_all();
            })?;
            other.ready.wait_for_completion();
            drop(device);
            assert_eq!(watch.alive(), 0);
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// Race 2, at the same instant.
    #[test]
    fn delete_against_unbind() -> Result {
        let _class = Unregistered::<Decoder>::new(Ok::<_, Error>(Watch::new(At::Nowhere)?))?;
        let mut unbind_won = 0;
        let mut aim = Aim::new();
        for round in 0..rounds() {
            let pause = aim.pause(round);
            let device = parent()?;
            let watch = Watch::new(At::Nowhere)?;
            let decoder = decoder(&device, &watch)?;
            let region = create(&decoder, &watch)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                other.meet(pause);
                match delete(&decoder, FIRST) {
                    Ok(()) => watch.expect(watch.alive() == 0),
                    Err(error) => {
                        watch.expect(error == ENODEV);
                        other.outcome.store(ALREADY_DONE, Release);
                    }
                }
                other.done.complete_all();
            })?;

            other.meet(0);
            drop(device);
            assert_eq!(watch.alive(), 0);
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
            assert!(region.unregister() == Ok(Outcome::AlreadyDone));
            let unbind_was_first = other.outcome.load(Acquire) == ALREADY_DONE;
            unbind_won += usize::from(unbind_was_first);
            aim.adjust(pause, !unbind_was_first);
        }
        assert!(unbind_won > 0 && unbind_won < rounds());
        pr_info!(
            "delete_against_unbind: {} rounds, {unbind_won} won by the unbind\n",
            rounds()
        );
        Ok(())
    }

    /// Race 3: a region that is visible and not finished is deleted. The constructor takes back
    /// what it has made, and the delete returns after that.
    #[test]
    fn delete_during_construction() -> Result {
        let device = parent()?;
        let quick = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &quick)?;
        for _ in 0..rounds() {
            let watch = Watch::new(At::Visible)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                let created = create_named(&decoder, FIRST, &watch);
                watch.expect(created.err() == Some(ENODEV));
                other.done.complete_all();
            })?;
            watch.reached.wait_for_completion();

            // It is complete, whoever looks at it, though its constructor is not done.
            let region = get(&decoder, FIRST)?;
            assert!(region.access(|access| access.object.alive()) == Ok(1));

            // Let the constructor go on when the delete waits for it.
            let task = (region.clone(), watch.clone());
            spawn(move || {
                let (region, watch) = task;
                until_waited_for(&region);
                watch.go_on.complete_all();
            })?;
            assert!(delete(&decoder, FIRST) == Ok(()));
            assert_eq!(watch.alive(), 0);
            assert!(!region.is_registered());
            assert!(delete(&decoder, FIRST) == Err(ENODEV));
            assert!(*next(&decoder)? == *b"holdfast-region0\n");
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// The unbind while a region is visible and not finished.
    #[test]
    fn unbind_during_construction() -> Result {
        for _ in 0..rounds() {
            let device = parent()?;
            let watch = Watch::new(At::Visible)?;
            let decoder = decoder(&device, &Watch::new(At::Nowhere)?)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                let created = create_named(&decoder, FIRST, &watch);
                watch.expect(created.err() == Some(ENODEV));
                other.done.complete_all();
            })?;
            watch.reached.wait_for_completion();

            // Let the constructor go on when the unbind waits for it.
            let task = (get(&decoder, FIRST)?, watch.clone());
            spawn(move || {
                let (region, watch) = task;
                until_waited_for(&region);
                watch.go_on.complete_all();
            })?;
            drop(device);
            assert_eq!(watch.alive(), 0);
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// Somebody who deletes a region as soon as there is one. In every other round the construction
    /// goes on when the delete waits for it, so it loses; in the others they meet as they may.
    #[test]
    fn delete_against_construction() -> Result {
        let device = parent()?;
        let decoder = decoder(&device, &Watch::new(At::Nowhere)?)?;
        let mut refused = 0;
        for round in 0..rounds() {
            let loses = round % 2 == 1;
            let watch = Watch::new(match loses {
                true => At::VisibleUntilWaitedFor,
                false => At::Nowhere,
            })?;
            let other = Other::new()?;
            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                other.meet(pause(round / 2));
                // Until there is one.
                loop {
                    match delete(&decoder, FIRST) {
                        Ok(()) => break,
                        Err(error) => watch.expect(error == ENODEV),
                    }
                    yield_to_others();
                }
                watch.expect(watch.alive() == 0);
                other.done.complete_all();
            })?;

            other.meet(0);
            match create_named(&decoder, FIRST, &watch) {
                Ok(_) => assert!(!loses),
                Err(error) => {
                    assert!(error == ENODEV);
                    refused += 1;
                }
            }
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
            assert!(get(&decoder, FIRST).err() == Some(ENODEV));
        }
        pr_info!(
            "delete_against_construction: {} rounds, {refused} constructions lost, {} of them had \
             to\n",
            rounds(),
            rounds() / 2
        );
        assert!(refused > 0);
        Ok(())
    }

    /// A delete that comes through the old binding never ends the region of that name which the new
    /// one has made.
    #[test]
    fn delete_across_rebind() -> Result {
        let mut deleted = 0;
        for round in 0..rounds() {
            let watch = Watch::new(At::Nowhere)?;
            let first = parent()?;
            let old = decoder(&first, &watch)?;
            create(&old, &watch)?;
            let other = Other::new()?;

            // It deletes that name, again and again, until the test ends.
            let task = (old.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (old, watch, other) = task;
                other.meet(pause(round));
                while other.outcome.load(Acquire) == NONE {
                    match delete(&old, FIRST) {
                        Ok(()) => {
                            other.errors.fetch_add(1, Full);
                        }
                        Err(error) => watch.expect(error == ENODEV),
                    }
                    other.rounds.fetch_add(1, Full);
                    yield_to_others();
                }
                other.done.complete_all();
            })?;

            other.meet(0);
            drop(first);
            let second = parent()?;
            let new = decoder(&second, &watch)?;
            let region = create_named(&new, FIRST, &watch)?;
            // One that began after the new one was made, and has come to its end.
            let before = other.rounds.load(Acquire);
            while other.rounds.load(Acquire) < before + 2 {
                yield_to_others();
            }
            assert!(region.is_registered());
            other.outcome.store(DONE, Release);
            other.done.wait_for_completion();
            // What was the old one's was deleted, or ended with it.
            assert!(other.errors.load(Acquire) <= 1);
            deleted += other.errors.load(Acquire);
            drop(new);
            assert!(watch.is_over(2));
        }
        pr_info!(
            "delete_across_rebind: {} rounds, {deleted} deleted before the unbind\n",
            rounds()
        );
        Ok(())
    }

    /// A delete in a task that is being killed is done in full, though it has to wait.
    #[test]
    fn delete_while_killed() -> Result {
        let device = parent()?;
        let quick = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &quick)?;
        for _ in 0..rounds() {
            let watch = Watch::new(At::Wake)?;
            let region = create(&decoder, &watch)?;
            let other = Other::new()?;

            // Somebody inside, who has not left when the delete begins to wait for that.
            let task = (region.clone(), watch.clone(), other.clone());
            spawn(move || {
                let (region, watch, other) = task;
                let left = region.access(|access| {
                    other.ready.complete_all();
                    watch.reached.wait_for_completion();
                    watch.go_on.complete_all();
                    for _ in 0..10 {
                        yield_to_others();
                    }
                    // What is bound is still there.
                    access.object.alive() == 1
                });
                watch.expect(left == Ok(true));
                other.done.complete_all();
            })?;
            other.ready.wait_for_completion();

            // SAFETY: Called by the task of a test, which is a thread of the kernel.
            let killed = unsafe { crate::shims::holdfast_kunit_kill() };
            let deleted = delete(&decoder, FIRST);
            let (alive, ended) = (watch.alive(), !region.is_registered());
            // SAFETY: As above.
            let still_killed = unsafe { crate::shims::holdfast_kunit_revive() };

            assert!(killed && still_killed);
            assert!(deleted == Ok(()));
            assert!(alive == 0 && ended);
            other.done.wait_for_completion();
            assert!(watch.is_over(1));
        }
        Ok(())
    }

    /// Nothing can be created below a parent whose end has begun, and nothing is left of the
    /// attempt.
    #[test]
    fn create_below_dying_parent() -> Result {
        for _ in 0..rounds() {
            let device = parent()?;
            let (outer, watch) = (Watch::new(At::Wake)?, Watch::new(At::Nowhere)?);
            let decoder = decoder(&device, &outer)?;
            let other = Other::new()?;

            let task = (
                decoder.reference(),
                outer.clone(),
                watch.clone(),
                other.clone(),
            );
            spawn(move || {
                let (decoder, outer, watch, other) = task;
                let refused = decoder.access(|access| {
                    other.ready.complete_all();
                    outer.reached.wait_for_completion();
                    let data = Ok::<_, Error>(watch.clone());
                    let created = access.regions.create(access.registered(), data, ());
                    watch.expect(access.regions.iter().next().is_none());
                    watch.expect(access.regions.delete(name(FIRST)) == Err(ENODEV));
                    created.err()
                });
                watch.expect(refused == Ok(Some(ENODEV)));
                outer.go_on.complete_all();
                other.done.complete_all();
            })?;
            other.ready.wait_for_completion();
            drop(device);
            other.done.wait_for_completion();
            assert!(watch.is_over(0));
        }
        Ok(())
    }

    /// Creations at the same instant as the unbind: what was created has ended when that returns.
    #[test]
    fn create_against_unbind() -> Result {
        let _class = Unregistered::<Decoder>::new(Ok::<_, Error>(Watch::new(At::Nowhere)?))?;
        let (mut created, mut refused) = (0, 0);
        for round in 0..rounds() {
            let device = parent()?;
            let watch = Watch::new(At::Nowhere)?;
            let decoder = decoder(&device, &watch)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                other.meet(0);
                loop {
                    match create(&decoder, &watch) {
                        Ok(_) => {
                            other.rounds.fetch_add(1, Full);
                        }
                        Err(error) => {
                            watch.expect(error == ENODEV);
                            break;
                        }
                    }
                }
                other.done.complete_all();
            })?;

            other.meet(pause(round / 2));
            // In every other round they are at it when the unbind begins.
            while round % 2 == 1 && other.rounds.load(Acquire) == 0 {
                yield_to_others();
            }
            drop(device);
            assert_eq!(watch.alive(), 0);
            other.done.wait_for_completion();
            assert_eq!(watch.alive(), 0);
            assert_eq!(watch.errors.load(Acquire), 0);
            created += other.rounds.load(Acquire);
            refused += watch.made.load(Acquire) - other.rounds.load(Acquire);
        }
        pr_info!(
            "create_against_unbind: {} rounds, {created} created, {refused} taken back\n",
            rounds()
        );
        assert!(created > 0);
        Ok(())
    }

    /// While the files of a region are being removed, which waits for those who read them, a reader
    /// may look into the registry.
    #[test]
    fn look_during_removal() -> Result {
        let device = parent()?;
        let quick = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &quick)?;
        for _ in 0..rounds() {
            let watch = Watch::new(At::Removal)?;
            create(&decoder, &watch)?;
            let other = Other::new()?;

            let task = (decoder.reference(), watch.clone(), other.clone());
            spawn(move || {
                let (decoder, watch, other) = task;
                watch.reached.wait_for_completion();
                // The delete is where `device_del()` would wait for this.
                watch.expect(get(&decoder, FIRST).err() == Some(ENODEV));
                watch.expect(decoder.access(|access| access.regions.iter().count()) == Ok(0));
                let second = create(&decoder, &watch.clone());
                watch.expect(second.is_ok_and(|second| {
                    get(&decoder, "holdfast-region1")
                        .is_ok_and(|found| core::ptr::eq(&*found, &*second))
                }));
                watch.go_on.complete_all();
                other.done.complete_all();
            })?;
            assert!(delete(&decoder, FIRST) == Ok(()));
            other.done.wait_for_completion();
            assert!(delete(&decoder, "holdfast-region1") == Ok(()));
            assert!(watch.is_over(2));
        }
        Ok(())
    }

    /// Who is inside of a region can delete it, and it ends when they have left.
    #[test]
    fn delete_from_inside() -> Result {
        let device = parent()?;
        let watch = Watch::new(At::Nowhere)?;
        let decoder = decoder(&device, &watch)?;

        let region = create(&decoder, &watch)?;
        let inside = region.access(|access| {
            (
                delete(&decoder, FIRST),
                delete(&decoder, FIRST),
                access.object.alive(),
            )
        })?;
        assert!(inside == (Ok(()), Err(ENODEV), 1));
        while region.is_registered() {
            yield_to_others();
        }
        let _ = region.unregister();
        assert!(watch.is_over(1));
        Ok(())
    }
}
