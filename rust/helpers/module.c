// SPDX-License-Identifier: GPL-2.0

#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/rcupdate.h>

void holdfast_module_get(struct module *module)
{
	__module_get(module);
}

void holdfast_module_put(struct module *module)
{
	module_put(module);
}

/* Whether @address is in @module. */
bool holdfast_module_has(const void *address, struct module *module)
{
	return within_module((unsigned long)address, module);
}

static void (*holdfast_module_gone)(struct module *module);

static int holdfast_module_notify(struct notifier_block *block,
				  unsigned long state, void *module)
{
	if (state == MODULE_STATE_GOING)
		holdfast_module_gone(module);
	return NOTIFY_OK;
}

static struct notifier_block holdfast_module_notifier = {
	.notifier_call = holdfast_module_notify,
};

/* Calls @gone for each module that has run its exit function, until the end. */
int holdfast_modules_watch(void (*gone)(struct module *module))
{
	holdfast_module_gone = gone;
	return register_module_notifier(&holdfast_module_notifier);
}

void holdfast_modules_unwatch(void)
{
	unregister_module_notifier(&holdfast_module_notifier);
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
