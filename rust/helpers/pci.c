// SPDX-License-Identifier: GPL-2.0

#include <linux/compiler.h>
#include <linux/device.h>
#include <linux/lockdep.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "helpers.h"

#ifdef CONFIG_PCI

/* How often the owner can take the rescan/remove lock. */
#define HOLDFAST_RESCAN_DEPTH 32

/*
 * The rescan/remove lock of the PCI core, with its owner and how often that has
 * taken it: see rust/holdfast/pci/rescan.rs.
 *
 * @holdfast_rescan_owner is read without the lock, to find out whether the current
 * task is the owner. That is no data race: both sides are marked, and what is
 * read can only be the current task if that has stored it and not taken it back.
 * Any other value, be it old or new, means that it is somebody else's. So KCSAN
 * has nothing to say. @holdfast_rescan_room is looked at by the owner only, and
 * what one owner leaves the next one finds through the lock of the core, or, where
 * a worker acts for the owner, through the workqueue.
 */
static struct task_struct *holdfast_rescan_owner;
static int holdfast_rescan_room;

/*
 * What a core has whose lock is reentrant and knows its owner (patches/7.3), or
 * NULL. Set once, when the library is loaded.
 */
static bool (*holdfast_rescan_core_held)(void);
static void (*holdfast_rescan_core_adopt)(struct task_struct *from);
static void (*holdfast_rescan_core_return)(struct task_struct *to);

/* Ends what holdfast_rescan_probe() began. */
void holdfast_rescan_unprobe(void)
{
	if (holdfast_rescan_core_held)
		symbol_put(pci_rescan_remove_held);
	if (holdfast_rescan_core_adopt)
		symbol_put(pci_adopt_rescan_remove);
	if (holdfast_rescan_core_return)
		symbol_put(pci_return_rescan_remove);
	holdfast_rescan_core_held = NULL;
	holdfast_rescan_core_adopt = NULL;
	holdfast_rescan_core_return = NULL;
}

/* Looks which lock this kernel has. Returns whether it is the reentrant one. */
bool holdfast_rescan_probe(void)
{
	holdfast_rescan_core_held = symbol_get(pci_rescan_remove_held);
	holdfast_rescan_core_adopt = symbol_get(pci_adopt_rescan_remove);
	holdfast_rescan_core_return = symbol_get(pci_return_rescan_remove);
	if (!holdfast_rescan_core_adopt || !holdfast_rescan_core_return)
		holdfast_rescan_unprobe();
	return holdfast_rescan_core_held;
}

/* Whether the lock of the core is the reentrant one. */
bool holdfast_rescan_is_reentrant(void)
{
	return holdfast_rescan_core_held;
}

/*
 * Whether the current task owns the lock: through the library or, in a core that
 * can tell, otherwise. An interrupt is not the task that it interrupts.
 */
bool holdfast_rescan_held(void)
{
	if (!in_task())
		return false;
	if (READ_ONCE(holdfast_rescan_owner) == current)
		return true;
	return holdfast_rescan_core_held && holdfast_rescan_core_held();
}

/* How often the current task, which owns it, has taken it. */
unsigned int holdfast_rescan_depth(void)
{
	return HOLDFAST_RESCAN_DEPTH - holdfast_rescan_room;
}

/* Out of line, to keep what an owner runs short. */
static noinline bool holdfast_rescan_first(void)
{
	pci_lock_rescan_remove();
	holdfast_rescan_room = HOLDFAST_RESCAN_DEPTH - 1;
	WRITE_ONCE(holdfast_rescan_owner, current);
	return true;
}

/*
 * Takes the lock, once more if the current task owns it. False if that has taken
 * it too often; then it has not.
 */
bool holdfast_rescan_lock(void)
{
	if (READ_ONCE(holdfast_rescan_owner) != current)
		return holdfast_rescan_first();
	if (unlikely(--holdfast_rescan_room < 0)) {
		holdfast_rescan_room = 0;
		return false;
	}
	return true;
}

/* As above, for the last of them, and for who does not own the lock. */
static noinline bool holdfast_rescan_last(void)
{
	if (READ_ONCE(holdfast_rescan_owner) != current)
		return false;
	holdfast_rescan_room = HOLDFAST_RESCAN_DEPTH;
	WRITE_ONCE(holdfast_rescan_owner, NULL);
	pci_unlock_rescan_remove();
	return true;
}

/*
 * Undoes one holdfast_rescan_lock(). False if the current task does not own the
 * lock; then nothing is done.
 */
bool holdfast_rescan_unlock(void)
{
	if (unlikely(READ_ONCE(holdfast_rescan_owner) != current) ||
	    unlikely(holdfast_rescan_room == HOLDFAST_RESCAN_DEPTH - 1))
		return holdfast_rescan_last();
	holdfast_rescan_room++;
	return true;
}

/*
 * The current task owns the lock of the core, and not through the library: notes
 * that. Returns whether it was not known.
 *
 * Another task may be noted as the owner: it waits for this one, to which the core
 * has handed the lock for a probe. What is noted of it is put into @previous.
 *
 * Where the core can tell, the lock is taken once more: an owner that lends its
 * lock while it waits for a device lock could lose it at any time.
 */
bool holdfast_rescan_adopt(struct holdfast_rescan_previous *previous)
{
	if (READ_ONCE(holdfast_rescan_owner) == current)
		return false;
	if (holdfast_rescan_core_held)
		pci_lock_rescan_remove();
	previous->owner = READ_ONCE(holdfast_rescan_owner);
	previous->room = holdfast_rescan_room;
	holdfast_rescan_room = HOLDFAST_RESCAN_DEPTH - 1;
	WRITE_ONCE(holdfast_rescan_owner, current);
	return true;
}

/* Undoes a holdfast_rescan_adopt() that has returned true. */
void holdfast_rescan_disown(const struct holdfast_rescan_previous *previous)
{
	holdfast_rescan_room = previous->room;
	WRITE_ONCE(holdfast_rescan_owner, previous->owner);
	if (holdfast_rescan_core_held)
		pci_unlock_rescan_remove();
}

struct holdfast_rescan_work {
	struct work_struct work;
	struct task_struct *owner;
	void (*run)(void *data);
	void *data;
};

static void holdfast_rescan_work_run(struct work_struct *work)
{
	struct holdfast_rescan_work *this =
		container_of(work, struct holdfast_rescan_work, work);

	/* The one that owned it sleeps until this has returned. */
	if (holdfast_rescan_core_held)
		holdfast_rescan_core_adopt(this->owner);
	WRITE_ONCE(holdfast_rescan_owner, current);
	this->run(this->data);
	WRITE_ONCE(holdfast_rescan_owner, this->owner);
	if (holdfast_rescan_core_held)
		holdfast_rescan_core_return(this->owner);
}

/*
 * How many workers wait for another that they have handed the lock to; for the
 * owner only. A worker of each depth has a class of its own: lockdep would take
 * the wait of one for another of the same class for a wait for itself.
 */
static unsigned int holdfast_rescan_handed;
static struct lock_class_key holdfast_rescan_work_keys[MAX_LOCKDEP_SUBCLASSES];

/*
 * Lets a worker call @run as the owner of the lock, in the place of the current
 * task, which owns it and waits.
 */
void holdfast_rescan_hand_over(void (*run)(void *data), void *data)
{
	unsigned int depth = min(holdfast_rescan_handed++,
				 MAX_LOCKDEP_SUBCLASSES - 1);
	struct holdfast_rescan_work this = {
		.owner = current,
		.run = run,
		.data = data,
	};

	INIT_WORK_ONSTACK_KEY(&this.work, holdfast_rescan_work_run,
			      &holdfast_rescan_work_keys[depth]);
	queue_work(system_dfl_wq, &this.work);
	flush_work(&this.work);
	destroy_work_on_stack(&this.work);
	holdfast_rescan_handed--;
}

/*
 * lockdep does not see device locks: each device would have to have a class of
 * its own. This stands for those of the PFs that the library knows to be held, so
 * that taking the rescan/remove lock inside of one of them is reported.
 */
#ifdef CONFIG_DEBUG_LOCK_ALLOC
static struct lock_class_key holdfast_device_lock_key;
static struct lockdep_map holdfast_device_lock_map =
	STATIC_LOCKDEP_MAP_INIT("holdfast: device lock of a PF",
				&holdfast_device_lock_key);
#endif

/*
 * The core has called something with the lock of @pdev held. The lock of a VF may
 * be taken inside that of its PF.
 */
void holdfast_device_lock_enter(struct pci_dev *pdev)
{
	lock_acquire_exclusive(&holdfast_device_lock_map, pdev->is_virtfn, 0,
			       NULL, _THIS_IP_);
}

/* The end of what holdfast_device_lock_enter() or a trylock began. */
void holdfast_device_lock_leave(void)
{
	lock_map_release(&holdfast_device_lock_map);
}

/*
 * Where somebody is waited for who takes such a lock. lockdep does not see that
 * by itself, and to tell it of a lock that is taken here would be wrong: the wait
 * ends when the device goes.
 */
void holdfast_device_lock_assert_not_held(void)
{
	lockdep_assert(!lock_is_held(&holdfast_device_lock_map));
}

/* Takes the lock of @pdev if it is free. */
bool holdfast_device_trylock(struct pci_dev *pdev)
{
	if (!device_trylock(&pdev->dev))
		return false;
	lock_acquire_exclusive(&holdfast_device_lock_map, pdev->is_virtfn, 1,
			       NULL, _THIS_IP_);
	return true;
}

void holdfast_device_unlock(struct pci_dev *pdev)
{
	holdfast_device_lock_leave();
	device_unlock(&pdev->dev);
}

/* Waits until whoever has the lock of @pdev gives it back. */
void holdfast_device_wait(struct pci_dev *pdev)
{
	device_lock(&pdev->dev);
	device_unlock(&pdev->dev);
}

/* Whether @pdev is a VF. */
bool holdfast_pci_is_virtfn(struct pci_dev *pdev)
{
	return pdev->is_virtfn;
}

/* The number of VFs of @pdev that are enabled. */
u16 holdfast_pci_num_vf(struct pci_dev *pdev)
{
	/* The core writes it unmarked: it is the old or the new number. */
	return data_race(pci_num_vf(pdev));
}

/*
 * The number of a VF among those of its PF, from 0 on, or an error.
 *
 * pci_iov_vf_id() divides by the stride, which a device need not have while no more
 * than one VF is enabled. The core refuses one that has none for more than that.
 */
int holdfast_pci_vf_number(struct pci_dev *vf)
{
	struct pci_dev *pf = pci_physfn(vf);
	u16 stride;
	int pos;

	if (!vf->is_virtfn)
		return -EINVAL;
	if (pci_iov_virtfn_devfn(pf, 0) == pci_iov_virtfn_devfn(pf, 1)) {
		/* 0, or a multiple of 256, so that each VF has a bus of its own. */
		pos = pci_find_ext_capability(pf, PCI_EXT_CAP_ID_SRIOV);
		if (!pos)
			return -ENODEV;
		pci_read_config_word(pf, pos + PCI_SRIOV_VF_STRIDE, &stride);
		if (PCI_POSSIBLE_ERROR(stride))
			return -ENODEV;
		if (!stride)
			return 0;
	}
	return pci_iov_vf_id(vf);
}

/* The PF of a VF; @pdev itself if it is none. */
struct pci_dev *holdfast_pci_physfn(struct pci_dev *pdev)
{
	return pci_physfn(pdev);
}

#endif /* CONFIG_PCI */
