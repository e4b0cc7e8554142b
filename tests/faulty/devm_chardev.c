// SPDX-License-Identifier: GPL-2.0
/*
 * WRONG ON PURPOSE. A PCI driver with a character device, written the way that
 * devm_kzalloc() invites: the memory that open files point to is released when
 * the driver is unbound, not when the last of them is closed.
 *
 * The scenarios unbind it under an open file, and KASAN shows what happens then.
 * It drives the same device as samples/sriov_pf.rs, which is the same driver
 * without the fault.
 */

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>

#define STATUS 0x8

struct faulty {
	struct device dev;
	struct cdev cdev;
	u32 status;
};

static struct class *faulty_class;
static dev_t faulty_number;

static int faulty_open(struct inode *inode, struct file *file)
{
	file->private_data = container_of(inode->i_cdev, struct faulty, cdev);
	return 0;
}

static ssize_t faulty_read(struct file *file, char __user *to, size_t count, loff_t *position)
{
	/* The bug's first victim: freed at unbind, used while a file is open. */
	struct faulty *faulty = file->private_data;
	char text[32];
	int length;

	length = scnprintf(text, sizeof(text), "status 0x%08x\n", faulty->status);
	return simple_read_from_buffer(to, count, position, text, length);
}

static const struct file_operations faulty_operations = {
	.owner = THIS_MODULE,
	.open = faulty_open,
	.read = faulty_read,
};

static void faulty_release(struct device *dev)
{
	/* Nothing: "devm frees it". */
}

static int faulty_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct faulty *faulty;
	void __iomem *regs;
	int ret;

	/* The bug: this ends at unbind, whoever still holds a reference. */
	faulty = devm_kzalloc(&pdev->dev, sizeof(*faulty), GFP_KERNEL);
	if (!faulty)
		return -ENOMEM;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	regs = pcim_iomap(pdev, 0, 0);
	if (!regs)
		return -ENOMEM;
	faulty->status = readl(regs + STATUS);

	device_initialize(&faulty->dev);
	faulty->dev.parent = &pdev->dev;
	faulty->dev.class = faulty_class;
	faulty->dev.devt = faulty_number;
	faulty->dev.release = faulty_release;
	dev_set_name(&faulty->dev, "devm-chardev0");
	cdev_init(&faulty->cdev, &faulty_operations);
	faulty->cdev.owner = THIS_MODULE;
	ret = cdev_device_add(&faulty->cdev, &faulty->dev);
	if (ret) {
		put_device(&faulty->dev);
		return ret;
	}
	pci_set_drvdata(pdev, faulty);
	return 0;
}

static void faulty_remove(struct pci_dev *pdev)
{
	struct faulty *faulty = pci_get_drvdata(pdev);

	cdev_device_del(&faulty->cdev, &faulty->dev);
	put_device(&faulty->dev);
}

static const struct pci_device_id faulty_ids[] = {
	{ PCI_DEVICE(0x8086, 0x10c9) },
	{ }
};

static struct pci_driver faulty_driver = {
	.name = "devm_chardev",
	.id_table = faulty_ids,
	.probe = faulty_probe,
	.remove = faulty_remove,
};

static int __init faulty_init(void)
{
	int ret;

	ret = alloc_chrdev_region(&faulty_number, 0, 1, "devm-chardev");
	if (ret)
		return ret;
	faulty_class = class_create("devm_chardev");
	if (IS_ERR(faulty_class)) {
		ret = PTR_ERR(faulty_class);
		goto err_region;
	}
	ret = pci_register_driver(&faulty_driver);
	if (ret)
		goto err_class;
	return 0;

err_class:
	class_destroy(faulty_class);
err_region:
	unregister_chrdev_region(faulty_number, 1);
	return ret;
}
module_init(faulty_init);

static void __exit faulty_exit(void)
{
	pci_unregister_driver(&faulty_driver);
	class_destroy(faulty_class);
	unregister_chrdev_region(faulty_number, 1);
}
module_exit(faulty_exit);

MODULE_DESCRIPTION("The lifetime bug that Holdfast makes impossible, for tests");
MODULE_LICENSE("GPL");
