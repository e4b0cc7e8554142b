// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 3: an adapter whose deletion waits until its memory has
 * been given back, as i2c_del_adapter() does, because that memory is not its own.
 *
 * The bug is wait_for_completion() in adapter_del(). It waits for the last reference,
 * and an open file has one: whoever unbinds the driver, holding the device lock, is
 * stuck until user space cares to close it, and cannot even be killed.
 *
 * With Holdfast the memory belongs to the reference count, so there is nothing to
 * wait for: unbind ends what the object does, wakes whoever sleeps in it, and returns.
 */

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "faulty.h"

struct adapter {
	struct device dev;
	struct completion released;
};

/* misc_deregister() waits for adapter_open(), which so never finds it gone. */
static struct adapter *the_adapter;

static void adapter_release(struct device *dev)
{
	struct adapter *adapter = container_of(dev, struct adapter, dev);

	complete(&adapter->released);
}

static void adapter_del(struct adapter *adapter)
{
	device_unregister(&adapter->dev);
	/* The bug: this is up to user space. */
	wait_for_completion(&adapter->released);
}

static int adapter_open(struct inode *inode, struct file *file)
{
	get_device(&the_adapter->dev);
	file->private_data = the_adapter;
	return 0;
}

static int adapter_close(struct inode *inode, struct file *file)
{
	struct adapter *adapter = file->private_data;

	put_device(&adapter->dev);
	return 0;
}

static const struct file_operations adapter_operations = {
	.owner = THIS_MODULE,
	.open = adapter_open,
	.release = adapter_close,
};

static struct miscdevice adapter_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &adapter_operations,
};

static int faulty_probe(struct platform_device *pdev)
{
	struct adapter *adapter;
	int ret;

	adapter = devm_kzalloc(&pdev->dev, sizeof(*adapter), GFP_KERNEL);
	if (!adapter)
		return -ENOMEM;
	init_completion(&adapter->released);
	device_initialize(&adapter->dev);
	adapter->dev.parent = &pdev->dev;
	adapter->dev.release = adapter_release;
	ret = dev_set_name(&adapter->dev, "adapter0");
	if (!ret)
		ret = device_add(&adapter->dev);
	if (ret) {
		put_device(&adapter->dev);
		return ret;
	}
	platform_set_drvdata(pdev, adapter);
	the_adapter = adapter;
	ret = misc_register(&adapter_misc);
	if (ret)
		adapter_del(adapter);
	return ret;
}

static void faulty_remove(struct platform_device *pdev)
{
	misc_deregister(&adapter_misc);
	adapter_del(platform_get_drvdata(pdev));
}

static struct platform_driver faulty_driver = {
	.driver.name = KBUILD_MODNAME,
	.probe = faulty_probe,
	.remove = faulty_remove,
};

static int __init faulty_init(void)
{
	return faulty_register(&faulty_driver, NULL);
}
module_init(faulty_init);

static void __exit faulty_exit(void)
{
	faulty_unregister(&faulty_driver);
}
module_exit(faulty_exit);

MODULE_DESCRIPTION("An unbind that waits for user space, for tests");
MODULE_LICENSE("GPL");
