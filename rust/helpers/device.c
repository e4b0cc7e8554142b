// SPDX-License-Identifier: GPL-2.0

#include <linux/device.h>

/*
 * What the devres of a device holds of the library. A device has one of these
 * while it has a binding (rust/holdfast/binding.rs); it is the newest of the
 * device's resources when something was registered last.
 */
struct holdfast_devres {
	void *binding;
	void (*release)(void *binding);
};

static void holdfast_devres_release(struct device *dev, void *res)
{
	struct holdfast_devres *devres = res;

	devres->release(devres->binding);
}

static int holdfast_devres_match(struct device *dev, void *res, void *match)
{
	return res == match;
}

/* The binding that the devres of @dev holds, or NULL. */
void *holdfast_devres_binding(struct device *dev)
{
	struct holdfast_devres *devres;

	devres = devres_find(dev, holdfast_devres_release, NULL, NULL);
	return devres ? devres->binding : NULL;
}

/* Makes @binding the newest resource of @dev. */
void *holdfast_devres_add(struct device *dev, void (*release)(void *binding),
			  void *binding)
{
	struct holdfast_devres *devres;

	devres = devres_alloc(holdfast_devres_release, sizeof(*devres),
			      GFP_KERNEL);
	if (!devres)
		return NULL;

	devres->binding = binding;
	devres->release = release;
	devres_add(dev, devres);
	return devres;
}

/*
 * Takes back what holdfast_devres_add() returned. False if devres is about to
 * release it, or has.
 */
bool holdfast_devres_remove(struct device *dev, void *devres)
{
	return !devres_destroy(dev, holdfast_devres_release,
			       holdfast_devres_match, devres);
}

/*
 * Makes what holdfast_devres_add() returned the newest resource of @dev again,
 * if there is one. The device lock must be held: devres must not release
 * meanwhile.
 */
void holdfast_devres_make_newest(struct device *dev)
{
	void *devres = devres_remove(dev, holdfast_devres_release, NULL, NULL);

	if (devres)
		devres_add(dev, devres);
}

/* Takes a reference to @dev, unless the last one was put. */
bool holdfast_device_get_unless_released(struct device *dev)
{
	return kobject_get_unless_zero(&dev->kobj);
}

/* For tests: the number of references to @dev. */
unsigned int holdfast_device_references(struct device *dev)
{
	return kref_read(&dev->kobj.kref);
}
