// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 3: a driver that writes the release callback of a device
 * in its own memory, as VIRTIO transports and the parents of auxiliary devices do,
 * and that lets devres free that memory. The callback is for after the last
 * reference; devres is done at unbind.
 *
 * The bug is devm_kzalloc() in faulty_probe(). With a file open across the unbind,
 * KASAN reports the put of the last reference and all that the callback touches.
 * Without one, DEBUG_KOBJECT_RELEASE puts the callback off, and DEBUG_OBJECTS finds
 * the timer for that in memory which is being freed.
 *
 * With Holdfast there is no way to write a release callback. The one there is lies in
 * the library, and frees what the library has allocated.
 */

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "faulty.h"

struct transport {
	struct device dev;
	u32 *queues;
};

/* misc_deregister() waits for transport_open(), which so never finds it gone. */
static struct transport *the_transport;

static void transport_release(struct device *dev)
{
	struct transport *transport = container_of(dev, struct transport, dev);

	/* The bug's victim: the memory is gone, and with it the pointer. */
	kfree(transport->queues);
}

static int transport_open(struct inode *inode, struct file *file)
{
	/* As it should be: who keeps a pointer has a reference. */
	get_device(&the_transport->dev);
	file->private_data = the_transport;
	return 0;
}

static int transport_close(struct inode *inode, struct file *file)
{
	struct transport *transport = file->private_data;

	put_device(&transport->dev);
	return 0;
}

static const struct file_operations transport_operations = {
	.owner = THIS_MODULE,
	.open = transport_open,
	.release = transport_close,
};

static struct miscdevice transport_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &transport_operations,
};

static int faulty_probe(struct platform_device *pdev)
{
	struct transport *transport;
	int ret;

	/* The bug: this ends at unbind, whoever still holds a reference. */
	transport = devm_kzalloc(&pdev->dev, sizeof(*transport), GFP_KERNEL);
	if (!transport)
		return -ENOMEM;
	transport->queues = kcalloc(4, sizeof(*transport->queues), GFP_KERNEL);
	if (!transport->queues)
		return -ENOMEM;
	device_initialize(&transport->dev);
	transport->dev.parent = &pdev->dev;
	transport->dev.release = transport_release;
	ret = dev_set_name(&transport->dev, "transport0");
	if (!ret)
		ret = device_add(&transport->dev);
	if (ret)
		goto err_put;
	platform_set_drvdata(pdev, transport);
	the_transport = transport;
	ret = misc_register(&transport_misc);
	if (ret)
		goto err_del;
	return 0;

err_del:
	device_del(&transport->dev);
err_put:
	put_device(&transport->dev);
	return ret;
}

static void faulty_remove(struct platform_device *pdev)
{
	struct transport *transport = platform_get_drvdata(pdev);

	misc_deregister(&transport_misc);
	device_unregister(&transport->dev);
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

MODULE_DESCRIPTION("A release callback in memory that devres has freed, for tests");
MODULE_LICENSE("GPL");
