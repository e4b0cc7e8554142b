/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the faulty modules share, and what is the point of none of them: a platform
 * device that is bound to the module's driver, and a gate.
 *
 * A race goes wrong at the right moment only. The gate makes that moment last until
 * the scenario has done the other half of the race; it changes nothing else. It is
 * worked through attributes of the device, which stay while it is not bound:
 *
 *   reached  how often a task has come to the gate, or past a mark
 *   open     written to, lets through whoever waits at the gate and whoever will
 */

#ifndef FAULTY_H
#define FAULTY_H

#include <linux/atomic.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/jiffies.h>
#include <linux/platform_device.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

static struct platform_device *faulty_device;
static atomic_t faulty_count = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(faulty_gate);
static bool faulty_gate_is_open;

/* Tell the scenario that something has happened. */
static inline void faulty_mark(void)
{
	atomic_inc(&faulty_count);
}

/* Wait until the scenario opens the gate; an error if it does not, or is killed. */
static inline int faulty_wait(void)
{
	long left;

	faulty_mark();
	left = wait_event_killable_timeout(faulty_gate, READ_ONCE(faulty_gate_is_open), 30 * HZ);
	if (left < 0)
		return left;
	return left ? 0 : -ETIMEDOUT;
}

static ssize_t reached_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return sysfs_emit(buf, "%d\n", atomic_read(&faulty_count));
}
static DEVICE_ATTR_RO(reached);

static ssize_t open_store(struct device *dev, struct device_attribute *attr, const char *buf,
			  size_t count)
{
	WRITE_ONCE(faulty_gate_is_open, true);
	wake_up_all(&faulty_gate);
	return count;
}
static DEVICE_ATTR_WO(open);

static struct attribute *faulty_gate_attrs[] = {
	&dev_attr_reached.attr,
	&dev_attr_open.attr,
	NULL
};

static const struct attribute_group faulty_gate_group = {
	.attrs = faulty_gate_attrs,
};

/* The second is the module's own, if it has any. */
static const struct attribute_group *faulty_groups[] = {
	&faulty_gate_group,
	NULL,
	NULL
};

/* Make a device with the driver's name, and bind them. */
static inline int faulty_register(struct platform_driver *driver,
				  const struct attribute_group *group)
{
	int ret;

	ret = platform_driver_register(driver);
	if (ret)
		return ret;
	faulty_device = platform_device_alloc(driver->driver.name, PLATFORM_DEVID_NONE);
	if (!faulty_device) {
		ret = -ENOMEM;
		goto err_driver;
	}
	faulty_groups[1] = group;
	faulty_device->dev.groups = faulty_groups;
	ret = platform_device_add(faulty_device);
	if (ret)
		goto err_device;
	return 0;

err_device:
	platform_device_put(faulty_device);
err_driver:
	platform_driver_unregister(driver);
	return ret;
}

static inline void faulty_unregister(struct platform_driver *driver)
{
	platform_device_unregister(faulty_device);
	platform_driver_unregister(driver);
}

#endif /* FAULTY_H */
