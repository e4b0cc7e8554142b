// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 2: the smallest character device that a driver can have,
 * with its state in devm_kzalloc() memory, and a read() that sleeps.
 *
 * The bug is the use of `sensor` after the wait in sensor_read(). Nothing makes the
 * unbind wait for a call that is inside: misc_deregister() keeps new ones out, devres
 * frees the memory, and the read goes on with it. No file has to stay open for this;
 * one that is just being read is enough.
 *
 * With Holdfast a call enters through a door. Unbind closes it, wakes whoever sleeps
 * inside, and drops what was bound when the last one has left.
 */

#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "faulty.h"

struct sensor {
	struct miscdevice misc;
	u32 value;
};

static ssize_t sensor_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	struct sensor *sensor = container_of(file->private_data, struct sensor, misc);
	char text[16];
	int length, ret;

	/* Stands for wait_event() on a sample of the sensor. */
	ret = faulty_wait();
	if (ret)
		return ret;
	/* The bug: the driver may have been unbound meanwhile. */
	length = scnprintf(text, sizeof(text), "%u\n", sensor->value);
	return simple_read_from_buffer(to, count, position, text, length);
}

static const struct file_operations sensor_operations = {
	.owner = THIS_MODULE,
	.read = sensor_read,
};

static int faulty_probe(struct platform_device *pdev)
{
	struct sensor *sensor;

	sensor = devm_kzalloc(&pdev->dev, sizeof(*sensor), GFP_KERNEL);
	if (!sensor)
		return -ENOMEM;
	sensor->value = 42;
	sensor->misc.minor = MISC_DYNAMIC_MINOR;
	sensor->misc.name = KBUILD_MODNAME;
	sensor->misc.fops = &sensor_operations;
	sensor->misc.parent = &pdev->dev;
	platform_set_drvdata(pdev, sensor);
	return misc_register(&sensor->misc);
}

static void faulty_remove(struct platform_device *pdev)
{
	struct sensor *sensor = platform_get_drvdata(pdev);

	misc_deregister(&sensor->misc);
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

MODULE_DESCRIPTION("A read that is inside while the driver is unbound, for tests");
MODULE_LICENSE("GPL");
