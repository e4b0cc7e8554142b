// SPDX-License-Identifier: GPL-2.0

#include <linux/wait_bit.h>

/* Sleeps until @condition holds, which is asked after each wake-up of @var. */
void holdfast_wait_until(void *var, bool (*condition)(void *data), void *data)
{
	wait_var_event(var, condition(data));
}

/* Wakes all who wait at @var. */
void holdfast_wake_all(void *var)
{
	/* What makes a condition true comes before the look for who waits. */
	smp_mb();
	wake_up_var(var);
}
