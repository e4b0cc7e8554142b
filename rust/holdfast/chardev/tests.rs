// SPDX-License-Identifier: GPL-2.0

//! A KUnit suite over what the file operations do, without the VFS: that calls them in the
//! examples, and in the scenarios, which run in a virtual machine.

use super::*;

use crate::{
    class::Class,
    object::{
        Registration,
        Unregistered, //
    },
    tests::{
        parent,
        rounds,
        spawn, //
    }, //
};

use kernel::{
    device::{
        Bound,
        Device, //
    },
    faux,
    page::PAGE_SIZE,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        Completion, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// What happened to the files of a test.
#[derive(Default)]
struct Counts {
    opened: Counter,
    dropped: Counter,
    /// Files whose data was dropped after the bound data.
    late: Counter,
    bound: Counter,
    /// Not zero if the drop of a file's data is to take until after the registration has begun to
    /// end.
    slow: Counter,
    /// How many such drops have begun.
    dropping: Counter,
}

struct Counter(Atomic<usize>);

impl Default for Counter {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Counter {
    fn add(&self) {
        self.0.fetch_add(1, Full);
    }

    fn get(&self) -> usize {
        self.0.load(Acquire)
    }
}

impl Counts {
    fn new() -> Result<Arc<Self>> {
        Ok(Arc::new(Self::default(), GFP_KERNEL)?)
    }
}

struct Subject;

struct SubjectBound {
    counts: Arc<Counts>,
    pages: Pages,
}

impl Drop for SubjectBound {
    fn drop(&mut self) {
        self.counts.bound.add();
    }
}

struct SubjectFile {
    counts: Arc<Counts>,
    object: ARef<Object<Subject>>,
}

impl Drop for SubjectFile {
    fn drop(&mut self) {
        let counts = &self.counts;
        if counts.slow.get() != 0 {
            counts.dropping.add();
            until(|| !self.object.is_registered());
            // The chance to do what must not happen.
            for _ in 0..50 {
                fsleep(Delta::from_millis(1));
            }
        }
        counts.dropped.add();
        if counts.bound.get() != 0 {
            counts.late.add();
        }
    }
}

/// Waits until `condition` holds.
fn until(condition: impl Fn() -> bool) {
    while !condition() {
        fsleep(Delta::from_millis(1));
    }
}

impl object::Operations for Subject {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = SubjectBound;
    type Argument = Arc<Counts>;

    const CLASS: Class = Class::new(c"holdfast_test_file", c"holdfast-test-file");
    const CHARACTER_DEVICE: Option<Functions<Self>> = Some(Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        counts: Arc<Counts>,
    ) -> impl PinInit<SubjectBound, Error> + 'bound {
        Ok(SubjectBound {
            counts,
            pages: Pages::new(1)?,
        })
    }
}

#[vtable]
impl Operations for Subject {
    type File = SubjectFile;

    const STREAM: bool = true;

    fn open(access: &Access<'_, '_, Self>, _flags: Flags) -> Result<SubjectFile> {
        access.counts.opened.add();
        Ok(SubjectFile {
            counts: access.counts.clone(),
            object: access.object().into(),
        })
    }

    fn mmap(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _area: &Area,
    ) -> Result<Backing> {
        Ok(Backing::pages())
    }

    fn fault<'access>(
        access: &'access Access<'_, '_, Self>,
        _file: &'access Handle<'_, Self>,
        page: usize,
    ) -> Result<Memory<'access>> {
        access.pages.page(page)
    }
}

fn register(parent: &faux::Registration, counts: &Arc<Counts>) -> Result<Registration<Subject>> {
    Unregistered::<Subject>::new(())?.register(parent.as_ref().as_ref(), counts.clone())
}

/// Opens a file of `object`, as the VFS does.
fn open_one(object: &Object<Subject>) -> Result<Arc<OpenFile>> {
    let inode = KBox::init(
        pin_init::init_zeroed::<Opaque<bindings::inode>>(),
        GFP_KERNEL,
    )?;
    let file = KBox::init(
        pin_init::init_zeroed::<Opaque<bindings::file>>(),
        GFP_KERNEL,
    )?;
    // SAFETY: These are all that is used of a file: its flags and modes, and where its mapping is
    // to be. The file that the result is of is gone before that is dropped.
    unsafe { open_file(object.header(), inode.get(), file.get()) }
}

#[kunit_tests(holdfast_chardev)]
mod chardev_tests {
    use super::*;

    /// The data of a file is dropped when that is released.
    #[test]
    fn release_drops_data() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        let registration = register(&parent, &counts)?;

        let first = open_one(&registration)?;
        let second = open_one(&registration)?;
        assert_eq!(counts.opened.get(), 2);
        first.release();
        assert_eq!(counts.dropped.get(), 1);
        drop(first);
        second.release();
        assert_eq!(counts.dropped.get(), 2);
        Ok(())
    }

    /// The end of the registration drops the data of files that are open, before the bound data.
    #[test]
    fn end_drops_data() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        let registration = register(&parent, &counts)?;
        let reference = registration.reference();

        let first = open_one(&registration)?;
        let second = open_one(&registration)?;
        drop(registration);
        assert_eq!(counts.dropped.get(), 2);
        assert_eq!(counts.late.get(), 0);
        assert_eq!(counts.bound.get(), 1);

        // An open file keeps the memory of the object, and nothing else.
        drop(parent);
        assert_eq!(reference.reference_count(), 3);
        first.release();
        drop(first);
        drop(second);
        assert_eq!(reference.reference_count(), 1);
        assert_eq!(counts.dropped.get(), 2);
        Ok(())
    }

    /// After the end of the registration nothing is opened, and an open file does nothing.
    #[test]
    fn nothing_after_the_end() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        let registration = register(&parent, &counts)?;
        let reference = registration.reference();
        let file = open_one(&registration)?;
        assert!(file.inside(|_, _, _| Ok(7)) == Ok(7));

        drop(registration);
        assert!(file.inside(|_, _, _| Ok(7)) == Err(ENODEV));
        assert!(open_one(&reference).err() == Some(ENODEV));
        assert_eq!(counts.opened.get(), 1);
        Ok(())
    }

    /// The end of the registration waits for the drop of the data of a file that is being released.
    #[test]
    fn end_waits_for_release() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        let registration = register(&parent, &counts)?;
        let file = open_one(&registration)?;

        counts.slow.add();
        spawn(move || file.release())?;
        until(|| counts.dropping.get() != 0);
        drop(registration);
        assert_eq!(counts.dropped.get(), 1);
        assert_eq!(counts.late.get(), 0);
        Ok(())
    }

    /// Files that are released while the registration ends have their data dropped once, by either,
    /// and before the bound data.
    #[test]
    fn release_races_end() -> Result {
        const FILES: usize = 8;

        let parent = parent()?;
        let kept = register(&parent, &Counts::new()?)?;
        for _ in 0..rounds() {
            let counts = Counts::new()?;
            let registration = register(&parent, &counts)?;
            let mut files = KVec::with_capacity(FILES, GFP_KERNEL)?;
            for _ in 0..FILES {
                files.push(open_one(&registration)?, GFP_KERNEL)?;
            }

            let begun = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let (begin, finish) = (begun.clone(), done.clone());
            spawn(move || {
                begin.complete_all();
                for file in files {
                    file.release();
                }
                finish.complete_all();
            })?;
            begun.wait_for_completion();
            drop(registration);
            assert_eq!(counts.dropped.get(), FILES);
            assert_eq!(counts.late.get(), 0);
            done.wait_for_completion();
            assert_eq!(counts.dropped.get(), FILES);
        }
        drop(kept);
        Ok(())
    }

    /// Files that are opened while the registration ends are either refused, or ended with it.
    #[test]
    fn open_races_end() -> Result {
        let parent = parent()?;
        let kept = register(&parent, &Counts::new()?)?;
        for _ in 0..rounds() {
            let counts = Counts::new()?;
            let registration = register(&parent, &counts)?;
            let reference = registration.reference();

            let begun = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
            let (begin, finish) = (begun.clone(), done.clone());
            spawn(move || {
                begin.complete_all();
                while let Ok(file) = open_one(&reference) {
                    file.release();
                }
                finish.complete_all();
            })?;
            begun.wait_for_completion();
            drop(registration);
            let opened = counts.opened.get();
            assert_eq!(counts.dropped.get(), opened);
            assert_eq!(counts.late.get(), 0);
            done.wait_for_completion();
            assert_eq!(counts.opened.get(), opened);
        }
        drop(kept);
        Ok(())
    }

    /// What a task that waits inside the door came back with.
    struct Waited {
        result: Atomic<i32>,
    }

    /// Has a task wait inside the door until `condition` holds, and returns when it has asked for
    /// the first time.
    fn wait_elsewhere(
        registration: &Registration<Subject>,
        condition: impl Fn() -> bool + Send + 'static,
    ) -> Result<(Arc<Waited>, Arc<Completion>)> {
        let waited = Arc::new(
            Waited {
                result: Atomic::new(1),
            },
            GFP_KERNEL,
        )?;
        let asked = Arc::pin_init(Completion::new(), GFP_KERNEL)?;
        let done = Arc::pin_init(Completion::new(), GFP_KERNEL)?;

        let object = registration.reference();
        let (result, ask, finish) = (waited.clone(), asked.clone(), done.clone());
        spawn(move || {
            let answer = object.access(|access| {
                access.wait_until(|| {
                    let holds = condition();
                    ask.complete_all();
                    holds
                })
            });
            let answer = match answer {
                Ok(Ok(())) => 0,
                Ok(Err(error)) | Err(error) => error.to_errno(),
            };
            result.result.store(answer, kernel::sync::atomic::Release);
            finish.complete_all();
        })?;
        asked.wait_for_completion();
        Ok((waited, done))
    }

    /// The end of the registration wakes who waits inside the door, though nothing else does.
    #[test]
    fn end_wakes_waiter() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        for _ in 0..10 {
            let registration = register(&parent, &counts)?;
            let (waited, done) = wait_elsewhere(&registration, || false)?;
            drop(registration);
            done.wait_for_completion();
            assert!(waited.result.load(Acquire) == ENODEV.to_errno());
        }
        Ok(())
    }

    /// A wait ends when its condition holds and somebody says so.
    #[test]
    fn condition_wakes_waiter() -> Result {
        let parent = parent()?;
        let counts = Counts::new()?;
        let registration = register(&parent, &counts)?;
        let flag = Arc::new(Counter::default(), GFP_KERNEL)?;

        let condition = flag.clone();
        let (waited, done) = wait_elsewhere(&registration, move || condition.get() != 0)?;
        registration.wake_pollers(Events::READABLE);
        flag.add();
        registration.wake_pollers(Events::WRITABLE);
        done.wait_for_completion();
        assert!(waited.result.load(Acquire) == 0);
        Ok(())
    }

    /// Copies to and from pages cross their borders, and stay within their bounds.
    #[test]
    fn pages() -> Result {
        let pages = Pages::new(2)?;
        let mut bytes = [1; 4];
        pages.read(PAGE_SIZE - 2, &mut bytes)?;
        assert!(bytes == [0; 4]);
        pages.write(PAGE_SIZE - 2, &[1, 2, 3, 4])?;
        pages.read(PAGE_SIZE - 2, &mut bytes)?;
        assert!(bytes == [1, 2, 3, 4]);
        pages.read(PAGE_SIZE, &mut bytes)?;
        assert!(bytes == [3, 4, 0, 0]);
        pages.write(2 * PAGE_SIZE, &[])?;

        assert!(pages.write(2 * PAGE_SIZE - 3, &[0; 4]) == Err(EINVAL));
        assert!(pages.read(2 * PAGE_SIZE - 3, &mut bytes) == Err(EINVAL));
        assert!(pages.read(usize::MAX, &mut bytes) == Err(EINVAL));
        assert!(pages.page(1).is_ok() && pages.page(2).is_err());
        Ok(())
    }

    /// Words are stored where they belong, and only there.
    #[test]
    fn words() -> Result {
        let pages = Pages::new(2)?;
        pages.store(PAGE_SIZE + 4, 0x0102_0304)?;
        assert_eq!(pages.load(PAGE_SIZE + 4)?, 0x0102_0304);
        assert_eq!(pages.load(PAGE_SIZE)?, 0);
        assert_eq!(pages.load(PAGE_SIZE + 8)?, 0);
        let mut bytes = [0; 4];
        pages.read(PAGE_SIZE + 4, &mut bytes)?;
        assert_eq!(u32::from_ne_bytes(bytes), 0x0102_0304);

        assert!(pages.store(2, 0) == Err(EINVAL));
        assert!(pages.load(2 * PAGE_SIZE) == Err(EINVAL));
        Ok(())
    }
}
