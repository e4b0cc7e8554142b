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

void holdfast_delayed_work_init(struct delayed_work *work,
				void (*run)(struct work_struct *work))
{
	INIT_DELAYED_WORK(work, run);
#ifdef CONFIG_LOCKDEP
	/*
	 * All work of all objects would be of one class, and lockdep would
	 * report that a work which ends another object waits for itself. What
	 * the library waits for with disable_delayed_work_sync() takes no lock:
	 * the door has waited for the rest of it (rust/holdfast/callbacks.rs).
	 */
	lockdep_init_map(&work->work.lockdep_map, "holdfast_work",
			 &__lockdep_no_validate__, 0);
#endif
}

/* Queues @work after @delay jiffies; false if it is queued. */
bool holdfast_delayed_work_queue(struct delayed_work *work, unsigned long delay)
{
	return queue_delayed_work(system_dfl_wq, work, delay);
}
