// SPDX-License-Identifier: GPL-2.0

//! What a driver of a PCI device defines before it makes objects, for the cases to use.

use holdfast::{
    chardev::{
        self,
        Flags,
        Handle, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Registered, //
    },
    pci::sriov, //
};

use kernel::{
    device::{
        Bound,
        Core, //
    },
    iov::IovIterDest,
    new_mutex,
    pci,
    prelude::*,
    sync::Mutex,
    ModuleMetadata, //
};

/// Stands for the module that a case would be, which `#[vtable]` wants.
pub struct LocalModule;

impl ModuleMetadata for LocalModule {
    const NAME: &'static CStr = c"example";
    // SAFETY: Null stands for the kernel itself.
    const THIS_MODULE: ThisModule = unsafe { ThisModule::from_ptr(core::ptr::null_mut()) };
}

/// An object below a PCI device.
pub struct Example;

/// What [`Example`] does.
#[pin_data]
pub struct ExampleBound<'bound> {
    /// Something that borrows from the binding.
    pub bar: pci::Bar<'bound, 0x10>,
    /// The device whose binding it is.
    pub pdev: &'bound pci::Device<Bound>,
    /// A place that can be written to from inside the door.
    #[pin]
    pub slot: Mutex<Option<&'bound u32>>,
}

impl<'bound> ExampleBound<'bound> {
    /// Makes it.
    pub fn new(
        pdev: &'bound pci::Device<Bound>,
    ) -> impl PinInit<ExampleBound<'bound>, Error> + 'bound {
        try_pin_init!(ExampleBound {
            bar: pdev.iomap_region_sized(0, c"example")?,
            pdev,
            slot <- new_mutex!(None),
        }? Error)
    }
}

impl object::Operations for Example {
    type Parent = pci::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = u32;
    type Bound<'bound> = ExampleBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"example", c"example");
    const CHARACTER_DEVICE: Option<chardev::Functions<Self>> = Some(chardev::Functions::new());

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        pdev: &'bound pci::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        ExampleBound::new(pdev)
    }
}

#[vtable]
impl chardev::Operations for Example {
    type File = ();

    fn open(_access: &Access<'_, '_, Self>, _flags: Flags) -> Result<Self::File> {
        Ok(())
    }

    fn read(
        _access: &Access<'_, '_, Self>,
        _file: &Handle<'_, Self>,
        _position: &mut i64,
        _buffer: &mut IovIterDest<'_>,
    ) -> Result<usize> {
        Ok(0)
    }
}

/// An object below an [`Example`].
pub struct Child;

impl object::Operations for Child {
    type Parent = Object<Example>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = Registered<'bound, Example>;
    type Argument = ();

    const CLASS: Class = Class::new(c"child", c"child");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: Registered<'bound, Example>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        Ok(parent)
    }
}

/// A driver of PFs.
pub struct PfDriver {
    /// What the drivers of its VFs see.
    pub shared: u32,
}

kernel::pci_device_table!(
    PCI_TABLE,
    <PfDriver as pci::Driver>::IdInfo,
    [(pci::DeviceId::from_id(pci::Vendor::INTEL, 0x10c9), ())]
);

impl pci::Driver for PfDriver {
    type IdInfo = ();
    type Data<'bound> = Self;
    const ID_TABLE: pci::IdTable<Self::IdInfo> = &PCI_TABLE;

    fn probe<'bound>(
        _pdev: &'bound pci::Device<Core<'_>>,
        _info: Option<&'bound Self::IdInfo>,
    ) -> impl PinInit<Self, Error> + 'bound {
        Ok(Self { shared: 7 })
    }
}

impl sriov::Driver for PfDriver {
    type Shared<'bound> = u32;

    fn shared<'a, 'bound>(this: Pin<&'a Self::Data<'bound>>) -> &'a Self::Shared<'bound> {
        &this.get_ref().shared
    }
}
