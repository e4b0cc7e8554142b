// SPDX-License-Identifier: GPL-2.0

//! Objects that user space creates and deletes by name.
//!
//! A [`Registry`] is what an object, or a driver, keeps of the objects below it that it has made
//! because somebody asked for them. Its functions are what the attributes `create_*` and `delete_*`
//! of that object call.
//!
//! # Whose an object is
//!
//! An object is in the registry under its name from before anybody can see it. Whoever takes it out
//! of there, under a lock that is held for that alone, and nobody else, asks for its end by that
//! name. So:
//!
//! - of any number of deletes of a name one does it, and the others find no such name, at once;
//! - a delete and the end of the parent both ask for the end of the object, and
//!   [one of them does it](crate::object#the-end-of-a-registration). The end of the parent waits
//!   for the delete; a delete that comes second does not wait;
//! - a delete while the object is being constructed takes it out, too. The constructor learns of it
//!   before it is done, takes back all that it has made, and returns [`ENODEV`]; the delete returns
//!   after that;
//! - a name that is used again, for another object or below another parent, is not what an old
//!   delete has found: that has the object, and looks for no name any more;
//! - the end of the parent refuses what is being created, and waits for it. What was created has
//!   ended then.
//!
//! Nothing here can be interrupted, and nothing of it can fail: a delete that has begun is done, in
//! full, also in a task that is being killed.
//!
//! No lock is held while objects are registered and unregistered. So the attributes of an object,
//! whose removal waits for those who are reading them, may look into the registry that it is in.
//!
//! # Examples
//!
//! A decoder and its regions:
//!
//! ```
//! use holdfast::{
//!     attribute::{self, list, Attribute, Group, Output},
//!     object::{self, Access, Object, Registered},
//!     registry::Registry,
//! };
//! use kernel::str::BStr;
//! # use holdfast::{class::Class, example::{cat, device, echo}, object::Unregistered};
//! # use kernel::device::{Bound, Device};
//!
//! struct Decoder;
//! struct Region;
//!
//! #[pin_data]
//! struct DecoderBound {
//!     #[pin]
//!     regions: Registry<Region>,
//! }
//!
//! # impl object::Operations for Decoder {
//! # type Parent = Device<Bound>;
//! # type Structure = object::ClassDevice;
//! # type Data = ();
//! # type Bound<'bound> = DecoderBound;
//! # type Argument = ();
//! # const CLASS: Class = Class::new(c"example_decoder", c"example-decoder");
//! // In impl object::Operations for Decoder:
//! const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![
//!     Attribute::read_write(c"create_region", Self::show_next, Self::create),
//!     Attribute::write_only(c"delete_region", Self::delete),
//! ])];
//! # fn bind<'bound>(
//! #     _object: &'bound Object<Self>,
//! #     _device: &'bound Device<Bound>,
//! #     _argument: (),
//! # ) -> impl PinInit<DecoderBound, Error> + 'bound {
//! #     try_pin_init!(DecoderBound { regions <- Registry::new() }? Error)
//! # }
//! # }
//! #
//! # impl object::Operations for Region {
//! # type Parent = Object<Decoder>;
//! # type Structure = object::ClassDevice;
//! # type Data = ();
//! # type Bound<'bound> = u32;
//! # type Argument = u32;
//! # const CLASS: Class = Class::new(c"example_region", c"example-region");
//! # fn bind<'bound>(
//! #     _object: &'bound Object<Self>,
//! #     _decoder: Registered<'bound, Decoder>,
//! #     ways: u32,
//! # ) -> impl PinInit<u32, Error> + 'bound {
//! #     Ok(ways)
//! # }
//! # }
//!
//! impl Decoder {
//!     fn show_next(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
//!         access.regions.show_next(output)
//!     }
//!
//!     fn create(access: &Access<'_, '_, Self>, name: &BStr) -> Result {
//!         let ways = 1; // The argument of `Region::bind`.
//!         access.regions.create_named(name, access.registered(), (), ways)?;
//!         Ok(())
//!     }
//!
//!     fn delete(access: &Access<'_, '_, Self>, name: &BStr) -> Result {
//!         access.regions.delete(name)
//!     }
//! }
//!
//! # let device = device()?;
//! # let decoder = Unregistered::<Decoder>::new(())?.register(device.as_ref().as_ref(), ())?;
//! // What user space does: R=$(cat create_region); echo $R >create_region
//! assert_eq!(*cat(&decoder, "create_region")?, *b"example-region0\n");
//! echo(&decoder, "create_region", "example-region0\n")?;
//! assert_eq!(echo(&decoder, "create_region", "example-region0\n"), Err(EBUSY));
//!
//! let name = BStr::from_bytes(b"example-region0");
//! let region = decoder.access(|decoder| decoder.regions.get(name))??;
//! assert_eq!(region.access(|ways| **ways)?, 1);
//!
//! // echo $R >delete_region
//! echo(&decoder, "delete_region", "example-region0\n")?;
//! assert!(!region.is_registered());
//! assert_eq!(echo(&decoder, "delete_region", "example-region0\n"), Err(ENODEV));
//! # Ok::<(), Error>(())
//! ```

use crate::{
    attribute::Output,
    class,
    object::{
        ErasedRef,
        Header,
        Object,
        Operations,
        Outcome,
        Parent,
        Unregistered, //
    },
    platform::current_task,
    protocol::Task, //
};

use core::marker::PhantomData;

use kernel::{
    new_mutex,
    prelude::*,
    rbtree::RBTree,
    str::BStr,
    sync::{
        aref::ARef,
        Mutex, //
    }, //
};

/// An object in a [`Table`].
struct Entry {
    // Not a mere reference to the memory: the data must not be dropped while somebody can find the
    // object here and look at it.
    object: ErasedRef,
    /// Who registers it, until that is complete.
    constructor: Option<Task>,
}

impl Entry {
    fn is(&self, object: &Header) -> bool {
        core::ptr::eq(&*self.object, object)
    }

    /// What to tell who has taken it out and found `outcome`.
    fn answer(&self, outcome: Result<Outcome>) -> Result {
        match outcome {
            Ok(Outcome::Done) => Ok(()),
            // Its constructor has taken it back.
            Ok(Outcome::AlreadyDone) if self.constructor.is_some() && self.has_ended() => Ok(()),
            // It has ended with its parent, or by itself, or is about to.
            Ok(Outcome::AlreadyDone) => Err(ENODEV),
            // Its constructor, who waits for the caller or is the caller, finds it gone from here.
            Err(_) if self.constructor.is_some() => Ok(()),
            // Its parent is about to end it, and waits for the caller.
            Err(_) if !self.object.is_open() => Err(ENODEV),
            // The caller is inside of it.
            Err(_) => {
                self.object.unregister_deferred();
                Ok(())
            }
        }
    }

    /// Whether it has ended, if its end has been claimed.
    fn has_ended(&self) -> bool {
        self.object.revocable.protocol.owner().is_none()
    }
}

/// The part of a [`Registry`] that does not depend on the type of its objects.
///
/// # Invariants
///
/// All are objects of one type. An object that has not ended is here under its number in its class.
#[pin_data]
struct Table {
    // Held for nothing but looking and changing: not while anything is registered, unregistered or
    // dropped.
    #[pin]
    entries: Mutex<RBTree<usize, Entry>>,
}

impl Table {
    /// Initialises `slot`.
    ///
    /// Never inlined: the name of the lock would be copied into the driver's module, and lockdep
    /// wants one name for one class.
    ///
    /// # Safety
    ///
    /// `slot` must be valid for writes, and pinned.
    #[inline(never)]
    unsafe fn write(slot: *mut Self) -> Result {
        let init = try_pin_init!(Self {
            entries <- new_mutex!(RBTree::new(), "holdfast::Registry"),
        }? Error);
        // SAFETY: By the safety requirements.
        unsafe { pin_init::raw_try_init(slot, init) }
    }

    /// Puts an object here whose registration has begun.
    #[inline(never)]
    fn insert(&self, number: usize, object: &Header) -> Result {
        let entry = Entry {
            object: ErasedRef::new(object),
            constructor: Some(current_task()),
        };
        // What had the number before has ended, by whatever means, or could not have lost it.
        let ended = self
            .entries
            .lock()
            .try_create_and_insert(number, entry, GFP_KERNEL)?;
        drop(ended);
        Ok(())
    }

    /// Says that an object is registered; false if it is not here any more.
    #[inline(never)]
    fn set_constructed(&self, number: usize, object: &Header) -> bool {
        match self.entries.lock().get_mut(&number) {
            Some(entry) if entry.is(object) => {
                entry.constructor = None;
                true
            }
            _ => false,
        }
    }

    /// Forgets an object that could not be registered, if it is still here.
    #[inline(never)]
    fn forget(&self, number: usize, object: &Header) {
        let mut entries = self.entries.lock();
        let entry = match entries.get(&number) {
            Some(entry) if entry.is(object) => entries.remove_node(&number),
            _ => None,
        };
        // The last reference may be put with it.
        drop(entries);
        drop(entry);
    }

    /// The first object from `number` on that is registered.
    #[inline(never)]
    fn find_from(&self, number: usize) -> Option<(usize, ErasedRef)> {
        let entries = self.entries.lock();
        let mut from = number;
        loop {
            let cursor = entries.cursor_lower_bound(&from)?;
            let (&number, entry) = cursor.current();
            if entry.object.is_open() {
                return Some((number, ErasedRef::new(&entry.object)));
            }
            from = number.checked_add(1)?;
        }
    }

    /// Takes the object out. Who has done it is the only one who asks for its end by its name.
    fn take(&self, number: usize) -> Option<Entry> {
        let node = self.entries.lock().remove_node(&number)?;
        Some(node.to_key_value().1)
    }

    /// Takes the object out, and ends it.
    #[inline(never)]
    fn delete(&self, number: usize) -> Result {
        let entry = self.take(number).ok_or(ENODEV)?;
        // An unbind that has come first needs nobody's help, and waits for a caller that is inside
        // of the parent. The constructor has to take back what it has made.
        let outcome = entry
            .object
            .revocable
            .unregister_or_wait_for(entry.constructor);
        entry.answer(outcome)
    }

    /// Ends all that is here.
    #[inline(never)]
    fn delete_all(&self) {
        loop {
            let number = match self.entries.lock().cursor_back() {
                Some(last) => *last.current().0,
                None => break,
            };
            // If it has ended, or somebody else has taken it out, that is as well.
            if let Some(entry) = self.take(number) {
                let _ = entry.answer(entry.object.revocable.unregister());
            }
        }
    }
}

/// The objects below another object, or below a device, that user space creates and deletes.
///
/// To be kept in [`Operations::Bound`] of the object that they are registered below, where it is at
/// hand for the attributes of that. When it is dropped, what is left in it is unregistered; if the
/// objects are registered below its owner, they have ended already.
///
/// See the [module's documentation](self).
///
/// # Examples
///
/// Objects below a device, which its driver keeps:
///
/// ```
/// use holdfast::registry::Registry;
/// use kernel::str::BStr;
/// # use holdfast::testing;
/// # testing::object! {
/// #     struct Port: u32;
/// #     fn bind(_argument: ()) -> () {
/// #         Ok(())
/// #     }
/// # }
///
/// # let device = testing::Parent::new()?;
/// let ports = KBox::pin_init(Registry::<Port>::new(), GFP_KERNEL)?;
/// let first = ports.create(&device, 10, ())?;
/// let second = ports.create(&device, 20, ())?;
/// assert!(ports.iter().map(|port| **port).eq([10, 20]));
///
/// ports.delete(BStr::from_bytes(first.name().to_bytes()))?;
/// assert!(ports.iter().map(|port| **port).eq([20]));
///
/// drop(ports);
/// assert!(!second.is_registered());
/// # Ok::<(), Error>(())
/// ```
///
/// # Invariants
///
/// The objects in `table` are of the type `Object<T>`.
#[pin_data(PinnedDrop)]
pub struct Registry<T: Operations> {
    #[pin]
    table: Table,
    _objects: PhantomData<ARef<Object<T>>>,
}

impl<T: Operations> Registry<T> {
    /// A registry with nothing in it.
    pub fn new() -> impl PinInit<Self, Error> {
        // SAFETY: `write` initialises all of `slot`, or fails and leaves nothing there.
        let table = unsafe {
            pin_init::pin_init_from_closure::<Table, Error>(|slot: *mut Table| Table::write(slot))
        };
        try_pin_init!(Self {
            table <- table,
            _objects: PhantomData,
        }? Error)
    }

    /// Creates an object with the lowest number that is free in the class, and registers it below
    /// `parent`.
    ///
    /// It can be found and deleted from before user space is told of it. May sleep.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if it was deleted meanwhile, or if the end of the parent has begun; otherwise
    /// what [`Unregistered::new`] and [`Unregistered::register`] return. Nothing is left of it
    /// then.
    pub fn create<E>(
        &self,
        parent: <T::Parent as Parent>::Ref<'_>,
        data: impl PinInit<T::Data, E>,
        argument: T::Argument,
    ) -> Result<ARef<Object<T>>>
    where
        Error: From<E>,
    {
        self.create_with(None, parent, data, argument)
    }

    /// The same, if the object will be called `name`, which is what [`Registry::show_next`] has
    /// said.
    ///
    /// # Errors
    ///
    /// [`EINVAL`] if no object of the class can have this name; [`EBUSY`] if it is not the next
    /// one, perhaps because somebody else has created one meanwhile; otherwise as
    /// [`Registry::create`].
    pub fn create_named<E>(
        &self,
        name: &BStr,
        parent: <T::Parent as Parent>::Ref<'_>,
        data: impl PinInit<T::Data, E>,
        argument: T::Argument,
    ) -> Result<ARef<Object<T>>>
    where
        Error: From<E>,
    {
        let number = T::CLASS.number_of(name).ok_or(EINVAL)?;
        self.create_with(Some(number), parent, data, argument)
    }

    fn create_with<E>(
        &self,
        wanted: Option<usize>,
        parent: <T::Parent as Parent>::Ref<'_>,
        data: impl PinInit<T::Data, E>,
        argument: T::Argument,
    ) -> Result<ARef<Object<T>>>
    where
        Error: From<E>,
    {
        let object = Unregistered::<T>::with_number(data, wanted)?;
        let number = object.header().number();
        let reference = ARef::from(&*object);
        let header = reference.header();

        // Not before the registration has begun: who deletes it waits for the constructor then, and
        // the name is free when the delete returns.
        match object
            .register_when_begun(parent, argument, |object| self.table.insert(number, object))
        {
            Ok(registration) => {
                if !self.table.set_constructed(number, header) {
                    // Deleted. Who did it, or the drop of the registration, has ended it.
                    return Err(ENODEV);
                }
                // From here on it is whose who takes it out.
                registration.leave_to_others();
                Ok(reference)
            }
            Err(error) => {
                self.table.forget(number, header);
                Err(error)
            }
        }
    }

    /// The object that is called `name`.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if there is none, or not any more.
    pub fn get(&self, name: &BStr) -> Result<ARef<Object<T>>> {
        let number = T::CLASS.number_of(name).ok_or(ENODEV)?;
        match self.find_from(number) {
            Some((found, object)) if found == number => Ok(object),
            _ => Err(ENODEV),
        }
    }

    /// All objects that are registered, in the order of their numbers.
    ///
    /// No lock is held between them. What is created or deleted meanwhile may be there or not.
    pub fn iter(&self) -> impl Iterator<Item = ARef<Object<T>>> + '_ {
        let mut next = Some(0);
        core::iter::from_fn(move || {
            let (number, object) = self.find_from(next?)?;
            next = number.checked_add(1);
            Some(object)
        })
    }

    fn find_from(&self, number: usize) -> Option<(usize, ARef<Object<T>>)> {
        let (number, object) = self.table.find_from(number)?;
        // SAFETY: By the type invariants.
        let object = unsafe { Object::<T>::from_header(&object) };
        Some((number, ARef::from(object)))
    }

    /// Deletes the object that is called `name`. When this returns it has ended.
    ///
    /// An object that is being constructed can be deleted, too: its constructor takes back what it
    /// has made. Who is inside of the object does not wait: the name is gone when this returns, and
    /// the object ends when they have left. May sleep; it cannot be interrupted.
    ///
    /// # Errors
    ///
    /// [`ENODEV`] if there is none of that name, or if its end has begun, by itself or with that of
    /// its parent. That is not waited for.
    pub fn delete(&self, name: &BStr) -> Result {
        let number = T::CLASS.number_of(name).ok_or(ENODEV)?;
        self.table.delete(number)
    }

    /// Writes the name that the next object will have, and a newline: what an attribute `create_*`
    /// is to show.
    pub fn show_next(&self, output: &mut Output<'_>) -> Result {
        output.push(T::CLASS.prefix().to_bytes());
        output.write_fmt(fmt!("{}\n", class::next_number(&T::CLASS)))
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for Registry<T> {
    fn drop(self: Pin<&mut Self>) {
        self.table.delete_all();
    }
}
