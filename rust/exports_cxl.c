// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the symbols of the CXL abstraction to the modules of its users. The list
 * is made from its objects by Kbuild.
 */

#include <linux/export.h>

#include "exports_cxl_generated.h"
