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
