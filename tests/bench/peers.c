// SPDX-License-Identifier: GPL-2.0

/*
 * What Holdfast is compared with, as C does it. Each way to get at an object that can
 * go is here in the few calls that it consists of, so that no subsystem needs to be
 * configured: drm_dev_enter() is one SRCU for all devices and a flag, fwctl has a
 * rwsem for each device and a pointer that becomes NULL.
 */

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/device/devres.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/percpu-refcount.h>
#include <linux/rwsem.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/wait.h>

#include "bench.h"

/* An object that can go, with everything that anybody enters it by. */
struct peer {
	u32 value;
	bool gone;
	const void *ops;
	struct mutex mutex; /* protects gone, for those who enter by it */
	struct rw_semaphore rwsem;
	struct srcu_struct srcu;
	struct srcu_struct srcu_fast;
	struct percpu_ref ref;
};

DEFINE_STATIC_SRCU(one_for_all);

/* For whoever looks into the object: what is read must not be left out. */
static __always_inline u32 use(struct peer *peer)
{
	return READ_ONCE(peer->value);
}

/*
 * The operations that are measured. Each is a function of its own that nothing is
 * inlined into or out of, so that its object code can be looked at, too.
 */

u32 holdfast_bench_c_plain(void *data);
noinline u32 holdfast_bench_c_plain(void *data)
{
	return use(data);
}

u32 holdfast_bench_c_srcu(void *data);
noinline u32 holdfast_bench_c_srcu(void *data)
{
	u32 value = 0;
	struct peer *peer = data;
	int index = srcu_read_lock(&peer->srcu);

	if (!READ_ONCE(peer->gone))
		value = use(peer);
	srcu_read_unlock(&peer->srcu, index);
	return value;
}

u32 holdfast_bench_c_srcu_fast(void *data);
noinline u32 holdfast_bench_c_srcu_fast(void *data)
{
	u32 value = 0;
	struct peer *peer = data;
	struct srcu_ctr __percpu *counter = srcu_read_lock_fast(&peer->srcu_fast);

	if (!READ_ONCE(peer->gone))
		value = use(peer);
	srcu_read_unlock_fast(&peer->srcu_fast, counter);
	return value;
}

u32 holdfast_bench_c_drm(void *data);
noinline u32 holdfast_bench_c_drm(void *data)
{
	u32 value = 0;
	struct peer *peer = data;
	int index = srcu_read_lock(&one_for_all);

	if (!READ_ONCE(peer->gone))
		value = use(peer);
	srcu_read_unlock(&one_for_all, index);
	return value;
}

u32 holdfast_bench_c_rwsem(void *data);
noinline u32 holdfast_bench_c_rwsem(void *data)
{
	u32 value = 0;
	struct peer *peer = data;

	down_read(&peer->rwsem);
	if (peer->ops)
		value = use(peer);
	up_read(&peer->rwsem);
	return value;
}

u32 holdfast_bench_c_percpu_ref(void *data);
noinline u32 holdfast_bench_c_percpu_ref(void *data)
{
	u32 value = 0;
	struct peer *peer = data;

	if (percpu_ref_tryget_live(&peer->ref)) {
		value = use(peer);
		percpu_ref_put(&peer->ref);
	}
	return value;
}

u32 holdfast_bench_c_mutex(void *data);
noinline u32 holdfast_bench_c_mutex(void *data)
{
	u32 value = 0;
	struct peer *peer = data;

	mutex_lock(&peer->mutex);
	if (!peer->gone)
		value = use(peer);
	mutex_unlock(&peer->mutex);
	return value;
}

static const struct {
	const char *who;
	u32 (*once)(void *data);
} ways[] = {
	{ "srcu", holdfast_bench_c_srcu },
	{ "srcu-fast", holdfast_bench_c_srcu_fast },
	{ "rwsem", holdfast_bench_c_rwsem },
	{ "percpu_ref", holdfast_bench_c_percpu_ref },
	{ "mutex", holdfast_bench_c_mutex },
	{ "drm_dev_enter", holdfast_bench_c_drm },
};

static void ref_released(struct percpu_ref *ref)
{
}

static int peer_init(struct peer *peer)
{
	int ret;

	peer->ops = peer;
	mutex_init(&peer->mutex);
	init_rwsem(&peer->rwsem);
	ret = init_srcu_struct(&peer->srcu);
	if (ret)
		return ret;
	ret = init_srcu_struct_fast(&peer->srcu_fast);
	if (ret)
		goto no_fast;
	ret = percpu_ref_init(&peer->ref, ref_released, 0, GFP_KERNEL);
	if (ret)
		goto no_ref;
	return 0;

no_ref:
	cleanup_srcu_struct(&peer->srcu_fast);
no_fast:
	cleanup_srcu_struct(&peer->srcu);
	return ret;
}

static void peer_end(struct peer *peer)
{
	synchronize_srcu(&peer->srcu);
	synchronize_srcu(&peer->srcu_fast);
	percpu_ref_exit(&peer->ref);
	cleanup_srcu_struct(&peer->srcu_fast);
	cleanup_srcu_struct(&peer->srcu);
}

static void measure_access(struct peer *peer)
{
	unsigned int i;

	holdfast_bench_measure("bound", "plain-c", holdfast_bench_c_plain, peer, true);
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		holdfast_bench_measure("access", ways[i].who, ways[i].once, peer, true);
}

/* The same with another CPU in the same object. */
static void measure_contended(struct peer *peer)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		struct holdfast_bench_busy *busy;

		busy = holdfast_bench_busy_begin(ways[i].once, peer);
		if (!busy)
			return;
		holdfast_bench_measure("access-contended", ways[i].who, ways[i].once, peer, true);
		holdfast_bench_busy_end(busy);
	}
}

/* What a stuck reader delays: the end of another object. */

static u32 stay_drm(void *data)
{
	int index = srcu_read_lock(&one_for_all);

	holdfast_bench_stuck_wait();
	srcu_read_unlock(&one_for_all, index);
	return 0;
}

static u32 stay_srcu(void *data)
{
	struct peer *peer = data;
	int index = srcu_read_lock(&peer->srcu);

	holdfast_bench_stuck_wait();
	srcu_read_unlock(&peer->srcu, index);
	return 0;
}

static void measure_stuck_by(const char *who, u32 (*stay)(void *data), struct peer *stuck,
			     struct srcu_struct *waits_for)
{
	struct task_struct *task;
	u64 begin, value;

	begin = holdfast_bench_now();
	synchronize_srcu(waits_for);
	value = holdfast_bench_now() - begin;
	holdfast_bench_report("stuck", who, 0, 1, &value, 1);

	task = holdfast_bench_stuck_begin(stay, stuck);
	if (!task)
		return;
	begin = holdfast_bench_now();
	synchronize_srcu(waits_for);
	value = holdfast_bench_now() - begin;
	holdfast_bench_stuck_end(task);
	holdfast_bench_report("stuck", who, 1, 1, &value, 1);
}

static void measure_stuck(struct peer *one, struct peer *other)
{
	measure_stuck_by("drm_dev_enter", stay_drm, one, &one_for_all);
	measure_stuck_by("srcu", stay_srcu, one, &other->srcu);
}

/* An object that is a device of a class, and nothing else. */
struct plain {
	struct device dev;
	u32 value;
	int number;
};

static DEFINE_IDA(numbers);

static void plain_release(struct device *dev)
{
	struct plain *plain = container_of(dev, struct plain, dev);

	ida_free(&numbers, plain->number);
	kfree(plain);
}

static const struct class plain_class = {
	.name = "holdfast_bench_c",
	.dev_release = plain_release,
};

static struct plain *plain_add(struct device *parent)
{
	struct plain *plain = kzalloc_obj(*plain);
	int ret;

	if (!plain)
		return ERR_PTR(-ENOMEM);
	plain->number = ida_alloc(&numbers, GFP_KERNEL);
	if (plain->number < 0) {
		ret = plain->number;
		kfree(plain);
		return ERR_PTR(ret);
	}
	device_initialize(&plain->dev);
	plain->dev.class = &plain_class;
	plain->dev.parent = parent;
	ret = dev_set_name(&plain->dev, "holdfast-bench-c%d", plain->number);
	if (!ret)
		ret = device_add(&plain->dev);
	if (ret) {
		put_device(&plain->dev);
		return ERR_PTR(ret);
	}
	return plain;
}

static void plain_remove(struct plain *plain)
{
	device_del(&plain->dev);
	put_device(&plain->dev);
}

static int measure_object(struct device *parent)
{
	/* As many as on the other side, which says why. */
	unsigned int round, i;
	u64 values[31];

	for (round = 0; round < ARRAY_SIZE(values); round++) {
		u64 begin;

		cond_resched();
		begin = holdfast_bench_now();
		for (i = 0; i < 4; i++) {
			struct plain *plain = plain_add(parent);

			if (IS_ERR(plain))
				return PTR_ERR(plain);
			plain_remove(plain);
		}
		values[round] = holdfast_bench_now() - begin;
	}
	holdfast_bench_report("object", "device_add", 1, 4, values, ARRAY_SIZE(values));
	return 0;
}

/* Many objects below one: as a subsystem has them, in an array. */
static int measure_many(struct device *above, unsigned int n)
{
	struct plain **children = kvcalloc(n, sizeof(*children), GFP_KERNEL);
	struct plain *parent;
	u64 begin, value;
	unsigned int i;

	if (!children)
		return -ENOMEM;
	parent = plain_add(above);
	if (IS_ERR(parent)) {
		kvfree(children);
		return PTR_ERR(parent);
	}
	begin = holdfast_bench_now();
	for (i = 0; i < n; i++) {
		children[i] = plain_add(&parent->dev);
		if (IS_ERR(children[i]))
			break;
	}
	value = holdfast_bench_now() - begin;
	if (i == n)
		holdfast_bench_report("many-register", "device_add", n, 1, &value, 1);
	begin = holdfast_bench_now();
	while (i--)
		plain_remove(children[i]);
	plain_remove(parent);
	value = holdfast_bench_now() - begin;
	holdfast_bench_report("many-end", "device_add", n, 1, &value, 1);
	kvfree(children);
	return 0;
}

/* A character device as fwctl has it. */
struct fwctl_way {
	struct device dev;
	struct cdev cdev;
	struct rw_semaphore registration_lock;
	struct mutex files_lock; /* protects files */
	struct list_head files;
	const void *ops;
};

struct fwctl_way_file {
	struct list_head entry;
	struct fwctl_way *device;
};

static int fwctl_way_open(struct inode *inode, struct file *filp)
{
	struct fwctl_way *device = container_of(inode->i_cdev, struct fwctl_way, cdev);
	struct fwctl_way_file *file;
	int ret = -ENODEV;

	down_read(&device->registration_lock);
	if (!device->ops)
		goto out;
	ret = -ENOMEM;
	file = kzalloc_obj(*file);
	if (!file)
		goto out;
	file->device = device;
	mutex_lock(&device->files_lock);
	list_add_tail(&file->entry, &device->files);
	mutex_unlock(&device->files_lock);
	get_device(&device->dev);
	filp->private_data = file;
	ret = 0;
out:
	up_read(&device->registration_lock);
	return ret;
}

static int fwctl_way_release(struct inode *inode, struct file *filp)
{
	struct fwctl_way_file *file = filp->private_data;
	struct fwctl_way *device = file->device;

	down_read(&device->registration_lock);
	if (device->ops) {
		mutex_lock(&device->files_lock);
		list_del(&file->entry);
		mutex_unlock(&device->files_lock);
	}
	up_read(&device->registration_lock);
	kfree(file);
	put_device(&device->dev);
	return 0;
}

static const struct file_operations fwctl_way_fops = {
	.owner = THIS_MODULE,
	.open = fwctl_way_open,
	.release = fwctl_way_release,
};

static void fwctl_way_free(struct device *dev)
{
	kfree(container_of(dev, struct fwctl_way, dev));
}

static const struct class fwctl_way_class = {
	.name = "holdfast_bench_fwctl",
	.dev_release = fwctl_way_free,
};

static void fwctl_way_unregister(struct fwctl_way *device)
{
	struct fwctl_way_file *file, *next;

	cdev_device_del(&device->cdev, &device->dev);
	down_write(&device->registration_lock);
	mutex_lock(&device->files_lock);
	list_for_each_entry_safe(file, next, &device->files, entry)
		list_del_init(&file->entry);
	device->ops = NULL;
	mutex_unlock(&device->files_lock);
	up_write(&device->registration_lock);
}

static int measure_fwctl_files(struct device *parent, dev_t devt, unsigned int n)
{
	struct fwctl_way *device = kzalloc_obj(*device);
	struct holdfast_bench_files *files;
	u64 begin, value;
	int ret;

	if (!device)
		return -ENOMEM;
	init_rwsem(&device->registration_lock);
	mutex_init(&device->files_lock);
	INIT_LIST_HEAD(&device->files);
	device->ops = device;
	device_initialize(&device->dev);
	device->dev.class = &fwctl_way_class;
	device->dev.parent = parent;
	device->dev.devt = devt;
	cdev_init(&device->cdev, &fwctl_way_fops);
	ret = dev_set_name(&device->dev, "holdfast-bench-fwctl");
	if (!ret)
		ret = cdev_device_add(&device->cdev, &device->dev);
	if (ret)
		goto out;

	files = holdfast_bench_files_open(devt, n, false);
	begin = holdfast_bench_now();
	fwctl_way_unregister(device);
	value = holdfast_bench_now() - begin;
	if (files)
		holdfast_bench_report("files-idle", "fwctl", n, 1, &value, 1);
	holdfast_bench_files_close(files);
	ret = files ? 0 : -ENOMEM;
out:
	put_device(&device->dev);
	return ret;
}

/* A miscdevice. It neither keeps new operations out nor waits for those under way. */
static DECLARE_WAIT_QUEUE_HEAD(misc_queue);
static bool misc_gone;

static int misc_way_open(struct inode *inode, struct file *filp)
{
	return 0;
}

static ssize_t misc_way_read(struct kiocb *kiocb, struct iov_iter *to)
{
	int ret = wait_event_interruptible(misc_queue, READ_ONCE(misc_gone));

	return ret ?: -ENODEV;
}

static const struct file_operations misc_way_fops = {
	.owner = THIS_MODULE,
	.open = misc_way_open,
	.read_iter = misc_way_read,
};

static int measure_misc_files(unsigned int n, bool blocked)
{
	struct miscdevice misc = {
		.minor = MISC_DYNAMIC_MINOR,
		.name = "holdfast-bench-misc",
		.fops = &misc_way_fops,
	};
	struct holdfast_bench_files *files;
	u64 begin, value;
	int ret;

	WRITE_ONCE(misc_gone, false);
	ret = misc_register(&misc);
	if (ret)
		return ret;
	files = holdfast_bench_files_open(MKDEV(MISC_MAJOR, misc.minor), n, blocked);
	begin = holdfast_bench_now();
	misc_deregister(&misc);
	value = holdfast_bench_now() - begin;
	if (files)
		holdfast_bench_report(blocked ? "files-blocked" : "files-idle", "miscdevice", n, 1,
				      &value, 1);
	WRITE_ONCE(misc_gone, true);
	wake_up_all(&misc_queue);
	holdfast_bench_files_close(files);
	return files ? 0 : -ENOMEM;
}

static int measure_files(struct device *parent)
{
	static const unsigned int numbers_of_files[] = { 0, 10, 100, 1000 };
	unsigned int i, round;
	dev_t devt;
	int ret;

	ret = class_register(&fwctl_way_class);
	if (ret)
		return ret;
	ret = alloc_chrdev_region(&devt, 0, 1, "holdfast-bench");
	if (ret)
		goto no_region;
	for (i = 0; !ret && i < ARRAY_SIZE(numbers_of_files); i++) {
		for (round = 0; !ret && round < 5; round++) {
			ret = measure_fwctl_files(parent, devt, numbers_of_files[i]);
			if (!ret)
				ret = measure_misc_files(numbers_of_files[i], false);
			if (!ret)
				ret = measure_misc_files(numbers_of_files[i], true);
		}
	}
	unregister_chrdev_region(devt, 1);
no_region:
	class_unregister(&fwctl_way_class);
	return ret;
}

/* The rescan/remove lock: bare, and with the owner that version 14 of the series gives it. */
#if defined(CONFIG_PCI) && !defined(CONFIG_UML)

static DEFINE_MUTEX(v14_mutex); /* protects v14_depth */
static struct task_struct *v14_owner;
static int v14_depth;

static noinline void v14_lock(void)
{
	if (READ_ONCE(v14_owner) == current) {
		v14_depth++;
		return;
	}
	mutex_lock(&v14_mutex);
	WRITE_ONCE(v14_owner, current);
	v14_depth = 1;
}

static noinline void v14_unlock(void)
{
	if (WARN_ON_ONCE(READ_ONCE(v14_owner) != current))
		return;
	if (--v14_depth)
		return;
	WRITE_ONCE(v14_owner, NULL);
	mutex_unlock(&v14_mutex);
}

u32 holdfast_bench_c_rescan_mutex(void *data);
noinline u32 holdfast_bench_c_rescan_mutex(void *data)
{
	u32 value;

	pci_lock_rescan_remove();
	value = use(data);
	pci_unlock_rescan_remove();
	return value;
}

u32 holdfast_bench_c_rescan_v14(void *data);
noinline u32 holdfast_bench_c_rescan_v14(void *data)
{
	u32 value;

	v14_lock();
	value = use(data);
	v14_unlock();
	return value;
}

static void measure_rescan(struct peer *peer)
{
	holdfast_bench_measure("rescan-first", "mutex", holdfast_bench_c_rescan_mutex, peer,
			       true);
	holdfast_bench_measure("rescan-first", "v14", holdfast_bench_c_rescan_v14, peer, true);
	v14_lock();
	holdfast_bench_measure("rescan-again", "v14", holdfast_bench_c_rescan_v14, peer, true);
	v14_unlock();
}
#else
static void measure_rescan(struct peer *peer)
{
}
#endif

size_t holdfast_bench_sizeof_srcu(void)
{
	return sizeof(struct srcu_struct);
}

size_t holdfast_bench_sizeof_srcu_percpu(void)
{
	return sizeof(struct srcu_data);
}

static struct peer peers[2];

/* Measures all of it. */
int holdfast_bench_peers(void)
{
	static const struct {
		unsigned int children;
		unsigned int rounds;
	} many[] = { { 1000, 10 }, { 3000, 6 }, { 10000, 5 } };
	struct plain *above;
	unsigned int i, round;
	int ret;

	ret = peer_init(&peers[0]);
	if (ret)
		return ret;
	ret = peer_init(&peers[1]);
	if (ret)
		goto no_second;
	ret = class_register(&plain_class);
	if (ret)
		goto no_class;
	above = plain_add(NULL);
	ret = PTR_ERR_OR_ZERO(above);
	if (ret)
		goto no_above;

	measure_access(&peers[0]);
	measure_rescan(&peers[0]);
	ret = measure_object(&above->dev);
	/* The allocator has pages at hand in some of the rounds. */
	for (i = 0; i < ARRAY_SIZE(many); i++)
		for (round = 0; !ret && round < many[i].rounds; round++)
			ret = measure_many(&above->dev, many[i].children);
	if (!ret && holdfast_bench_wants("times")) {
		measure_contended(&peers[0]);
		measure_stuck(&peers[0], &peers[1]);
		ret = measure_files(&above->dev);
	}

	plain_remove(above);
no_above:
	class_unregister(&plain_class);
no_class:
	peer_end(&peers[1]);
no_second:
	peer_end(&peers[0]);
	return ret;
}
