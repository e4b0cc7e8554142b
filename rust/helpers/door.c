// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>
#include <linux/preempt.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

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

static __always_inline void holdfast_slot_give_back(struct holdfast_slot *slot)
{
	/* Pairs with the acquire in holdfast_slots_have(). */
	smp_store_release(&slot->door, 0);
}

/* What holdfast_door_enter() does with a slot that is free. Ends the section. */
static __always_inline struct holdfast_slot *
holdfast_slot_claim(struct holdfast_slot *slot, unsigned long *door, unsigned long shut)
{
	/*
	 * Pairs with the acquire of the task in holdfast_slots_next(): whoever sees
	 * the task sees that the slot was free.
	 */
	smp_store_release(&slot->task, (unsigned long)current);
	/* The same for the door: whoever sees it sees the task. */
	smp_store_release(&slot->door, (unsigned long)door);
	/* After that, in the same section: see rust/holdfast/protocol.rs. */
	if (unlikely(smp_load_acquire(door) & shut)) {
		holdfast_slot_give_back(slot);
		slot = HOLDFAST_REFUSED;
	}
	preempt_enable();
	return slot;
}

/* The same where the first of @slots is taken. Out of line, to keep that short. */
static noinline struct holdfast_slot *
holdfast_door_enter_next(unsigned long *door, unsigned long shut, struct holdfast_slots *slots)
{
	int i;

	for (i = 1; i < HOLDFAST_SLOTS; i++)
		if (!READ_ONCE(slots->slot[i].door))
			return holdfast_slot_claim(&slots->slot[i], door, shut);
	preempt_enable();
	return NULL;
}

/*
 * Enters the door that has its word at @door: in one section, claims a slot for the
 * current task, and then looks at the word. If that has any bit of @shut the slot
 * is given back, and HOLDFAST_REFUSED returned; NULL if this CPU has no slot left.
 *
 * The one call that entering takes: each other one would cost as much as what it
 * does.
 */
struct holdfast_slot *holdfast_door_enter(unsigned long *door, unsigned long shut)
{
	struct holdfast_slots *slots;

	preempt_disable();
	slots = this_cpu_ptr(&holdfast_slots);
	/*
	 * Only this CPU claims, so a slot stays free. An interrupt that claims it
	 * right here has given it back when it returns.
	 */
	if (unlikely(READ_ONCE(slots->slot[0].door)))
		return holdfast_door_enter_next(door, shut, slots);
	return holdfast_slot_claim(&slots->slot[0], door, shut);
}

/*
 * Leaves: in one section, gives back a slot, and then looks at the word of the
 * door, which is returned.
 */
unsigned long holdfast_door_leave(unsigned long *door, struct holdfast_slot *slot)
{
	unsigned long seen;

	preempt_disable();
	holdfast_slot_give_back(slot);
	/* After that, in the same section: see rust/holdfast/protocol.rs. */
	seen = smp_load_acquire(door);
	preempt_enable();
	return seen;
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
		/* Pairs with the release of the door in holdfast_door_enter(). */
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
