// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the library's symbols to the modules of its users. The list is made
 * from the library's objects by Kbuild.
 */

#include <linux/export.h>

#include "exports_generated.h"
