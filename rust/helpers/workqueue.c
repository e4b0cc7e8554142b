// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

void holdfast_work_init(struct work_struct *work,
			void (*run)(struct work_struct *work))
{
	INIT_WORK(work, run);
}

/* Queues @work for a worker that may sleep for long; false if it is queued. */
bool holdfast_work_queue(struct work_struct *work)
{
	return queue_work(system_dfl_long_wq, work);
}

#ifdef CONFIG_PROVE_LOCKING
/* Any work comes before any other. */
static int holdfast_work_order(const struct lockdep_map *first,
			       const struct lockdep_map *second)
{
	return -1;
}
#endif

void holdfast_delayed_work_init(struct delayed_work *work,
				void (*run)(struct work_struct *work))
{
	INIT_DELAYED_WORK(work, run);
#ifdef CONFIG_PROVE_LOCKING
	/*
	 * All work of all objects is of one class, and lockdep would report
	 * that work which ends another object waits for itself. Who waits for
	 * whom is found otherwise (rust/holdfast/waits.rs).
	 */
	lockdep_set_lock_cmp_fn(&work->work.lockdep_map, holdfast_work_order, NULL);
#endif
}

/* Queues @work after @delay jiffies; false if it is queued. */
bool holdfast_delayed_work_queue(struct delayed_work *work, unsigned long delay)
{
	return queue_delayed_work(system_dfl_wq, work, delay);
}
