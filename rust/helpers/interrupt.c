// SPDX-License-Identifier: GPL-2.0

#include <linux/interrupt.h>
#include <linux/irq_sim.h>
#include <linux/irqdomain.h>

/*
 * For tests: a line that the tests assert, and the domain it is in. The suites
 * that need it are left out where the kernel has no such lines.
 */
#if IS_ENABLED(CONFIG_IRQ_SIM)
struct irq_domain *holdfast_sim_create(unsigned int *irq)
{
	struct irq_domain *domain;

	domain = irq_domain_create_sim(NULL, 1);
	if (IS_ERR(domain))
		return NULL;

	*irq = irq_create_mapping(domain, 0);
	if (*irq)
		return domain;

	irq_domain_remove_sim(domain);
	return NULL;
}

void holdfast_sim_destroy(struct irq_domain *domain, unsigned int irq)
{
	irq_dispose_mapping(irq);
	irq_domain_remove_sim(domain);
}

/* Asserts the line. Nothing happens if nobody has requested it. */
void holdfast_sim_assert(unsigned int irq)
{
	irq_set_irqchip_state(irq, IRQCHIP_STATE_PENDING, true);
}
#endif
