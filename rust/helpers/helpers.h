/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _HOLDFAST_HELPERS_H
#define _HOLDFAST_HELPERS_H

struct cdev;
struct device;
struct file_operations;
struct inode;
struct module;

struct cdev *holdfast_cdev_add(struct device *dev,
			       const struct file_operations *fops,
			       struct module *owner);
struct device *holdfast_inode_to_device(struct inode *inode);

int holdfast_devm_add_action(struct device *dev, void (*action)(void *),
			     void *data);
unsigned int holdfast_device_references(struct device *dev);

void holdfast_module_get(struct module *module);
void holdfast_module_put(struct module *module);
void holdfast_wait_for_running_text(void);

#endif /* _HOLDFAST_HELPERS_H */
