// SPDX-License-Identifier: GPL-2.0

#include <kunit/test.h>
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/moduleparam.h>
#include <linux/path.h>
#include <linux/sched/signal.h>

#ifdef HOLDFAST_KUNIT_TEST
/* Few under KASAN, which is emulated where there is no KVM. */
static unsigned int holdfast_race_rounds = IS_ENABLED(CONFIG_KASAN) ? 50 : 100;
#ifndef __CHECKER__ /* Released versions of sparse do not know what 7.3 makes of these. */
module_param_named(race_rounds, holdfast_race_rounds, uint, 0444);
MODULE_PARM_DESC(race_rounds, "how many rounds each race of the KUnit suites has");
#endif

/* How many rounds each race of the KUnit suites has. */
unsigned int holdfast_kunit_race_rounds(void)
{
	return holdfast_race_rounds;
}

/*
 * Has the current task, which is a thread of the kernel, be killed, as far as
 * those who wait for a fatal signal can tell; and takes it back. Whether they
 * can tell.
 */
bool holdfast_kunit_kill(void)
{
	allow_signal(SIGKILL);
	send_sig(SIGKILL, current, 1);
	return fatal_signal_pending(current);
}

bool holdfast_kunit_revive(void)
{
	bool killed = fatal_signal_pending(current);

	disallow_signal(SIGKILL);
	flush_signals(current);
	return killed;
}

/*
 * Opens the character device @devt as open(2) of its node does, but there is no
 * node: its inode is one of the library's own file system.
 */
struct file *holdfast_kunit_open(dev_t devt, int flags)
{
	struct inode *inode = holdfast_inode_new();
	struct path path = { .mnt = holdfast_mount };
	struct file *file;

	if (IS_ERR(inode))
		return ERR_CAST(inode);
	init_special_inode(inode, S_IFCHR | 0600, devt);

	path.dentry = d_make_root(inode);
	if (!path.dentry)
		return ERR_PTR(-ENOMEM);

	file = kernel_file_open(&path, flags, current_cred());
	dput(path.dentry);
	return file;
}

/*
 * Maps @file as mmap(2) with MAP_SHARED does, in the task of a test. The
 * address, or an error.
 */
long holdfast_kunit_map(struct file *file, size_t length, bool writable)
{
	int ret = kunit_attach_mm();

	if (ret)
		return ret;
	return vm_mmap(file, 0, length, PROT_READ | (writable ? PROT_WRITE : 0),
		       MAP_SHARED, 0);
}
#endif
