// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. Story 2: managed and unmanaged resources in one driver. devres
 * releases in reverse order of acquisition, but all of it comes after remove().
 *
 * The bug is kfree() in faulty_remove(). The work that fills the buffer is managed and
 * is cancelled by devres, which is later: until then it runs, and writes to the buffer.
 * An interrupt that devm_request_irq() registered does the same.
 *
 * With Holdfast all that is bound is one value, made in one place and dropped in
 * reverse order of its construction; a driver has no second place to free from.
 */

#include <linux/devm-helpers.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "faulty.h"

struct sampler {
	struct work_struct work;
	u32 *buffer;
};

static void sampler_work(struct work_struct *work)
{
	struct sampler *sampler = container_of(work, struct sampler, work);

	/* Stands for the time that a measurement takes. */
	if (faulty_wait())
		return;
	/* The bug's victim: freed by faulty_remove(), which has not waited for this. */
	sampler->buffer[0]++;
}

/* The interrupt of a device that does not exist. */
static ssize_t interrupt_store(struct device *dev, struct device_attribute *attr, const char *buf,
			       size_t count)
{
	struct sampler *sampler = dev_get_drvdata(dev);

	if (!sampler)
		return -ENODEV;
	schedule_work(&sampler->work);
	return count;
}
static DEVICE_ATTR_WO(interrupt);

static struct attribute *sampler_attrs[] = {
	&dev_attr_interrupt.attr,
	NULL
};

static const struct attribute_group sampler_group = {
	.attrs = sampler_attrs,
};

static int faulty_probe(struct platform_device *pdev)
{
	struct sampler *sampler;
	int ret;

	sampler = devm_kzalloc(&pdev->dev, sizeof(*sampler), GFP_KERNEL);
	if (!sampler)
		return -ENOMEM;
	ret = devm_work_autocancel(&pdev->dev, &sampler->work, sampler_work);
	if (ret)
		return ret;
	sampler->buffer = kcalloc(16, sizeof(*sampler->buffer), GFP_KERNEL);
	if (!sampler->buffer)
		return -ENOMEM;
	platform_set_drvdata(pdev, sampler);
	return 0;
}

static void faulty_remove(struct platform_device *pdev)
{
	struct sampler *sampler = platform_get_drvdata(pdev);

	/* The bug: in reverse order of probe, as it looks, but devres comes after this. */
	kfree(sampler->buffer);
	faulty_mark();
}

static struct platform_driver faulty_driver = {
	.driver.name = KBUILD_MODNAME,
	.probe = faulty_probe,
	.remove = faulty_remove,
};

static int __init faulty_init(void)
{
	return faulty_register(&faulty_driver, &sampler_group);
}
module_init(faulty_init);

static void __exit faulty_exit(void)
{
	faulty_unregister(&faulty_driver);
}
module_exit(faulty_exit);

MODULE_DESCRIPTION("Memory freed before devres stops its user, for tests");
MODULE_LICENSE("GPL");
