// SPDX-License-Identifier: GPL-2.0

//! A driver that forgets all that it is given, as safe code may.
//!
//! Below a device that it makes, and below each igb, it registers two objects, an object below one
//! of them, and a managed value; work and a timer run in each object for ever. Then it calls
//! [`core::mem::forget`] on everything, also on the device that it has made, which thus stays bound
//! for ever. So nothing but the library ends any of it.
//!
//! With `forget=0` it keeps everything until its exit, and has no driver for the igb.

use holdfast::{
    attribute::{
        self,
        list,
        Attribute,
        Group,
        Output, //
    },
    callbacks::Callbacks,
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
    },
    timer,
    work, //
};

use kernel::{
    device::{
        Bound,
        Core,
        Device, //
    },
    driver,
    faux,
    iov::IovIterDest,
    pci,
    prelude::*,
    str::CString,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Relaxed, //
        }, //
    },
    time::Delta,
    InPlaceModule, //
};

const MODULE_NAME: &CStr = <LocalModule as kernel::ModuleMetadata>::NAME;

/// Whether to forget everything.
fn forgets() -> bool {
    module_parameters::forget.value()
}

/// Says when it is dropped, which takes the text of this module.
struct Said {
    what: &'static str,
    whose: &'static str,
    _reference: Option<ARef<Object<Thing>>>,
}

impl Said {
    fn new(what: &'static str, whose: &'static str) -> Self {
        Self {
            what,
            whose,
            _reference: None,
        }
    }

    /// The data of an object, with a reference to another one.
    fn data(whose: &'static str, reference: Option<ARef<Object<Thing>>>) -> Result<Self> {
        Ok(Self {
            what: "the data",
            whose,
            _reference: reference,
        })
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        pr_info!("{} of {} is dropped\n", self.what, self.whose);
    }
}

/// An object with a character device, `/dev/holdfast-forgetful*`, and everything else.
struct Thing;

struct ThingBound<'bound> {
    ticks: Atomic<usize>,
    _said: Said,
    _parent: &'bound Device<Bound>,
}

impl object::Operations for Thing {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = Said;
    type Bound<'bound> = ThingBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_forgetful", c"holdfast-forgetful");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![Attribute::read_only(
        c"ticks",
        Self::show_ticks
    )])];
    const CALLBACKS: Callbacks<Self> = Callbacks::new().with_work::<0>().with_timer::<0>();

    fn bind<'bound>(
        object: &'bound Object<Self>,
        parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<ThingBound<'bound>, Error> + 'bound {
        Ok(ThingBound {
            ticks: Atomic::new(0),
            _said: Said::new("what is bound", object.whose),
            _parent: parent,
        })
    }
}

impl Thing {
    fn show_ticks(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        writeln!(output, "{:010}", access.ticks.load(Relaxed))
    }
}

impl work::Operations for Thing {
    fn run(access: &Access<'_, '_, Self>) {
        let _ = access.object().timer::<0>().start(Delta::from_millis(1));
    }
}

impl timer::Operations for Thing {
    fn expired(access: &Access<'_, '_, Self>) {
        access.ticks.fetch_add(1, Relaxed);
        let _ = access.object().work::<0>().queue();
    }
}

#[vtable]
impl chardev::Operations for Thing {
    type File = Said;

    fn open(access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Said> {
        if forgets() {
            core::mem::forget(ARef::from(access.object()));
        }
        Ok(Said::new("a file", access.object().whose))
    }

    fn read(
        access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        position: &mut i64,
        buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        let line = CString::try_from_fmt(fmt!("{:010}\n", access.ticks.load(Relaxed)))?;
        buffer.simple_read_from_buffer(position, line.to_bytes())
    }
}

/// An object below a [`Thing`].
struct Part;

struct PartBound<'bound> {
    parent: Registered<'bound, Thing>,
    _said: Said,
}

impl Drop for PartBound<'_> {
    fn drop(&mut self) {
        // What the parent has bound is still there.
        self.parent
            .with(|parent| parent.ticks.fetch_add(1, Relaxed));
    }
}

impl object::Operations for Part {
    type Parent = Object<Thing>;
    type Structure = object::ClassDevice;
    type Data = Said;
    type Bound<'bound> = PartBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_forgetful_part", c"holdfast-forgetful-part");

    fn bind<'bound>(
        object: &'bound Object<Self>,
        parent: Registered<'bound, Thing>,
        _argument: (),
    ) -> impl PinInit<PartBound<'bound>, Error> + 'bound {
        Ok(PartBound {
            parent,
            _said: Said::new("what is bound", object.whose),
        })
    }
}

/// What there is to forget below one device.
struct Everything {
    _thing: Registration<Thing>,
    _owner: Registration<Thing>,
    _part: Registration<Part>,
    _never_registered: Unregistered<Part>,
    _reference: ARef<Object<Part>>,
    _managed: Managed<Said>,
    _handle: managed::Handle<Said>,
}

impl Everything {
    fn new(device: &Device<Bound>) -> Result<Self> {
        let managed = Managed::new(device, Ok::<_, Error>(Said::new("the value", "managed")))?;
        let handle = managed.handle();

        let thing =
            Unregistered::<Thing>::new(Said::data("a thing", None))?.register(device, ())?;
        thing.keep::<Said, Error>(Ok(Said::new("what is kept", "a thing")))?;

        // Both keep what the thing has, though a part keeps its memory by itself.
        let owner = Unregistered::<Thing>::new(Said::data("an owner", Some(thing.reference())))?
            .register(device, ())?;
        let part = Unregistered::<Part>::new(Said::data("a part", Some(thing.reference())))?;
        let part = thing.access(|thing| part.register(thing.registered(), ()))??;

        for thing in [&thing, &owner] {
            thing.work::<0>().queue()?;
        }
        Ok(Self {
            _reference: part.reference(),
            _never_registered: Unregistered::new(Said::data(
                "a part that is not registered",
                None,
            ))?,
            _thing: thing,
            _owner: owner,
            _part: part,
            _managed: managed,
            _handle: handle,
        })
    }
}

/// The driver of the igb.
struct Driver;

kernel::pci_device_table!(
    PCI_TABLE,
    <Driver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10c9), ())]
);

impl pci::Driver for Driver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        if !forgets() {
            return Err(ENODEV);
        }
        core::mem::forget(Everything::new(pdev.as_ref())?);
        Ok(Self)
    }
}

#[pin_data]
struct Forgetful {
    // In the order in which they are dropped.
    _everything: Option<(Everything, faux::Registration)>,
    #[pin]
    _driver: driver::Registration<pci::Adapter<Driver>>,
}

impl InPlaceModule for Forgetful {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _everything: {
                let device = faux::Registration::new(c"holdfast_forgetful", None)?;
                let everything = Everything::new(device.as_ref().as_ref())?;
                if forgets() {
                    core::mem::forget((everything, device));
                    None
                } else {
                    Some((everything, device))
                }
            },
            _driver <- driver::Registration::new(MODULE_NAME, module),
        })
    }
}

module! {
    type: Forgetful,
    name: "holdfast_forgetful",
    authors: ["The Holdfast authors"],
    description: "Test: a driver that forgets all that it is given",
    license: "GPL",
    params: {
        forget: bool {
            default: true,
            description: "Forget everything",
        },
    },
}
