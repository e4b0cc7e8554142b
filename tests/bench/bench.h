/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _HOLDFAST_BENCH_H
#define _HOLDFAST_BENCH_H

#include <linux/types.h>

struct device;
struct task_struct;
struct holdfast_bench_files;
struct holdfast_bench_busy;

/* What makes the figures: measure.c. */
void holdfast_bench_measure(const char *row, const char *who,
			    u32 (*once)(void *data), void *data, bool atomic);
u64 holdfast_bench_now(void);
void holdfast_bench_report(const char *row, const char *who, unsigned int n,
			   unsigned int count, const u64 *values,
			   unsigned int length);
bool holdfast_bench_wants(const char *part);
u32 holdfast_bench_empty(void *data);

/* A task on another CPU that does the same all the time. */
struct holdfast_bench_busy *holdfast_bench_busy_begin(u32 (*once)(void *data),
						      void *data);
void holdfast_bench_busy_end(struct holdfast_bench_busy *busy);

/* A task that does something once, and waits in it until it is let go. */
struct task_struct *holdfast_bench_stuck_begin(u32 (*once)(void *data),
					       void *data);
void holdfast_bench_stuck_end(struct task_struct *task);
void holdfast_bench_stuck_wait(void);

/* Open files of a character device, and readers that sleep in them. */
struct holdfast_bench_files *holdfast_bench_files_open(dev_t devt, unsigned int n,
						       bool blocked);
void holdfast_bench_files_close(struct holdfast_bench_files *files);
dev_t holdfast_bench_devt(const struct device *dev);

/* What is compared: peers.c in C, bench.rs in Rust. */
int holdfast_bench_ours(void);
int holdfast_bench_peers(void);
size_t holdfast_bench_sizeof_srcu(void);
size_t holdfast_bench_sizeof_srcu_percpu(void);
int holdfast_bench_run(void);

#ifndef MODULE
/* Of kernel/rcu/rcu.h, which is private. */
void rcu_expedite_gp(void);
void rcu_unexpedite_gp(void);
#endif

#endif /* _HOLDFAST_BENCH_H */
