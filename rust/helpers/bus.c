// SPDX-License-Identifier: GPL-2.0

#include <linux/cleanup.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/slab.h>

/*
 * A bus with a device that something was registered below. It is watched until
 * the library goes, or the module of the bus: to stop earlier could wait for a
 * notifier that the caller is called from.
 */
struct holdfast_bus {
	const struct bus_type *bus;
	struct notifier_block block;
	struct list_head list;
};

static LIST_HEAD(holdfast_buses);
static DEFINE_MUTEX(holdfast_buses_lock);
static void (*holdfast_bus_unbinding)(struct device *dev);

/* The driver core calls this with the device lock held, before it releases devres. */
static int holdfast_bus_notify(struct notifier_block *block,
			       unsigned long action, void *dev)
{
	if (action == BUS_NOTIFY_UNBIND_DRIVER ||
	    action == BUS_NOTIFY_DRIVER_NOT_BOUND)
		holdfast_bus_unbinding(dev);
	return NOTIFY_OK;
}

/*
 * Calls @unbinding whenever a device on the bus of @dev is about to be unbound,
 * or its probe has failed. A device without a bus has no driver to unbind.
 */
int holdfast_bus_watch(struct device *dev, void (*unbinding)(struct device *dev))
{
	struct holdfast_bus *watched;
	int ret;

	if (!dev->bus)
		return 0;

	guard(mutex)(&holdfast_buses_lock);
	list_for_each_entry(watched, &holdfast_buses, list)
		if (watched->bus == dev->bus)
			return 0;

	watched = kzalloc_obj(*watched);
	if (!watched)
		return -ENOMEM;

	holdfast_bus_unbinding = unbinding;
	watched->bus = dev->bus;
	watched->block.notifier_call = holdfast_bus_notify;
	ret = bus_register_notifier(watched->bus, &watched->block);
	if (ret) {
		kfree(watched);
		return ret;
	}
	list_add(&watched->list, &holdfast_buses);
	return 0;
}

/*
 * Stops to watch the buses of @module, which has unregistered them; all buses if
 * it is NULL.
 */
void holdfast_buses_unwatch(struct module *module)
{
	struct holdfast_bus *watched, *next;

	guard(mutex)(&holdfast_buses_lock);
	list_for_each_entry_safe(watched, next, &holdfast_buses, list) {
		if (!module)
			bus_unregister_notifier(watched->bus, &watched->block);
		else if (!within_module((unsigned long)watched->bus, module))
			continue;
		list_del(&watched->list);
		kfree(watched);
	}
}
