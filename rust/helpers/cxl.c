// SPDX-License-Identifier: GPL-2.0
/*
 * What rust/holdfast/cxl.rs needs of the CXL core, whose structures are private to
 * drivers/cxl. This file is the one place that knows them. Each thing that it relies
 * on is asserted below; where a kernel has changed one, this does not compile, and
 * the file has to be adapted to that kernel.
 *
 * What it relies on, beside the members:
 *
 * - cxl_rwsem.region protects the parameters of a region. It is not exported; the
 *   attributes of a region take it for reading when they are shown.
 * - The parameters of a committed region do not change. Whoever takes a region out
 *   of that state unbinds its driver after that.
 */

#include <linux/build_bug.h>
#include <linux/device.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/minmax.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uio.h>

#include <cxl.h>

#include "cxl_helpers.h"

#define CHANGED "the CXL core of this kernel is another one: adapt this file to it"

#define ASSERT_TYPE(found, expected)					\
	static_assert(__same_type(found, expected), CHANGED)

/* `RawDriver` in rust/holdfast/cxl.rs is this structure. */
ASSERT_TYPE(typeof_member(struct cxl_driver, name), const char *);
ASSERT_TYPE(typeof_member(struct cxl_driver, probe), int (*)(struct device *dev));
ASSERT_TYPE(typeof_member(struct cxl_driver, remove), void (*)(struct device *dev));
ASSERT_TYPE(typeof_member(struct cxl_driver, drv), struct device_driver);
ASSERT_TYPE(typeof_member(struct cxl_driver, id), int);
static_assert(offsetof(struct cxl_driver, name) == 0, CHANGED);
static_assert(offsetof(struct cxl_driver, probe) == sizeof(void *), CHANGED);
static_assert(offsetof(struct cxl_driver, remove) == 2 * sizeof(void *), CHANGED);
static_assert(offsetof(struct cxl_driver, drv) == 4 * sizeof(void *), CHANGED);
static_assert(offsetof(struct cxl_driver, id) ==
	      4 * sizeof(void *) + sizeof(struct device_driver), CHANGED);
static_assert(sizeof(struct cxl_driver) ==
	      ALIGN(offsetofend(struct cxl_driver, id), sizeof(void *)), CHANGED);
ASSERT_TYPE(__cxl_driver_register,
	    int(struct cxl_driver *, struct module *, const char *));

/* `State` and `Mode` in rust/holdfast/cxl.rs are these. */
static_assert(CXL_CONFIG_IDLE == 0, CHANGED);
static_assert(CXL_CONFIG_INTERLEAVE_ACTIVE == 1, CHANGED);
static_assert(CXL_CONFIG_ACTIVE == 2, CHANGED);
static_assert(CXL_CONFIG_RESET_PENDING == 3, CHANGED);
static_assert(CXL_CONFIG_COMMIT == 4, CHANGED);
static_assert(CXL_PARTMODE_RAM == 0, CHANGED);
static_assert(CXL_PARTMODE_PMEM == 1, CHANGED);

/* The `struct device` of a region is the region. */
static_assert(offsetof(struct cxl_region, dev) == 0, CHANGED);
ASSERT_TYPE(typeof_member(struct cxl_region, dev), struct device);
ASSERT_TYPE(typeof_member(struct cxl_region, hpa_range), struct range);
ASSERT_TYPE(typeof_member(struct cxl_region, mode), enum cxl_partition_mode);
ASSERT_TYPE(typeof_member(struct cxl_region, params), struct cxl_region_params);
ASSERT_TYPE(typeof_member(struct cxl_region_params, state), enum cxl_config_state);
ASSERT_TYPE(typeof_member(struct cxl_region_params, interleave_ways), int);
ASSERT_TYPE(typeof_member(struct cxl_region_params, interleave_granularity), int);
ASSERT_TYPE(typeof_member(struct cxl_region_params, nr_targets), int);

int holdfast_cxl_driver_register(void *driver, struct module *owner,
				 const char *modname)
{
	struct cxl_driver *cxl_drv = driver;

	cxl_drv->id = CXL_DEVICE_REGION;
	return __cxl_driver_register(cxl_drv, owner, modname);
}

void holdfast_cxl_driver_unregister(void *driver)
{
	cxl_driver_unregister(driver);
}

bool holdfast_cxl_is_region(struct device *dev)
{
	return is_cxl_region(dev);
}

static struct cxl_region *to_region(struct device *dev)
{
	return container_of(dev, struct cxl_region, dev);
}

/*
 * Shows the attribute @name of the region @dev in @page, as a read of its file in
 * sysfs does; the length, or an error.
 */
static ssize_t show(struct device *dev, const char *name, char *page)
{
	const struct attribute_group **group;

	for (group = dev->type->groups; group && *group; group++) {
		struct attribute **attr;

		for (attr = (*group)->attrs; attr && *attr; attr++) {
			struct device_attribute *dev_attr =
				container_of(*attr, struct device_attribute, attr);

			if (!strcmp((*attr)->name, name) && dev_attr->show)
				return dev_attr->show(dev, dev_attr, page);
		}
	}
	return -EOPNOTSUPP;
}

/* Whether the region is committed, at a moment at which nobody is changing it. */
static int require_committed(struct device *dev)
{
	char *page __free(kfree) = kzalloc(PAGE_SIZE, GFP_KERNEL);
	ssize_t length;

	if (!page)
		return -ENOMEM;
	length = show(dev, "commit", page);
	if (length < 0)
		return length;
	return sysfs_streq(page, "1") ? 0 : -ENXIO;
}

unsigned int holdfast_cxl_state(struct device *dev)
{
	return READ_ONCE(to_region(dev)->params.state);
}

static void read_parameters(struct device *dev,
			    struct holdfast_cxl_parameters *parameters)
{
	struct cxl_region *cxlr = to_region(dev);

	*parameters = (struct holdfast_cxl_parameters) {
		.start = READ_ONCE(cxlr->hpa_range.start),
		.end = READ_ONCE(cxlr->hpa_range.end),
		.ways = READ_ONCE(cxlr->params.interleave_ways),
		.granularity = READ_ONCE(cxlr->params.interleave_granularity),
		.targets = READ_ONCE(cxlr->params.nr_targets),
		.mode = READ_ONCE(cxlr->mode),
		.state = READ_ONCE(cxlr->params.state),
	};
}

/*
 * Reads the parameters of the bound region @dev as they belong together: they are
 * the same before and after a moment at which the region was committed and nobody
 * was changing it. If they are not, the region is being taken away: -ENXIO.
 */
int holdfast_cxl_parameters(struct device *dev,
			    struct holdfast_cxl_parameters *parameters)
{
	struct holdfast_cxl_parameters again;
	int ret;

	read_parameters(dev, parameters);
	ret = require_committed(dev);
	if (ret)
		return ret;
	read_parameters(dev, &again);
	if (parameters->state != CXL_CONFIG_COMMIT ||
	    memcmp(parameters, &again, sizeof(again)))
		return -ENXIO;
	return 0;
}

/* Copies the name of a target to @name, which is a zeroed page. */
int holdfast_cxl_target(struct device *dev, unsigned int position, char *name)
{
	char attribute[] = "target4294967295";
	ssize_t length;

	if (position >= CXL_DECODER_MAX_INTERLEAVE)
		return -ENXIO;
	snprintf(attribute, sizeof(attribute), "target%u", position);
	length = show(dev, attribute, name);
	if (length < 0)
		return length;
	strim(name);
	return 0;
}

/* Takes the range for a driver, and maps it for the kernel. */
void *holdfast_cxl_map(u64 start, u64 size, const char *name)
{
	void *address;

	if (!request_mem_region(start, size, name))
		return ERR_PTR(-EBUSY);
	address = memremap(start, size, MEMREMAP_WB);
	if (!address) {
		release_mem_region(start, size);
		return ERR_PTR(-ENXIO);
	}
	return address;
}

void holdfast_cxl_unmap(void *address, u64 start, u64 size)
{
	memunmap(address);
	release_mem_region(start, size);
}

/* Others get the CPU after so much, and a task that is killed stops. */
#define COPY_AT_ONCE SZ_64K

/* Whether a copy goes on of which the last part of @wanted bytes has copied @done. */
static bool go_on(size_t wanted, size_t done)
{
	cond_resched();
	return done == wanted && !fatal_signal_pending(current);
}

/*
 * Copy between the memory of a region and user space, which may be writing to both
 * meanwhile. A line of that memory that is poisoned ends the copy.
 */
size_t holdfast_cxl_copy_to_iter(const void *from, size_t length, struct iov_iter *to)
{
	size_t copied = 0, wanted, done;

	do {
		wanted = min(length - copied, COPY_AT_ONCE);
		done = _copy_mc_to_iter(from + copied, wanted, to);
		copied += done;
	} while (copied < length && go_on(wanted, done));
	return copied;
}

size_t holdfast_cxl_copy_from_iter(void *to, size_t length, struct iov_iter *from)
{
	size_t copied = 0, wanted, done;

	do {
		wanted = min(length - copied, COPY_AT_ONCE);
		done = _copy_from_iter(to + copied, wanted, from);
		copied += done;
	} while (copied < length && go_on(wanted, done));
	return copied;
}
