// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>
#include <linux/rcupdate.h>

void holdfast_module_get(struct module *module)
{
	__module_get(module);
}

void holdfast_module_put(struct module *module)
{
	module_put(module);
}

/*
 * Waits until no task is still inside a function of this module that it
 * entered before: the few instructions between a module_put() and the return
 * to the core may otherwise run while the module is taken away. In a preemptible
 * kernel without CONFIG_TASKS_RCU, which only a build in the tree can select, a
 * task that is preempted right there is not waited for.
 */
void holdfast_wait_for_running_text(void)
{
	synchronize_rcu_tasks();
}
