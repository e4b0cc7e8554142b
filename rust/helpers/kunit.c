// SPDX-License-Identifier: GPL-2.0

#include <linux/moduleparam.h>

#ifdef HOLDFAST_KUNIT_TEST
/* Few under KASAN, which is emulated where there is no KVM. */
static unsigned int holdfast_race_rounds = IS_ENABLED(CONFIG_KASAN) ? 50 : 100;
#ifndef __CHECKER__ /* Released versions of sparse do not know what 7.3 makes of these. */
module_param_named(race_rounds, holdfast_race_rounds, uint, 0444);
MODULE_PARM_DESC(race_rounds, "how many rounds each race of the KUnit suites has");
#endif

/* How many rounds each race of the KUnit suites has. */
unsigned int holdfast_kunit_race_rounds(void)
{
	return holdfast_race_rounds;
}
#endif
