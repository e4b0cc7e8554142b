// SPDX-License-Identifier: GPL-2.0

//! All scenarios, in the order in which they run.

mod allocation;
mod attribute;
mod chardev;
mod cxl_core;
pub mod faulty;
mod forgetful;
mod kunit;
mod loading;
mod race;
pub mod region;
pub mod registry;
mod removal;
mod sriov;
mod unbind;
mod vfs;

use crate::scenario::Scenario;

pub static ALL: &[Scenario] = &[
    loading::ORDER,
    loading::PROBE,
    vfs::ON_AND_OFF,
    unbind::UNDER_OPEN_FILE,
    unbind::WITH_VFS,
    unbind::RMMOD_UNDER_OPEN_FILE,
    unbind::RMMOD_WITH_VFS,
    removal::UNDER_OPEN_FILE,
    removal::WITH_VFS,
    sriov::VF_DRIVER_READS,
    sriov::UNBIND_PF,
    sriov::REMOVE_PF,
    sriov::RMMOD_PF,
    sriov::RMMOD_ORDERS,
    sriov::MSIX_COUNT,
    sriov::MSIX_COUNT_AGAINST_REMOVAL,
    sriov::OWN_ATTRIBUTE,
    sriov::OWN_ATTRIBUTE_AGAINST_REMOVE,
    sriov::OWN_ATTRIBUTE_AGAINST_NUMVFS,
    sriov::RMMOD_AGAINST_NUMVFS,
    sriov::NVME,
    race::READERS_AGAINST_UNBIND,
    attribute::READABLE,
    attribute::UNDER_OPEN_FILE,
    race::ATTRIBUTE_READERS_AGAINST_UNBIND,
    chardev::OPERATIONS,
    chardev::LACKING,
    chardev::BLOCKED_READERS,
    chardev::UNPLUGGED,
    chardev::POLLERS,
    chardev::MAPPINGS,
    chardev::SIGNALS,
    chardev::MANY_FILES,
    chardev::RACE,
    allocation::BIND,
    allocation::FILE,
    forgetful::KEEPS,
    forgetful::FORGETS,
    registry::LIFECYCLE,
    registry::DELETE,
    registry::DELETE_AGAINST_DELETE,
    registry::DELETE_AGAINST_UNBIND,
    registry::DELETE_ACROSS_REBIND,
    registry::DELETE_DURING_CONSTRUCTION,
    registry::RACES,
    region::FILE,
    region::TAKEN_AWAY,
    region::MEMORY_GOES,
    region::INTERLEAVED,
    region::DELETE_AGAINST_DELETE,
    region::DELETE_AGAINST_UNBIND,
    region::DELETE_ACROSS_REBIND,
    region::DELETE_AGAINST_RESET,
    region::RESET_AGAINST_RESET,
    region::RESET_ACROSS_REBIND,
    region::DELETE_DURING_PROBE,
    kunit::SUITES,
    faulty::UNBIND_COMPLETION,
    faulty::DELETE_AGAINST_DELETE,
    faulty::DELETE_AGAINST_UNBIND,
    faulty::DELETE_ACROSS_REBIND,
    faulty::DELETE_DURING_CONSTRUCTION,
    faulty::CALL_IN_FLIGHT,
    faulty::DEVRES_ORDER,
    faulty::DEVM_RELEASE,
    faulty::DEVM_RELEASE_DELAYED,
    faulty::DEVM_CHARDEV,
    cxl_core::ATTRIBUTES,
    cxl_core::KILLED_DELETE,
];
