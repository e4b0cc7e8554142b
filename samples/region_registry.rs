// SPDX-License-Identifier: GPL-2.0

//! Regions that user space creates and deletes, as those of CXL: a root decoder, endpoints that its
//! regions interleave over, and no hardware.
//!
//! In `/sys/class/holdfast_decoder/holdfast-root0`:
//!
//! ```text
//! R=$(cat create_ram_region)        # or create_pmem_region
//! echo $R >create_ram_region
//! echo 2 >/sys/class/holdfast_region/$R/interleave_ways
//! echo 5 >/sys/class/holdfast_region/$R/attach      # an endpoint, which nobody else has then
//! cat /sys/class/holdfast_region/$R/targets
//! echo $R >delete_region
//! ```
//!
//! A region can be deleted by any number of tasks at once, while it is being created, while its
//! attributes are read and written, while the driver of the decoder is being unbound or the module
//! unloaded, and by a task that is being killed. Its endpoints are free afterwards.
//!
//! The comments that begin with "In C" say which line would have been the bug.

use holdfast::{
    attribute::{
        self,
        list,
        Attribute,
        Group,
        Output, //
    },
    class::Class,
    object::{
        self,
        Access,
        Object,
        Registered,
        Registration,
        Unregistered, //
    },
    registry::Registry, //
};

use kernel::{
    auxiliary,
    device::{
        Bound,
        Core,
        Device, //
    },
    driver,
    faux,
    new_mutex,
    prelude::*,
    str::{
        parse_int::ParseInt,
        BStr, //
    },
    sync::Mutex,
    types::ForLt,
    InPlaceModule, //
};

/// How many endpoints there are below the decoder.
const ENDPOINTS: usize = 16;

/// What regions are created below: `/sys/class/holdfast_decoder/holdfast-root0`.
struct Decoder;

#[pin_data]
struct DecoderBound {
    /// Which endpoints are in a region.
    #[pin]
    attached: Mutex<[bool; ENDPOINTS]>,
    // In C: an xarray of pointers, a mutex that is taken interruptibly around all that is done with
    // them, and the devres action of each region beside it.
    #[pin]
    regions: Registry<Region>,
}

impl object::Operations for Decoder {
    type Parent = auxiliary::Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = DecoderBound;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_decoder", c"holdfast-root");
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![
        Attribute::read_write(c"create_ram_region", Self::show_next, Self::create_ram),
        Attribute::read_write(c"create_pmem_region", Self::show_next, Self::create_pmem),
        Attribute::write_only(c"delete_region", Self::delete),
        Attribute::read_only(c"regions", Self::show_regions),
        Attribute::read_only(c"free_endpoints", Self::show_free_endpoints),
    ])];

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        _device: &'bound auxiliary::Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        try_pin_init!(DecoderBound {
            attached <- new_mutex!([false; ENDPOINTS], "Decoder::attached"),
            regions <- Registry::new(),
        }? Error)
    }
}

impl Decoder {
    fn show_next(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        access.regions.show_next(output)
    }

    fn create_ram(access: &Access<'_, '_, Self>, name: &BStr) -> Result {
        Self::create(access, name, Mode::Ram)
    }

    fn create_pmem(access: &Access<'_, '_, Self>, name: &BStr) -> Result {
        Self::create(access, name, Mode::Pmem)
    }

    fn create(access: &Access<'_, '_, Self>, name: &BStr, mode: Mode) -> Result {
        // In C: `device_add()`, and then `devm_add_action_or_reset()` and the rest of the region,
        // which somebody has deleted by then. Here it is complete before anybody sees it, and if it
        // was deleted when this is done, all is taken back and the answer is `ENODEV`.
        access
            .regions
            .create_named(name, access.registered(), mode, ())
            .map(drop)
    }

    fn delete(access: &Access<'_, '_, Self>, name: &BStr) -> Result {
        // In C: find the region by its name, and `devm_release_action()`: two of them find it, or
        // the unbind has come first; devres warns, or the action runs twice. Only one task ever
        // takes it out of the registry.
        access.regions.delete(name)
    }

    fn show_regions(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        for region in access.regions.iter() {
            output.push(region.name().to_bytes());
            output.push(b"\n");
        }
        Ok(())
    }

    fn show_free_endpoints(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        let attached = access.attached.lock();
        for (endpoint, _) in attached.iter().enumerate().filter(|(_, taken)| !**taken) {
            write!(output, "{endpoint} ")?;
        }
        output.push(b"\n");
        Ok(())
    }
}

/// What the memory of a region is.
#[derive(Clone, Copy)]
enum Mode {
    Ram,
    Pmem,
}

/// A region, which user space creates and deletes: `/sys/class/holdfast_region/region0`.
struct Region;

/// What user space can set of a region.
struct Parameters {
    interleave_ways: usize,
    /// Its endpoints, in their order.
    targets: KVec<usize>,
}

#[pin_data(PinnedDrop)]
struct RegionBound<'bound> {
    decoder: Registered<'bound, Decoder>,
    #[pin]
    parameters: Mutex<Parameters>,
}

impl object::Operations for Region {
    type Parent = Object<Decoder>;
    type Structure = object::ClassDevice;
    type Data = Mode;
    type Bound<'bound> = RegionBound<'bound>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_region", c"region");
    const ATTRIBUTES: attribute::Groups<Self> = list![Group::new(list![
        Attribute::read_only(c"mode", Self::show_mode),
        Attribute::read_write(c"interleave_ways", Self::show_ways, Self::store_ways),
        Attribute::read_only(c"targets", Self::show_targets),
        Attribute::write_only(c"attach", Self::attach),
        Attribute::write_only(c"detach", Self::detach),
    ])];

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        decoder: Registered<'bound, Decoder>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        try_pin_init!(RegionBound {
            decoder,
            parameters <- new_mutex!(
                Parameters {
                    interleave_ways: 1,
                    targets: KVec::new(),
                },
                "Region::parameters"
            ),
        }? Error)
    }
}

#[pinned_drop]
impl PinnedDrop for RegionBound<'_> {
    fn drop(self: Pin<&mut Self>) {
        // In C: `for (i = 0; i < p->interleave_ways; i++) detach_target(cxlr, i);`, before the
        // constructor has set the ways; and each detach takes a lock that a signal interrupts, and
        // nobody looks at the error. Nobody else has the parameters here, and nothing can fail.
        let targets = &self.parameters.lock().targets;
        self.decoder.with(|decoder| {
            let mut attached = decoder.attached.lock();
            for endpoint in targets {
                attached[*endpoint] = false;
            }
        });
    }
}

impl Region {
    fn show_mode(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        let mode = match **access.object() {
            Mode::Ram => "ram",
            Mode::Pmem => "pmem",
        };
        writeln!(output, "{mode}")
    }

    fn show_ways(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        // In C: a store that holds this lock, and removes attributes whose show takes it.
        writeln!(output, "{}", access.parameters.lock().interleave_ways)
    }

    fn store_ways(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
        let ways = usize::from_str(text)?;
        if !matches!(ways, 1 | 2 | 3 | 4 | 6 | 8 | 12 | 16) {
            return Err(EINVAL);
        }
        let mut parameters = access.parameters.lock();
        if !parameters.targets.is_empty() {
            return Err(EBUSY);
        }
        parameters.interleave_ways = ways;
        Ok(())
    }

    fn show_targets(access: &Access<'_, '_, Self>, output: &mut Output<'_>) -> Result {
        for endpoint in &access.parameters.lock().targets {
            writeln!(output, "{endpoint}")?;
        }
        Ok(())
    }

    /// Makes a free endpoint the next target.
    fn attach(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
        let endpoint = usize::from_str(text)?;
        let mut parameters = access.parameters.lock();
        if parameters.targets.len() == parameters.interleave_ways {
            return Err(ENOSPC);
        }
        parameters.targets.reserve(1, GFP_KERNEL)?;
        access.decoder.with(|decoder| {
            let mut attached = decoder.attached.lock();
            let taken = attached.get_mut(endpoint).ok_or(EINVAL)?;
            if core::mem::replace(taken, true) {
                return Err(EBUSY);
            }
            Ok(())
        })?;
        parameters.targets.push(endpoint, GFP_KERNEL)?;
        Ok(())
    }

    /// Gives an endpoint back.
    fn detach(access: &Access<'_, '_, Self>, text: &BStr) -> Result {
        let endpoint = usize::from_str(text)?;
        let mut parameters = access.parameters.lock();
        let position = (parameters.targets.iter())
            .position(|target| *target == endpoint)
            .ok_or(ENOENT)?;
        parameters.targets.remove(position).map_err(|_| EINVAL)?;
        access.decoder.with(|decoder| {
            decoder.attached.lock()[endpoint] = false;
        });
        Ok(())
    }
}

/// The driver of the decoder's device.
struct DecoderDriver {
    // In C: devres of the device, which an unbind releases while a delete looks for it there.
    _decoder: Registration<Decoder>,
}

kernel::auxiliary_device_table!(
    DEVICES,
    <DecoderDriver as auxiliary::Driver>::IdInfo,
    [(auxiliary::DeviceId::new(MODULE, DEVICE), ())]
);

impl auxiliary::Driver for DecoderDriver {
    type IdInfo = ();
    type Data<'bound> = Self;

    const ID_TABLE: auxiliary::IdTable<Self::IdInfo> = &DEVICES;

    fn probe<'bound>(
        device: &'bound auxiliary::Device<Core<'_>>,
        _info: &'bound Self::IdInfo,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let decoder = Unregistered::<Decoder>::new(())?.register(device, ())?;
        dev_info!(device, "{} is ready\n", decoder.name());

        Ok(Self { _decoder: decoder })
    }
}

/// What the decoder's device is on: `/sys/class/holdfast_host_bridge/holdfast-bridge0`.
struct Bridge;

impl object::Operations for Bridge {
    type Parent = Device<Bound>;
    type Structure = object::ClassDevice;
    type Data = ();
    type Bound<'bound> = auxiliary::Registration<'bound, ForLt!(())>;
    type Argument = ();

    const CLASS: Class = Class::new(c"holdfast_host_bridge", c"holdfast-bridge");

    fn bind<'bound>(
        _object: &'bound Object<Self>,
        parent: &'bound Device<Bound>,
        _argument: (),
    ) -> impl PinInit<Self::Bound<'bound>, Error> + 'bound {
        auxiliary::Registration::new(parent, DEVICE, 0, MODULE, ())
    }
}

const MODULE: &CStr = <LocalModule as kernel::ModuleMetadata>::NAME;
const DEVICE: &CStr = c"decoder";

/// The module: a device, and the driver of that, which can be unbound and bound in
/// `/sys/bus/auxiliary/drivers/holdfast_region_registry.holdfast_region_registry`.
#[pin_data]
struct RegionRegistry {
    // The regions end with the decoder, and that with its device, in whatever order these go.
    _bridge: Registration<Bridge>,
    _device: faux::Registration,
    #[pin]
    _driver: driver::Registration<auxiliary::Adapter<DecoderDriver>>,
}

impl InPlaceModule for RegionRegistry {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            _driver <- driver::Registration::new(MODULE, module),
            _device: faux::Registration::new(c"holdfast_region_registry", None)?,
            _bridge: Unregistered::<Bridge>::new(())?.register(_device.as_ref().as_ref(), ())?,
        })
    }
}

module! {
    type: RegionRegistry,
    name: "holdfast_region_registry",
    authors: ["The Holdfast authors"],
    description: "Sample: regions that user space creates and deletes",
    license: "GPL",
}
