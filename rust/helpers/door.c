// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>

/*
 * Who is inside which door: see rust/holdfast/protocol.rs. A slot is claimed on
 * the CPU it belongs to and given back on any. A section is a stretch with
 * preemption disabled, which RCU waits for.
 */
#define HOLDFAST_SLOTS 8

struct holdfast_slot {
	unsigned long door;
	unsigned long task;
};

struct holdfast_slots {
	struct holdfast_slot slot[HOLDFAST_SLOTS];
};

static DEFINE_PER_CPU_ALIGNED(struct holdfast_slots, holdfast_slots);

/* Begins a section, and returns a slot that says @task is inside @door. */
struct holdfast_slot *holdfast_slot_claim(unsigned long door, unsigned long task)
{
	struct holdfast_slots *slots;
	int i;

	preempt_disable();
	slots = this_cpu_ptr(&holdfast_slots);
	for (i = 0; i < HOLDFAST_SLOTS; i++) {
		struct holdfast_slot *slot = &slots->slot[i];

		/*
		 * Only this CPU claims, so the slot stays free. An interrupt
		 * that claims it right here has given it back when it returns.
		 */
		if (!READ_ONCE(slot->door)) {
			/*
			 * Pairs with the acquire of the task in holdfast_slots_next():
			 * whoever sees the task sees that the slot was free.
			 */
			smp_store_release(&slot->task, task);
			/* The same for the door: whoever sees it sees the task. */
			smp_store_release(&slot->door, door);
			return slot;
		}
	}
	return NULL;
}

/* Gives back a slot. */
void holdfast_slot_give_back(struct holdfast_slot *slot)
{
	/* Pairs with the acquire in holdfast_slots_have(). */
	smp_store_release(&slot->door, 0);
}

/* Begins a section, and gives back a slot. */
void holdfast_slot_begin_and_give_back(struct holdfast_slot *slot)
{
	preempt_disable();
	holdfast_slot_give_back(slot);
}

/* Ends a section. */
void holdfast_section_end(void)
{
	preempt_enable();
}

/* Waits for all sections, and all RCU readers, that have begun. */
void holdfast_grace_period(void)
{
	synchronize_rcu_expedited();
}

/* Whether anybody is inside @door. */
bool holdfast_slots_have(unsigned long door)
{
	int cpu, i;

	for_each_possible_cpu(cpu) {
		struct holdfast_slots *slots = per_cpu_ptr(&holdfast_slots, cpu);

		for (i = 0; i < HOLDFAST_SLOTS; i++) {
			/* Pairs with the release in holdfast_slot_give_back(). */
			if (smp_load_acquire(&slots->slot[i].door) == door)
				return true;
		}
	}
	return false;
}

/*
 * Goes through the doors that @task is inside of: returns the next one from
 * @position on, which is advanced, and 0 at the end. If @task is not the current
 * one it may come and go meanwhile, and what is returned may only be compared.
 */
unsigned long holdfast_slots_next(unsigned long task, unsigned int *position)
{
	for (; *position < nr_cpu_ids * HOLDFAST_SLOTS; (*position)++) {
		unsigned int cpu = *position / HOLDFAST_SLOTS;
		struct holdfast_slot *slot;
		unsigned long door;

		if (!cpu_possible(cpu))
			continue;
		slot = &per_cpu_ptr(&holdfast_slots, cpu)->slot[*position % HOLDFAST_SLOTS];
		/* Pairs with the release of the door in holdfast_slot_claim(). */
		door = smp_load_acquire(&slot->door);
		if (!door)
			continue;
		/* Pairs with the release of the task there. */
		if (smp_load_acquire(&slot->task) != task)
			continue;
		/* If it was given back and claimed in between, the task is not that door's. */
		if (READ_ONCE(slot->door) == door) {
			(*position)++;
			return door;
		}
	}
	return 0;
}
