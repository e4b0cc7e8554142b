// SPDX-License-Identifier: GPL-2.0

//! Attributes in sysfs, through the pointers that sysfs itself calls.

use super::*;

use crate::{
    attribute::{
        self,
        list,
        Attribute,
        Group,
        Output, //
    },
    waits, //
};

use core::ptr::NonNull;

use kernel::{
    bindings,
    page::PAGE_SIZE,
    str::{
        parse_int::ParseInt,
        BStr, //
    }, //
};

/// An object with attributes of every kind.
struct Described;

struct DescribedBound {
    value: Atomic<u32>,
    refused: Atomic<usize>,
}

impl Described {
    fn show_value(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        write!(output, "{}", access.value.load(Acquire))?;
        writeln!(output)
    }

    fn store_value(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
        access.value.store(u32::from_str(text)?, Release);
        Ok(())
    }

    fn show_long(_access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        for _ in 0..PAGE_SIZE {
            write!(output, "long")?;
        }
        output.push(b"and more");
        Ok(())
    }

    fn show_error(_access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        write!(output, "half of it")?;
        Err(EAGAIN)
    }

    fn store_end(access: &Access<'_, '_, Self>, _text: &BStr) -> Result {
        if access.object().unregister() == Err(EDEADLK) {
            access.refused.fetch_add(1, Full);
        }
        Ok(())
    }

    fn store_end_later(access: &Access<'_, '_, Self>, _text: &BStr) -> Result {
        access.object().unregister_deferred();
        Ok(())
    }
}

impl object::Operations for Described {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = DescribedBound;
    type Argument = u32;

    const CLASS: Class = Class::new(c"holdfast_described", c"holdfast-described");
    const ATTRIBUTES: attribute::Groups<Self> = list![
        Group::new(list![
            Attribute::read_write(c"value", Self::show_value, Self::store_value),
            Attribute::read_only(c"long", Self::show_long),
            Attribute::write_only(c"end", Self::store_end),
            Attribute::write_only(c"end_later", Self::store_end_later),
        ]),
        Group::named(
            c"more",
            list![
                Attribute::read_only(c"error", Self::show_error).admin_only(),
                Attribute::read_only(c"odd", Self::show_value).visible_if(|access| access
                    .value
                    .load(Acquire)
                    % 2
                    != 0),
            ]
        ),
    ];

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        value: u32,
    ) -> impl PinInit<DescribedBound, Error> + 'bound {
        Ok(DescribedBound {
            value: Atomic::new(value),
            refused: Atomic::new(0),
        })
    }
}

fn described(parent: &faux::Registration, value: u32) -> Result<Registration<Described>> {
    Unregistered::<Described>::new(Ok::<_, Error>(()))?.register(parent.as_ref().as_ref(), value)
}

fn device(object: &Object<Described>) -> *mut bindings::device {
    object.header().device()
}

/// The name of an attribute of an object, or `group/name`, as the driver core was told of it, and
/// what sysfs calls it by.
fn find(
    object: &Object<Described>,
    group: Option<&CStr>,
    name: &CStr,
) -> Result<NonNull<bindings::device_attribute>> {
    /// # Safety
    ///
    /// `name` must be null or a string.
    unsafe fn is(name: *const c_char, wanted: Option<&CStr>) -> bool {
        match wanted {
            // SAFETY: By the safety requirements.
            Some(wanted) => !name.is_null() && unsafe { CStr::from_char_ptr(name) } == wanted,
            None => name.is_null(),
        }
    }

    // SAFETY: The object is registered, so these are lists that end with null pointers, of static
    // structures and strings.
    unsafe {
        let mut groups = (*device(object)).groups;
        while !(*groups).is_null() {
            let mut attributes = (**groups).__bindgen_anon_2.attrs;
            while is((**groups).name, group) && !(*attributes).is_null() {
                if is((**attributes).name, Some(name)) {
                    return NonNull::new((*attributes).cast()).ok_or(ENOENT);
                }
                attributes = attributes.add(1);
            }
            groups = groups.add(1);
        }
    }
    Err(ENOENT)
}

/// What a read of the file gives, as sysfs does it: in a zeroed page.
fn show(
    object: &Object<Described>,
    attribute: NonNull<bindings::device_attribute>,
    page: &mut KVec<u8>,
) -> isize {
    page.fill(0);
    // SAFETY: The attribute and the device are one of this object, and it is a zeroed page.
    unsafe {
        (attribute.as_ref().__bindgen_anon_1.show).map_or(0, |show| {
            show(device(object), attribute.as_ptr(), page.as_mut_ptr().cast())
        })
    }
}

fn store(
    object: &Object<Described>,
    attribute: NonNull<bindings::device_attribute>,
    text: &[u8],
) -> isize {
    // SAFETY: The attribute and the device are one of this object.
    unsafe {
        (attribute.as_ref().__bindgen_anon_2.store).map_or(0, |store| {
            store(
                device(object),
                attribute.as_ptr(),
                text.as_ptr().cast(),
                text.len(),
            )
        })
    }
}

/// The mode of a file in the directory of an object, if it is there.
fn mode(object: &Object<Described>, directory: Option<&CStr>, name: &CStr) -> Option<u16> {
    /// # Safety
    ///
    /// As `kernfs_find_and_get_ns()` wants it; gives the reference to `parent` back.
    unsafe fn below(parent: *mut bindings::kernfs_node, name: &CStr) -> *mut bindings::kernfs_node {
        // SAFETY: By the safety requirements.
        unsafe {
            let found = if parent.is_null() {
                parent
            } else {
                bindings::kernfs_find_and_get_ns(parent, name.as_char_ptr(), core::ptr::null())
            };
            bindings::kernfs_put(parent);
            found
        }
    }

    // SAFETY: The directory is there while the object is registered, and null afterwards. A
    // reference is taken for the first step to give back.
    unsafe {
        let mut node = (*device(object)).kobj.sd;
        bindings::kernfs_get(node);
        if let Some(directory) = directory {
            node = below(node, directory);
        }
        node = below(node, name);
        let mode = (!node.is_null()).then(|| (*node).mode & 0o7777);
        bindings::kernfs_put(node);
        mode
    }
}

const PATTERN: u8 = 0xa5;

fn page() -> Result<KVec<u8>> {
    Ok(KVec::from_elem(0, PAGE_SIZE, GFP_KERNEL)?)
}

/// An error as sysfs gets it.
fn errno(error: Error) -> isize {
    error.to_errno() as isize
}

/// How many tasks are inside of a file of a [`Slow`] object.
static IN_FILE: Atomic<usize> = Atomic::new(0);

/// A structure whose removal waits for those inside of its files, as that of a device does.
#[repr(transparent)]
struct Slow(kernel::types::Opaque<bindings::device>);

// SAFETY: It is a `struct device`.
unsafe impl object::Structure for Slow {
    const DEVICE: usize = 0;

    unsafe fn remove(this: *mut Self) {
        while IN_FILE.load(Acquire) != 0 {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { bindings::schedule() };
        }
        // SAFETY: By the safety requirements.
        unsafe { bindings::device_del(this.cast()) };
    }
}

/// What holds up the end of a [`Root`].
#[pin_data]
struct Gate {
    #[pin]
    reached: Completion,
    #[pin]
    go_on: Completion,
    refused: Atomic<usize>,
}

/// An object whose end waits at a gate when its door has been closed.
struct Root;

impl object::Operations for Root {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Arc<Gate>;
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_root", c"holdfast-root");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<(), Error> + 'bound {
        Ok(())
    }

    fn wake(object: &Object<Self>) {
        object.reached.complete_all();
        object.go_on.wait_for_completion();
    }
}

/// An object below a [`Root`] whose removal is slow.
struct SlowLeaf;

impl object::Operations for SlowLeaf {
    type Parent = Object<Root>;
    type Structure = Slow;
    type Data = ();
    type Bound<'bound> = ();
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_slow", c"holdfast-slow");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: object::Registered<'bound, Root>,
        _argument: (),
    ) -> impl PinInit<(), Error> + 'bound {
        Ok(())
    }
}

/// An object that asks for the end of a [`Root`] when it ends.
struct Ender;

struct EnderBound(ARef<Object<Root>>);

impl Drop for EnderBound {
    fn drop(&mut self) {
        let _ = self.0.unregister();
    }
}

impl object::Operations for Ender {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = EnderBound;
    type Argument = ARef<Object<Root>>;

    const CLASS: Class = Class::new(c"holdfast_ender", c"holdfast-ender");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        root: ARef<Object<Root>>,
    ) -> impl PinInit<EnderBound, Error> + 'bound {
        Ok(EnderBound(root))
    }
}

/// Waits until somebody waits for the end of `object`.
fn until_waited_for<T: object::Operations>(object: &Object<T>) {
    while !waits::is_waited_for(&object.header().revocable) {
        // SAFETY: The tests run in tasks that may sleep.
        unsafe { bindings::schedule() };
    }
}

#[kunit_tests(holdfast_attribute)]
mod attribute_tests {
    use super::*;

    /// The mode follows from what can be done with an attribute, and is that of the file.
    #[test]
    fn modes() -> Result {
        let parent = parent()?;
        let object = described(&parent, 1)?;

        assert!(mode(&object, None, c"value") == Some(0o644));
        assert!(mode(&object, None, c"long") == Some(0o444));
        assert!(mode(&object, None, c"end") == Some(0o200));
        assert!(mode(&object, Some(c"more"), c"error") == Some(0o400));
        // What cannot be done has no function either.
        let (long, end) = (find(&object, None, c"long")?, find(&object, None, c"end")?);
        // SAFETY: They are attributes.
        unsafe {
            assert!(long.as_ref().__bindgen_anon_2.store.is_none());
            assert!(end.as_ref().__bindgen_anon_1.show.is_none());
        }
        Ok(())
    }

    /// A file is there if the object is to have it; nothing else is.
    #[test]
    fn visibility() -> Result {
        let parent = parent()?;
        let odd = described(&parent, 1)?;
        let even = described(&parent, 2)?;

        assert!(mode(&odd, Some(c"more"), c"odd") == Some(0o444));
        assert!(mode(&even, Some(c"more"), c"odd").is_none());
        assert!(mode(&even, Some(c"more"), c"error").is_some());
        assert!(mode(&even, None, c"error").is_none());
        assert!(find(&even, None, c"error").is_err());
        Ok(())
    }

    /// What is stored can be shown; a newline at the end is not the driver's business, and an
    /// error is what the system call returns.
    #[test]
    fn show_and_store() -> Result {
        let parent = parent()?;
        let object = described(&parent, 7)?;
        let other = described(&parent, 8)?;
        let mut page = page()?;

        let value = find(&object, None, c"value")?;
        assert_eq!(show(&object, value, &mut page), 2);
        assert!(page.starts_with(b"7\n\0"));
        assert_eq!(store(&object, value, b"0x1234\n"), 7);
        assert_eq!(show(&object, value, &mut page), 5);
        assert!(page.starts_with(b"4660\n\0"));
        assert_eq!(store(&object, value, b"65"), 2);
        assert_eq!(store(&object, value, b"66\n\n"), errno(EINVAL));
        assert_eq!(store(&object, value, b"\n"), errno(EINVAL));
        assert_eq!(store(&object, value, b""), errno(EINVAL));
        assert_eq!(show(&object, value, &mut page), 3);
        assert!(page.starts_with(b"65\n\0"));
        // Objects share the attributes, and nothing else.
        assert_eq!(show(&other, value, &mut page), 2);
        assert!(page.starts_with(b"8\n\0"));

        let error = find(&object, Some(c"more"), c"error")?;
        assert_eq!(show(&object, error, &mut page), errno(EAGAIN));
        Ok(())
    }

    /// What is too long is cut, with room for a NUL, and nothing is written behind the page.
    #[test]
    fn too_long() -> Result {
        let parent = parent()?;
        let object = described(&parent, 7)?;
        let mut page = page()?;
        page.extend_with(64, PATTERN, GFP_KERNEL)?;

        let long = find(&object, None, c"long")?;
        let show_in_page = |page: &mut KVec<u8>| {
            page[..PAGE_SIZE].fill(0);
            // SAFETY: As in `show`.
            unsafe {
                (long.as_ref().__bindgen_anon_1.show).map_or(0, |show| {
                    show(device(&object), long.as_ptr(), page.as_mut_ptr().cast())
                })
            }
        };
        assert_eq!(show_in_page(&mut page), PAGE_SIZE as isize - 1);
        assert!(page[..PAGE_SIZE - 1]
            .chunks(4)
            .all(|text| b"long".starts_with(text)));
        assert_eq!(page[PAGE_SIZE - 1], 0);
        assert!(page[PAGE_SIZE..].iter().all(|byte| *byte == PATTERN));
        Ok(())
    }

    /// After the end the driver is not called; the files are gone, and nothing points to the
    /// attributes, which the driver's module takes with it.
    #[test]
    fn after_the_end() -> Result {
        let parent = parent()?;
        let registration = described(&parent, 7)?;
        let object = registration.reference();
        let mut page = page()?;

        let value = find(&object, None, c"value")?;
        drop(registration);
        assert_eq!(show(&object, value, &mut page), errno(ENODEV));
        assert!(page.iter().all(|byte| *byte == 0));
        assert_eq!(store(&object, value, b"1\n"), errno(ENODEV));
        assert!(mode(&object, None, c"value").is_none());
        // SAFETY: Nobody else uses the object.
        assert!(unsafe { (*device(&object)).groups }.is_null());
        Ok(())
    }

    /// An attribute cannot wait for the end of its own object, but can ask for it.
    #[test]
    fn ends_its_own_object() -> Result {
        let parent = parent()?;
        let registration = described(&parent, 7)?;

        let end = find(&registration, None, c"end")?;
        assert_eq!(store(&registration, end, b"1"), 1);
        assert_eq!(
            registration.access(|access| access.refused.load(Acquire))?,
            1
        );
        assert!(registration.is_registered());

        let end = find(&registration, None, c"end_later")?;
        assert_eq!(store(&registration, end, b"1"), 1);
        while registration.is_registered() {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { bindings::schedule() };
        }
        assert!(registration.unregister() == Ok(Outcome::AlreadyDone));
        assert_eq!(store(&registration, end, b"1"), errno(ENODEV));
        Ok(())
    }

    /// A store that waits, through another task, for the one that is about to remove its file, is
    /// told so before that waits for the store.
    #[test]
    fn removal_waits_for_store() -> Result {
        let device = parent()?;
        let gate = Arc::pin_init(
            pin_init!(Gate {
                reached <- Completion::new(),
                go_on <- Completion::new(),
                refused: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let finished = [Other::new()?, Other::new()?, Other::new()?];

        let root = Unregistered::<Root>::new(Ok::<_, Error>(gate.clone()))?
            .register(device.as_ref().as_ref(), ())?;
        let leaf = Unregistered::<SlowLeaf>::new(Ok::<_, Error>(()))?;
        let leaf = root.access(|root| leaf.register(root.registered(), ()))??;
        let ender = Unregistered::<Ender>::new(Ok::<_, Error>(()))?
            .register(device.as_ref().as_ref(), root.reference())?;

        // The first task begins to end the root, and has not come to the leaf.
        let task = (root.reference(), finished[0].clone());
        spawn(move || {
            let _ = task.0.unregister();
            task.1.done.complete_all();
        })?;
        gate.reached.wait_for_completion();

        // The second ends another object, and waits for the first.
        let task = (ender.reference(), finished[1].clone());
        spawn(move || {
            let _ = task.0.unregister();
            task.1.done.complete_all();
        })?;
        until_waited_for(&root);

        // The third is in a file of the leaf, and waits for the second.
        let task = (leaf.reference(), ender.reference(), finished[2].clone());
        let counts = gate.clone();
        IN_FILE.fetch_add(1, Full);
        spawn(move || {
            let (leaf, ender, finished) = task;
            if leaf.access(|_| ender.unregister()) == Ok(Err(EDEADLK)) {
                counts.refused.fetch_add(1, Full);
            }
            IN_FILE.fetch_sub(1, Full);
            finished.done.complete_all();
        })?;
        // It is refused at once, or when the first goes on.
        while gate.refused.load(Acquire) == 0 && !waits::is_waited_for(&ender.header().revocable) {
            // SAFETY: The tests run in tasks that may sleep.
            unsafe { bindings::schedule() };
        }

        // The first goes on, and would wait for the third.
        gate.go_on.complete_all();
        for task in &finished {
            task.done.wait_for_completion();
        }
        assert_eq!(gate.refused.load(Acquire), 1);
        assert!(!root.is_registered() && !leaf.is_registered() && !ender.is_registered());
        Ok(())
    }
}
