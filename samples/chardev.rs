// SPDX-License-Identifier: GPL-2.0

//! A character device with everything that user space can wait for.
//!
//! `/dev/holdfast-chardev0` is a mailbox: what one task writes another reads, in order. Readers
//! wait for data and writers for room; `poll`, epoll and SIGIO tell about both; an ioctl and a
//! mapped page tell the figures. Its device is a made-up one, which goes with this module: unload
//! it whatever user space holds open, waits for or has mapped meanwhile.
//!
//! The comments that begin with "In C" say which line would have been the bug.

use holdfast::{
    chardev::{
        self,
        Area,
        Backing,
        Events,
        Flags,
        Handle,
        Memory,
        Pages, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Registration,
        Unregistered, //
    }, //
};

use kernel::{
    device::{
        Bound,
        Device, //
    },
    faux,
    ioctl::{
        _IO,
        _IOR, //
    },
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    new_mutex,
    page::PAGE_SIZE,
    prelude::*,
    sync::Mutex,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};

/// The figures that [`GET_FIGURES`] returns: bytes waiting, bytes written and bytes read.
type Figures = [u32; 3];

/// The ioctl that returns the [`Figures`]: the same for 32-bit and 64-bit tasks.
const GET_FIGURES: u32 = _IOR::<Figures>(b'h' as u32, 1);

/// The ioctl that ends the device, as if it had been unplugged.
const UNPLUG: u32 = _IO(b'h' as u32, 2);

/// How many bytes can wait.
const CAPACITY: usize = 4096;

/// The bytes that wait to be read, as a ring.
struct Ring {
    bytes: KVec<u8>,
    first: usize,
    waiting: usize,
    written: u32,
    read: u32,
}

impl Ring {
    fn new() -> Result<Self> {
        Ok(Self {
            bytes: KVec::from_elem(0, CAPACITY, GFP_KERNEL)?,
            first: 0,
            waiting: 0,
            written: 0,
            read: 0,
        })
    }

    fn room(&self) -> usize {
        CAPACITY - self.waiting
    }

    fn figures(&self) -> Figures {
        [self.waiting as u32, self.written, self.read]
    }

    /// Moves what waits to `buffer`, as far as it fits; the number of bytes.
    fn read_to(&mut self, buffer: &mut IovIterDest<'_>) -> Result<usize> {
        let mut done = 0;
        while self.waiting > 0 && !buffer.is_empty() {
            let end = CAPACITY.min(self.first + self.waiting);
            let copied = buffer.copy_to_iter(&self.bytes[self.first..end]);
            self.first = (self.first + copied) % CAPACITY;
            self.waiting -= copied;
            self.read = self.read.wrapping_add(copied as u32);
            done += copied;
            if copied == 0 {
                break;
            }
        }
        if done == 0 {
            return Err(EFAULT);
        }
        Ok(done)
    }

    /// Moves what `buffer` has to what waits, as far as there is room; the number of bytes.
    fn write_from(&mut self, buffer: &mut IovIterSource<'_>) -> Result<usize> {
        let mut done = 0;
        while self.room() > 0 && !buffer.is_empty() {
            let begin = (self.first + self.waiting) % CAPACITY;
            let end = CAPACITY.min(begin + self.room());
            let copied = buffer.copy_from_iter(&mut self.bytes[begin..end]);
            self.waiting += copied;
            self.written = self.written.wrapping_add(copied as u32);
            done += copied;
            if copied == 0 {
                break;
            }
        }
        if done == 0 {
            return Err(EFAULT);
        }
        Ok(done)
    }
}

/// The object that user space sees: `/dev/holdfast-chardev0`.
struct Mailbox;

/// What the object does, until it is unregistered.
#[pin_data]
struct MailboxBound {
    #[pin]
    ring: Mutex<Ring>,
    // In C: `remap_vmalloc_range()`, or `remap_pfn_range()` of a BAR, in `.mmap`: nobody takes it
    // back when the device is unbound. These pages are unmapped then, and only then dropped.
    page: Pages,
}

impl MailboxBound {
    /// Shows the figures to those who have mapped them.
    fn show(&self, figures: Figures) -> Result {
        for (index, figure) in figures.into_iter().enumerate() {
            self.page.store(index * size_of::<u32>(), figure)?;
        }
        Ok(())
    }
}

impl object::Operations for Mailbox {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = MailboxBound;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_chardev", c"holdfast-chardev").with_mode(0o666);
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        try_pin_init!(MailboxBound {
            ring <- new_mutex!(Ring::new()?, "Mailbox::ring"),
            page: Pages::new(1)?,
        })
    }

    // In C: `priv->dead = true; wake_up_all(&priv->wait);`, with each sleeper to look at `dead`, in
    // the right order. The library wakes those who wait in `wait_for`.
}

#[vtable]
impl chardev::Operations for Mailbox {
    type File = ();

    const STREAM: bool = true;

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(())
    }

    fn read(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        _position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }

        // In C: `wait_event_interruptible(priv->wait, priv->waiting)`, for ever if the device goes:
        // nobody writes to it any more. This returns `ENODEV` then.
        let read = file.wait_for(access, || {
            let mut ring = access.ring.lock();
            (ring.waiting > 0).then(|| {
                let read = ring.read_to(buffer)?;
                access.show(ring.figures())?;
                Ok::<_, Error>(read)
            })
        })??;

        access.object().wake_pollers(Events::WRITABLE);
        Ok(read)
    }

    fn write(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        _position: &mut i64,
        buffer: &mut IovIterSource<'_>,
    ) -> Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }

        let written = file.wait_for(access, || {
            let mut ring = access.ring.lock();
            (ring.room() > 0).then(|| {
                let written = ring.write_from(buffer)?;
                access.show(ring.figures())?;
                Ok::<_, Error>(written)
            })
        })??;

        // In C: `wake_up_interruptible()` and `kill_fasync()`, of a queue and a list that an open
        // file still points to when the driver has freed them.
        access.object().wake_pollers(Events::READABLE);
        Ok(written)
    }

    fn ioctl(
        access: &Access<'_, '_, Self>,
        file: &Handle<'_, Self>,
        command: u32,
        argument: usize,
    ) -> Result<isize> {
        match command {
            GET_FIGURES => {
                let figures = access.ring.lock().figures();
                UserSlice::new(UserPtr::from_addr(argument), size_of::<Figures>())
                    .writer()
                    .write(&figures)?;
                Ok(0)
            }
            UNPLUG if file.flags().is_writable() => {
                // In C: `cdev_device_del()` from an operation of the device, which waits for itself
                // if the driver waits for operations at all, and else frees what this one uses.
                access.object().unregister_deferred();
                Ok(0)
            }
            _ => Err(ENOTTY),
        }
    }

    fn poll(access: &Access<'_, '_, Self>, _file: &Handle<'_, Self>) -> Events {
        // In C: `poll_wait(file, &priv->wait, table)`, and an epoll that stays on that queue when
        // the driver has freed it. The queue is the object's, which the file holds.
        let ring = access.ring.lock();
        Events::READABLE.only_if(ring.waiting > 0) | Events::WRITABLE.only_if(ring.room() > 0)
    }

    fn mmap(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        area: &Area,
    ) -> Result<Backing> {
        if !area.is_within(PAGE_SIZE) {
            return Err(EINVAL);
        }
        Ok(Backing::pages().read_only())
    }

    fn fault<'access>(
        access: &'access Access<'_, '_, Self>,
        _file: &'access Handle<'_, Self>,
        page: usize,
    ) -> Result<Memory<'access>> {
        access.page.page(page)
    }
}

/// The module, which is also the driver of its one device.
struct ChardevSample {
    // The order is that of the drops, and the wrong one does no harm: the end of the device ends
    // what is registered under it.
    _registration: Registration<Mailbox>,
    _device: faux::Registration,
}

impl kernel::Module for ChardevSample {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let device = faux::Registration::new(c"holdfast_chardev", None)?;
        let registration =
            Unregistered::<Mailbox>::new(())?.register(device.as_ref().as_ref(), ())?;
        pr_info!("{} is ready\n", registration.name());

        Ok(Self {
            _registration: registration,
            _device: device,
        })
    }

    // In C: `.owner = THIS_MODULE`, and the module cannot be unloaded while somebody has the file
    // open; or none, and `close()` calls what is no longer there. Open files hold the library here.
}

module! {
    type: ChardevSample,
    name: "holdfast_chardev",
    authors: ["The Holdfast authors"],
    description: "Sample: a character device",
    license: "GPL",
}
