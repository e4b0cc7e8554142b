// SPDX-License-Identifier: GPL-2.0

/*
 * Measures. Each figure is one line of JSON in the kernel's log; what is made of them
 * is tools/holdfast/bench.py's business.
 *
 * The clock is the kernel's. What it counts depends on the machine: under QEMU's
 * -icount with shift 0 one nanosecond is one instruction, elsewhere it is time.
 */

#include <linux/completion.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/irqflags.h>
#include <linux/kthread.h>
#include <linux/ktime.h>
#include <linux/moduleparam.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/pseudo_fs.h>
#include <linux/rcupdate.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "bench.h"

#define MOST_ROUNDS 31

static char *holdfast_bench_parts = "instructions,times";
static unsigned int holdfast_bench_count = IS_ENABLED(CONFIG_UML) ? 20000 : 10000;
static unsigned int holdfast_bench_round_count = 11;

#ifndef __CHECKER__ /* Released versions of sparse do not know what 7.3 makes of these. */
module_param_named(parts, holdfast_bench_parts, charp, 0444);
MODULE_PARM_DESC(parts, "what to measure: instructions, times");
module_param_named(count, holdfast_bench_count, uint, 0444);
MODULE_PARM_DESC(count, "how often a short operation is done in a round");
module_param_named(rounds, holdfast_bench_round_count, uint, 0444);
MODULE_PARM_DESC(rounds, "how many rounds of a short operation there are");
#endif

u64 holdfast_bench_now(void)
{
	return ktime_get_ns();
}

/* Whether @part was asked for. */
bool holdfast_bench_wants(const char *part)
{
	return strstr(holdfast_bench_parts, part);
}

/* Prints what one thing took, once for each round. */
static void print(const char *row, const char *who, unsigned int n, unsigned int count,
		  const u64 *values, unsigned int length)
{
	char line[900];
	int used = 0;
	unsigned int i;

	for (i = 0; i < length; i++)
		used += scnprintf(line + used, sizeof(line) - used, "%s%llu", i ? "," : "",
				  values[i]);
	pr_info("holdfast-bench: {\"row\":\"%s\",\"who\":\"%s\",\"n\":%u,\"count\":%u,\"values\":[%s]}\n",
		row, who, n, count, line);
}

/* Reports what @who took for @row with @n of something, done @count times for each value. */
void holdfast_bench_report(const char *row, const char *who, unsigned int n,
			   unsigned int count, const u64 *values, unsigned int length)
{
	print(row, who, n, count, values, min_t(unsigned int, length, MOST_ROUNDS));
}

/* What a call costs that does nothing. */
noinline u32 holdfast_bench_empty(void *data)
{
	/* Not to be found out to do nothing. */
	barrier();
	return 0;
}

/*
 * Does a short operation many times in a round, and reports the time of each round.
 * With @atomic, interrupts are off meanwhile: the operation must not sleep.
 */
void holdfast_bench_measure(const char *row, const char *who,
			    u32 (*once)(void *data), void *data, bool atomic)
{
	unsigned int rounds = clamp_t(unsigned int, holdfast_bench_round_count, 1, MOST_ROUNDS);
	unsigned int count = holdfast_bench_count;
	u64 values[MOST_ROUNDS];
	unsigned long flags = 0;
	unsigned int round, i;

	/* There are no interrupts to be switched off under user-mode Linux but signals. */
	atomic = atomic && !IS_ENABLED(CONFIG_UML);
	for (round = 0; round < rounds; round++) {
		u64 begin;

		cond_resched();
		if (atomic)
			local_irq_save(flags);
		begin = holdfast_bench_now();
		for (i = 0; i < count; i++)
			once(data);
		values[round] = holdfast_bench_now() - begin;
		if (atomic)
			local_irq_restore(flags);
	}
	print(row, who, 1, count, values, rounds);
}

#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
/* Two instructions a pass, whatever the compiler is. */
static u32 known_instructions(void *data)
{
	unsigned long passes = 500;

	asm volatile("1: dec %0\n\tjnz 1b" : "+r"(passes));
	return 0;
}
#endif

/* What the clock counts, and what the loop above costs itself. */
static void calibrate(void)
{
	holdfast_bench_measure("empty", "c", holdfast_bench_empty, NULL, true);
#if defined(CONFIG_X86_64) && !defined(CONFIG_UML)
	holdfast_bench_measure("known-1000", "c", known_instructions, NULL, true);
#endif
}

struct holdfast_bench_busy {
	u32 (*once)(void *data);
	void *data;
	struct completion begun;
	struct task_struct *task;
};

static int busy_run(void *argument)
{
	struct holdfast_bench_busy *busy = argument;
	unsigned int i;

	busy->once(busy->data);
	complete(&busy->begun);
	while (!kthread_should_stop()) {
		for (i = 0; i < 1000; i++)
			busy->once(busy->data);
		cond_resched();
	}
	return 0;
}

/* Lets another CPU do the same operation until the end; NULL if there is none. */
struct holdfast_bench_busy *holdfast_bench_busy_begin(u32 (*once)(void *data), void *data)
{
	unsigned int cpu = cpumask_next(raw_smp_processor_id(), cpu_online_mask);
	struct holdfast_bench_busy *busy;

	if (cpu >= nr_cpu_ids)
		return NULL;
	busy = kzalloc_obj(*busy);
	if (!busy)
		return NULL;
	busy->once = once;
	busy->data = data;
	init_completion(&busy->begun);
	busy->task = kthread_create(busy_run, busy, "holdfast-busy");
	if (IS_ERR(busy->task)) {
		kfree(busy);
		return NULL;
	}
	kthread_bind(busy->task, cpu);
	wake_up_process(busy->task);
	wait_for_completion(&busy->begun);
	return busy;
}

void holdfast_bench_busy_end(struct holdfast_bench_busy *busy)
{
	if (!busy)
		return;
	kthread_stop(busy->task);
	kfree(busy);
}

/* One reader that is stuck, at most. */
static DECLARE_COMPLETION(stuck_begun);
static DECLARE_COMPLETION(stuck_end);

struct stuck {
	u32 (*once)(void *data);
	void *data;
};

static struct stuck stuck;

static int stuck_run(void *unused)
{
	stuck.once(stuck.data);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return 0;
}

/* For the operation of the stuck reader: does not return before its end. */
void holdfast_bench_stuck_wait(void)
{
	complete(&stuck_begun);
	wait_for_completion(&stuck_end);
}

/* It is let go by itself, so that who waits for it gets to an end. */
static void stuck_let_go(struct work_struct *work)
{
	complete(&stuck_end);
}

static DECLARE_DELAYED_WORK(stuck_work, stuck_let_go);

/* Lets another task begin @once, and returns when it is stuck there, for half a second. */
struct task_struct *holdfast_bench_stuck_begin(u32 (*once)(void *data), void *data)
{
	struct task_struct *task;

	stuck.once = once;
	stuck.data = data;
	reinit_completion(&stuck_begun);
	reinit_completion(&stuck_end);
	task = kthread_run(stuck_run, NULL, "holdfast-stuck");
	if (IS_ERR(task))
		return NULL;
	wait_for_completion(&stuck_begun);
	schedule_delayed_work(&stuck_work, HZ / 2);
	return task;
}

void holdfast_bench_stuck_end(struct task_struct *task)
{
	if (!task)
		return;
	flush_delayed_work(&stuck_work);
	kthread_stop(task);
}

static int bench_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x486f6c65) ? 0 : -ENOMEM;
}

/* Has the inodes of device nodes that nobody made. */
static struct file_system_type bench_fs = {
	.name = "holdfast_bench",
	.init_fs_context = bench_init_fs_context,
	.kill_sb = kill_anon_super,
};

static struct vfsmount *bench_mount;

/* Opens a character device as open(2) of its node does. */
static struct file *bench_open(dev_t devt)
{
	struct inode *inode = alloc_anon_inode(bench_mount->mnt_sb);
	struct path path = { .mnt = bench_mount };
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	init_special_inode(inode, S_IFCHR | 0600, devt);
	path.dentry = d_make_root(inode);
	if (!path.dentry)
		return ERR_PTR(-ENOMEM);
	file = kernel_file_open(&path, O_RDONLY, current_cred());
	dput(path.dentry);
	return file;
}

struct holdfast_bench_files {
	unsigned int opened;
	unsigned int readers;
	struct file **file;
	struct task_struct **reader;
};

static int reader_run(void *argument)
{
	struct file *file = argument;
	loff_t position = 0;
	char byte;

	kernel_read(file, &byte, 1, &position);
	while (!kthread_should_stop())
		schedule_timeout_interruptible(HZ);
	return 0;
}

/*
 * Opens @n files; with @blocked, a task sleeps in a read of each when this returns.
 * NULL if that is not possible.
 */
struct holdfast_bench_files *holdfast_bench_files_open(dev_t devt, unsigned int n, bool blocked)
{
	struct holdfast_bench_files *files = kzalloc_obj(*files);
	unsigned int i;

	if (!files)
		return NULL;
	files->file = kvcalloc(n + 1, sizeof(*files->file), GFP_KERNEL);
	files->reader = kvcalloc(n + 1, sizeof(*files->reader), GFP_KERNEL);
	if (!files->file || !files->reader)
		goto fail;
	for (i = 0; i < n; i++) {
		struct file *file = bench_open(devt);

		if (IS_ERR(file))
			goto fail;
		files->file[files->opened++] = file;
	}
	for (i = 0; blocked && i < n; i++) {
		struct task_struct *reader;

		reader = kthread_run(reader_run, files->file[i], "holdfast-reader");
		if (IS_ERR(reader))
			goto fail;
		files->reader[files->readers++] = reader;
	}
	/* New ones are in the state of a task that was not woken; those that read, sleep. */
	for (i = 0; i < files->readers; i++)
		while (!(READ_ONCE(files->reader[i]->__state) & TASK_INTERRUPTIBLE))
			schedule_timeout_uninterruptible(1);
	return files;

fail:
	holdfast_bench_files_close(files);
	return NULL;
}

/* Ends the readers, whose device must have been unregistered, and closes the files. */
void holdfast_bench_files_close(struct holdfast_bench_files *files)
{
	unsigned int i;

	if (!files)
		return;
	for (i = 0; i < files->readers; i++)
		kthread_stop(files->reader[i]);
	for (i = 0; i < files->opened; i++)
		__fput_sync(files->file[i]);
	kvfree(files->reader);
	kvfree(files->file);
	kfree(files);
}

dev_t holdfast_bench_devt(const struct device *dev)
{
	return dev->devt;
}

/* Measures everything that was asked for. */
int holdfast_bench_run(void)
{
	struct cpumask old;
	int ret;

	bench_mount = kern_mount(&bench_fs);
	if (IS_ERR(bench_mount))
		return PTR_ERR(bench_mount);
	cpumask_copy(&old, current->cpus_ptr);
	set_cpus_allowed_ptr(current, cpumask_of(0));

	pr_info("holdfast-bench: {\"cpus\":%u,\"hz\":%u}\n", num_online_cpus(), HZ);
	calibrate();
	ret = holdfast_bench_ours();
	if (!ret)
		ret = holdfast_bench_peers();
	pr_info("holdfast-bench: {\"done\":%d}\n", ret);

	set_cpus_allowed_ptr(current, &old);
	kern_unmount(bench_mount);
	return ret;
}

#ifndef MODULE
/*
 * Built in, which user-mode Linux needs: measures at the end of the boot, and halts.
 * Grace periods are expedited until then, which is undone for as long.
 */
static int __init holdfast_bench_at_boot(void)
{
	rcu_unexpedite_gp();
	holdfast_bench_run();
	rcu_expedite_gp();
	kernel_halt();
	return 0;
}
late_initcall_sync(holdfast_bench_at_boot);
#endif
