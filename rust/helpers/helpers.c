// SPDX-License-Identifier: GPL-2.0
/*
 * C shims: inline functions, macros and fields that Rust cannot reach, one
 * file a subsystem. Their Rust declarations are in rust/holdfast/shims.rs.
 */

#include "helpers.h"

#include "bus.c"
#include "chardev.c"
#include "device.c"
#include "door.c"
#include "interrupt.c"
#include "kunit.c"
#include "module.c"
#include "pci.c"
#include "wait.c"
#include "workqueue.c"
