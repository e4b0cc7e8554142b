// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 4, races 1 and 2: a region that ends when somebody writes
 * its name to an attribute, or when the driver is unbound, both through one devres
 * action, as CXL regions did.
 *
 * The bug is between the two calls in delete_store(): who has found the region has a
 * reference to its memory, and takes that for the right to unregister it. Two deletes
 * both find it, or one finds it and the unbind comes first; the second to arrive
 * misses the action, and devres warns. Had delete_store() unregistered the region by
 * itself, it would have been twice. And after an unbind and a bind there is another
 * region of that name, which the delete leaves alone and says that it has deleted.
 *
 * With Holdfast one compare-and-exchange decides who unregisters. Everybody else
 * returns when that is done, and learns that it was somebody else.
 */

#include <linux/module.h>
#include <linux/slab.h>

#include "faulty.h"

struct region {
	struct device dev;
};

static void region_release(struct device *dev)
{
	kfree(container_of(dev, struct region, dev));
}

static void unregister_region(void *data)
{
	struct region *region = data;

	device_unregister(&region->dev);
}

static ssize_t delete_store(struct device *dev, struct device_attribute *attr, const char *buf,
			    size_t count)
{
	struct device *region;
	int ret;

	region = device_find_child_by_name(dev, buf);
	if (!region)
		return -ENODEV;
	ret = faulty_wait();
	/* The bug: finding it was no promise that the action is still there. */
	if (!ret)
		devm_release_action(dev, unregister_region,
				    container_of(region, struct region, dev));
	put_device(region);
	return ret ?: count;
}
static DEVICE_ATTR_WO(delete);

static struct attribute *region_attrs[] = {
	&dev_attr_delete.attr,
	NULL
};

static const struct attribute_group region_group = {
	.attrs = region_attrs,
};

static int faulty_probe(struct platform_device *pdev)
{
	struct region *region;
	int ret;

	region = kzalloc_obj(*region);
	if (!region)
		return -ENOMEM;
	device_initialize(&region->dev);
	region->dev.parent = &pdev->dev;
	region->dev.release = region_release;
	ret = dev_set_name(&region->dev, "region0");
	if (!ret)
		ret = device_add(&region->dev);
	if (ret) {
		put_device(&region->dev);
		return ret;
	}
	return devm_add_action_or_reset(&pdev->dev, unregister_region, region);
}

static struct platform_driver faulty_driver = {
	.driver.name = KBUILD_MODNAME,
	.probe = faulty_probe,
};

static int __init faulty_init(void)
{
	return faulty_register(&faulty_driver, &region_group);
}
module_init(faulty_init);

static void __exit faulty_exit(void)
{
	faulty_unregister(&faulty_driver);
}
module_exit(faulty_exit);

MODULE_DESCRIPTION("An object that two tasks both unregister, for tests");
MODULE_LICENSE("GPL");
