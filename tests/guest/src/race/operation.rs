// SPDX-License-Identifier: GPL-2.0

//! The operations that are raced against each other, and what has to be there for each.

/// What is done. Those on a PF can be done on either of the two below the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Bind,
    Unbind,
    NumvfsUp,
    NumvfsDown,
    Remove,
    RescanBus,
    RescanDevice,
    RescanParent,
    Unplug,
    Plug,
    Rmmod,
    Insmod,
    PortBind,
    PortUnbind,
    PortRemove,
    PortBusRescan,
    VfBind,
    VfUnbind,
    VfMsixCount,
}

use Operation::*;

/// On a PF, or on what it has to itself here: its slot, and its driver's module.
pub const OF_PF: &[Operation] = &[
    Bind,
    Unbind,
    NumvfsUp,
    NumvfsDown,
    Remove,
    RescanBus,
    RescanDevice,
    RescanParent,
    Unplug,
    Plug,
    Rmmod,
    Insmod,
];

/// Those of them that are about one function of the slot.
pub const OF_ONE_PF: &[Operation] = &[Bind, Unbind, NumvfsUp, NumvfsDown, Remove, RescanDevice];

/// On the port above.
pub const OF_PORT: &[Operation] = &[PortBind, PortUnbind, PortRemove, PortBusRescan];

/// On a VF. The kernel gives it neither `remove` nor `rescan`.
pub const OF_VF: &[Operation] = &[VfBind, VfUnbind, VfMsixCount];

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Bind => "bind",
            Unbind => "unbind",
            NumvfsUp => "sriov_numvfs-up",
            NumvfsDown => "sriov_numvfs-down",
            Remove => "remove",
            RescanBus => "rescan-bus",
            RescanDevice => "rescan-device",
            RescanParent => "rescan-parent",
            Unplug => "hot-unplug",
            Plug => "hot-plug",
            Rmmod => "rmmod",
            Insmod => "insmod",
            PortBind => "port-bind",
            PortUnbind => "port-unbind",
            PortRemove => "port-remove",
            PortBusRescan => "port-bus-rescan",
            VfBind => "vf-bind",
            VfUnbind => "vf-unbind",
            VfMsixCount => "sriov_vf_msix_count",
        }
    }

    /// Whether VFs come or go for it, for which the core sleeps.
    pub fn cycles_vfs(self) -> bool {
        matches!(self, NumvfsUp | NumvfsDown) || OF_VF.contains(&self)
    }

    /// Whether a PF's driver lets go of the PF for it, and so of its VFs.
    pub fn ends_binding(self) -> bool {
        matches!(self, Unbind | Remove | Unplug | Rmmod | PortRemove)
    }

    pub fn is_hotplug(self) -> bool {
        matches!(self, Unplug | Plug)
    }

    pub fn is_rescan(self) -> bool {
        matches!(
            self,
            RescanBus | RescanDevice | RescanParent | PortBusRescan
        )
    }

    /// Of two operations the one of higher rank begins, since the other one cannot be followed by
    /// it. Those of one rank take turns.
    pub fn rank(self) -> u32 {
        match self {
            PortBind => 3,
            Plug | Unplug => 2,
            Insmod => 1,
            _ => 0,
        }
    }

    /// What it needs to find. `function` is the PF that it is about.
    pub fn needs(self, function: usize) -> Needs {
        let mut needs = Needs::default();
        match self {
            Plug => needs.plugged = Some(false),
            Rmmod => needs.loaded = Some(true),
            Insmod => needs.loaded = Some(false),
            PortBind => needs.port_bound = Some(false),
            PortUnbind | PortRemove => needs.port_bound = Some(true),
            VfBind | VfMsixCount => needs.vf_bound = Some(false),
            VfUnbind => needs.vf_bound = Some(true),
            _ => {}
        }
        let (bound, vfs) = match self {
            Bind => (Some(false), Some(false)),
            Unbind => (Some(true), None),
            NumvfsUp => (Some(true), Some(false)),
            NumvfsDown | VfBind | VfUnbind | VfMsixCount => (Some(true), Some(true)),
            _ => (None, None),
        };
        if bound.is_some() {
            needs.loaded = Some(true);
        }
        if bound.is_some() || matches!(self, Remove | RescanDevice | Unplug) {
            needs.plugged = Some(true);
            needs.functions[function] = FunctionNeeds {
                present: Some(true),
                bound,
                vfs,
            };
        }
        if self.is_rescan() && function == 0 {
            // So that it has something to find.
            needs.functions[1].present = Some(false);
        }
        needs
    }
}

/// What a PF is to be like. `None` is what it usually is: there, bound, and without VFs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FunctionNeeds {
    pub present: Option<bool>,
    pub bound: Option<bool>,
    pub vfs: Option<bool>,
}

/// What all is to be like before a round. `None` is what it usually is: plugged, loaded, bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub plugged: Option<bool>,
    pub loaded: Option<bool>,
    pub port_bound: Option<bool>,
    pub functions: [FunctionNeeds; 2],
    /// The first VF of the first PF.
    pub vf_bound: Option<bool>,
}

impl Needs {
    /// What the operation that begins needs, and of what the other one needs all that can be.
    pub fn and_if_possible(mut self, other: &Self) -> Self {
        self.plugged = self.plugged.or(other.plugged);
        self.loaded = self.loaded.or(other.loaded);
        self.port_bound = self.port_bound.or(other.port_bound);
        self.vf_bound = self.vf_bound.or(other.vf_bound);
        for (mine, theirs) in self.functions.iter_mut().zip(&other.functions) {
            if mine.present == Some(false) {
                continue;
            }
            mine.present = mine.present.or(theirs.present);
            if mine.present != Some(false) {
                mine.bound = mine.bound.or(theirs.bound);
                mine.vfs = mine.vfs.or(theirs.vfs);
            }
        }
        if self.plugged == Some(false) || self.loaded == Some(false) {
            self.functions = self.functions.map(|of| FunctionNeeds {
                bound: Some(false),
                vfs: Some(false),
                ..of
            });
            self.vf_bound = None;
        }
        self
    }

    /// The same, with VFs, if nothing is in the way of that.
    pub fn with_vfs(mut self, function: usize) -> Self {
        let of = &mut self.functions[function];
        let free = of.vfs.is_none() && of.bound != Some(false) && of.present != Some(false);
        if free && self.plugged != Some(false) && self.loaded != Some(false) {
            of.bound = Some(true);
            of.vfs = Some(true);
        }
        self
    }
}

/// Whether two can be inside at once for an instant only: a driver's unbind file is made after its
/// devices are bound (`bus_add_driver()`), which is nearly all of what insmod does.
pub fn meet_for_an_instant(a: Operation, b: Operation) -> bool {
    matches!((a, b), (Unbind, Insmod) | (Insmod, Unbind))
}

/// Why a pair is not raced, if it is not.
pub fn meaningless(a: Operation, b: Operation) -> Option<&'static str> {
    let either = |operation| a == operation || b == operation;
    let binds_anew = either(Bind) || either(Insmod) || either(Plug);
    if a.is_hotplug() && b.is_hotplug() {
        return Some("the monitor refuses a second request for a slot that is not done with one");
    }
    if a == b && matches!(a, Insmod | Rmmod) {
        return Some("the module loader lets only one of them get as far as the driver");
    }
    if either(Bind) && either(Insmod) {
        return Some("insmod makes the driver's bind file when it has bound the PF");
    }
    if either(NumvfsDown) && binds_anew && a != b {
        return Some("a PF that is only being bound has no VFs to disable");
    }
    if (OF_VF.contains(&a) || OF_VF.contains(&b)) && binds_anew {
        return Some("a PF that is only being bound has no VFs");
    }
    if either(PortBind) && either(Unplug) {
        return Some("a port without a driver does not hear the request");
    }
    None
}
