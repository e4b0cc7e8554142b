// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>

int holdfast_devm_add_action(struct device *dev, void (*action)(void *),
			     void *data)
{
	return __devm_add_action(dev, action, data, "holdfast registration");
}

/* For tests: the number of references to @dev. */
unsigned int holdfast_device_references(struct device *dev)
{
	return kref_read(&dev->kobj.kref);
}
