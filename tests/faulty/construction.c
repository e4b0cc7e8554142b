// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 4, race 3: a region that user space creates and deletes
 * through two attributes, as CXL regions are, and whose constructor goes on writing
 * after device_add() has made it visible.
 *
 * The bug is the last write in create_store(): the constructor has no reference of its
 * own, so a delete meanwhile has freed what it writes to. And since the parameter was
 * not yet written, the deletion detached no target.
 *
 * With Holdfast an object is complete before it can be registered: its data belongs to
 * the constructor, as Unregistered<T>, until then. Should its end be asked for while
 * it is being registered, the registrar notices that it lost and tears it down itself.
 */

#include <linux/module.h>
#include <linux/slab.h>

#include "faulty.h"

struct region {
	struct device dev;
	unsigned int interleave_ways;
};

static void region_release(struct device *dev)
{
	kfree(container_of(dev, struct region, dev));
}

static void unregister_region(void *data)
{
	struct region *region = data;

	dev_info(&region->dev, "detaching %u targets\n", region->interleave_ways);
	device_unregister(&region->dev);
}

static ssize_t create_store(struct device *dev, struct device_attribute *attr, const char *buf,
			    size_t count)
{
	struct region *region;
	int ret;

	region = kzalloc_obj(*region);
	if (!region)
		return -ENOMEM;
	device_initialize(&region->dev);
	region->dev.parent = dev;
	region->dev.release = region_release;
	ret = dev_set_name(&region->dev, "region0");
	if (!ret)
		ret = device_add(&region->dev);
	if (ret) {
		put_device(&region->dev);
		return ret;
	}
	ret = devm_add_action_or_reset(dev, unregister_region, region);
	if (ret)
		return ret;
	ret = faulty_wait();
	if (ret)
		return ret;
	/* The bug: anybody may have deleted it since device_add(). */
	region->interleave_ways = 2;
	return count;
}
static DEVICE_ATTR_WO(create);

static ssize_t delete_store(struct device *dev, struct device_attribute *attr, const char *buf,
			    size_t count)
{
	struct device *region;

	region = device_find_child_by_name(dev, buf);
	if (!region)
		return -ENODEV;
	devm_release_action(dev, unregister_region, container_of(region, struct region, dev));
	put_device(region);
	return count;
}
static DEVICE_ATTR_WO(delete);

static struct attribute *region_attrs[] = {
	&dev_attr_create.attr,
	&dev_attr_delete.attr,
	NULL
};

static const struct attribute_group region_group = {
	.attrs = region_attrs,
};

static struct platform_driver faulty_driver = {
	.driver.name = KBUILD_MODNAME,
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

MODULE_DESCRIPTION("An object that is deleted while it is constructed, for tests");
MODULE_LICENSE("GPL");
