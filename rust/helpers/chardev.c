// SPDX-License-Identifier: GPL-2.0

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/fs.h>

/*
 * Makes a character device that can be opened, with the number of @dev. It
 * holds @dev for as long as it exists, which is until after cdev_del() and the
 * end of every open that found it.
 */
struct cdev *holdfast_cdev_add(struct device *dev,
			       const struct file_operations *fops,
			       struct module *owner)
{
	struct cdev *cdev = cdev_alloc();
	int ret;

	if (!cdev)
		return ERR_PTR(-ENOMEM);

	cdev->ops = fops;
	cdev->owner = owner;
	cdev_set_parent(cdev, &dev->kobj);

	ret = cdev_add(cdev, dev->devt, 1);
	if (ret) {
		/* The parent is only held once the cdev is added. */
		cdev->kobj.parent = NULL;
		kobject_put(&cdev->kobj);
		return ERR_PTR(ret);
	}
	return cdev;
}

/*
 * The device whose character device @inode is. For use in an open callback:
 * chrdev_open() holds the cdev, which holds the device.
 */
struct device *holdfast_inode_to_device(struct inode *inode)
{
	return kobj_to_dev(inode->i_cdev->kobj.parent);
}
