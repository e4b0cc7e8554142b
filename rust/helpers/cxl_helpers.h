/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _HOLDFAST_CXL_HELPERS_H
#define _HOLDFAST_CXL_HELPERS_H

#include <linux/types.h>

struct device;
struct iov_iter;
struct module;

/* What rust/holdfast/cxl.rs knows of a region. It has no padding. */
struct holdfast_cxl_parameters {
	u64 start;
	u64 end;
	u32 ways;
	u32 granularity;
	u32 targets;
	u32 mode;
	u64 state;
};

int holdfast_cxl_driver_register(void *driver, struct module *owner,
				 const char *modname);
void holdfast_cxl_driver_unregister(void *driver);
bool holdfast_cxl_is_region(struct device *dev);
unsigned int holdfast_cxl_state(struct device *dev);
int holdfast_cxl_parameters(struct device *dev,
			    struct holdfast_cxl_parameters *parameters);
int holdfast_cxl_target(struct device *dev, unsigned int position, char *name);

void *holdfast_cxl_map(u64 start, u64 size, const char *name);
void holdfast_cxl_unmap(void *address, u64 start, u64 size);
size_t holdfast_cxl_copy_to_iter(const void *from, size_t length, struct iov_iter *to);
size_t holdfast_cxl_copy_from_iter(void *to, size_t length, struct iov_iter *from);

#endif /* _HOLDFAST_CXL_HELPERS_H */
