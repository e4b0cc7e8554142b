/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _HOLDFAST_HELPERS_H
#define _HOLDFAST_HELPERS_H

#include <linux/mm_types.h>
#include <linux/types.h>

struct cdev;
struct delayed_work;
struct device;
struct file;
struct file_operations;
struct holdfast_slot;
struct inode;
struct irq_domain;
struct kiocb;
struct module;
struct pci_dev;
struct task_struct;
struct vm_operations_struct;
struct wait_queue_entry;
struct wait_queue_head;
struct work_struct;

struct cdev *holdfast_cdev_add(struct device *dev,
			       const struct file_operations *fops,
			       struct module *owner);
struct device *holdfast_inode_to_device(struct inode *inode);
bool holdfast_kiocb_nonblocking(struct kiocb *kiocb);
unsigned long holdfast_compat_pointer(unsigned long argument);
void holdfast_wait_queue_init(struct wait_queue_head *queue);
void holdfast_wait_begin(struct wait_queue_head *queue,
			 struct wait_queue_entry *entry);

int holdfast_fs_mount(void);
void holdfast_fs_unmount(void);
struct inode *holdfast_inode_new(void);
void holdfast_file_set_inode(struct file *file, struct inode *inode);
void holdfast_inode_unmap(struct inode *inode);

/* What is behind a mapping, as `Kind` in rust/holdfast/chardev/memory.rs. */
enum holdfast_caching {
	HOLDFAST_PAGES,
	HOLDFAST_UNCACHED,
	HOLDFAST_WRITE_COMBINING,
	HOLDFAST_CACHED,
};

int holdfast_vma_set_up(struct vm_area_struct *vma,
			const struct vm_operations_struct *ops,
			bool read_only, enum holdfast_caching caching);
vm_fault_t holdfast_fault_insert(struct vm_fault *vmf, struct page *page,
				 unsigned long pfn, enum holdfast_caching caching);
void holdfast_page_write(struct page *page, size_t offset, const void *from,
			 size_t length);
void holdfast_page_read(struct page *page, size_t offset, void *to,
			size_t length);
void holdfast_page_store(struct page *page, size_t offset, u32 value);
u32 holdfast_page_load(struct page *page, size_t offset);

int holdfast_bus_watch(struct device *dev,
		       void (*unbinding)(struct device *dev));
void holdfast_buses_unwatch(struct module *module);

void *holdfast_devres_binding(struct device *dev);
void *holdfast_devres_add(struct device *dev, void (*release)(void *binding),
			  void *binding);
bool holdfast_devres_remove(struct device *dev, void *devres);
void holdfast_devres_make_newest(struct device *dev);
bool holdfast_device_get_unless_released(struct device *dev);
unsigned int holdfast_device_references(struct device *dev);

/* As `REFUSED` in rust/holdfast/shims.rs. */
#define HOLDFAST_REFUSED ((struct holdfast_slot *)1)

struct holdfast_slot *holdfast_door_enter(unsigned long *door,
					  unsigned long shut);
unsigned long holdfast_door_leave(unsigned long *door,
				  struct holdfast_slot *slot);
void holdfast_grace_period(void);
bool holdfast_slots_have(unsigned long door);
unsigned long holdfast_slots_next(unsigned long task, unsigned int *position);

unsigned int holdfast_kunit_race_rounds(void);
bool holdfast_kunit_kill(void);
bool holdfast_kunit_revive(void);
struct file *holdfast_kunit_open(dev_t devt, int flags);
long holdfast_kunit_map(struct file *file, size_t length, bool writable);

struct irq_domain *holdfast_sim_create(unsigned int *irq);
void holdfast_sim_destroy(struct irq_domain *domain, unsigned int irq);
void holdfast_sim_assert(unsigned int irq);

void holdfast_module_get(struct module *module);
void holdfast_module_put(struct module *module);
bool holdfast_module_has(const void *address, struct module *module);
int holdfast_modules_watch(void (*gone)(struct module *module));
void holdfast_modules_unwatch(void);
void holdfast_wait_for_running_text(void);

/* Of a PCI core with the series in patches/7.3; looked for at run time. */
bool pci_rescan_remove_held(void);
void pci_adopt_rescan_remove(struct task_struct *from);
void pci_return_rescan_remove(struct task_struct *to);

/* What was noted of the owner of the lock, as `Previous` in rust/holdfast/shims.rs. */
struct holdfast_rescan_previous {
	struct task_struct *owner;
	int room;
};

bool holdfast_rescan_probe(void);
void holdfast_rescan_unprobe(void);
bool holdfast_rescan_is_reentrant(void);
bool holdfast_rescan_held(void);
unsigned int holdfast_rescan_depth(void);
bool holdfast_rescan_lock(void);
bool holdfast_rescan_unlock(void);
bool holdfast_rescan_adopt(struct holdfast_rescan_previous *previous);
void holdfast_rescan_disown(const struct holdfast_rescan_previous *previous);
void holdfast_rescan_hand_over(void (*run)(void *data), void *data);
void holdfast_device_lock_enter(struct pci_dev *pdev);
void holdfast_device_lock_leave(void);
void holdfast_device_lock_assert_not_held(void);
bool holdfast_device_trylock(struct pci_dev *pdev);
void holdfast_device_unlock(struct pci_dev *pdev);
void holdfast_device_wait(struct pci_dev *pdev);
bool holdfast_pci_is_virtfn(struct pci_dev *pdev);
u16 holdfast_pci_num_vf(struct pci_dev *pdev);
int holdfast_pci_vf_number(struct pci_dev *vf);
struct pci_dev *holdfast_pci_physfn(struct pci_dev *pdev);

void holdfast_wait_until(void *var, bool (*condition)(void *data), void *data);
void holdfast_wake_all(void *var);

void holdfast_work_init(struct work_struct *work,
			void (*run)(struct work_struct *work));
bool holdfast_work_queue(struct work_struct *work);
void holdfast_delayed_work_init(struct delayed_work *work,
				void (*run)(struct work_struct *work));
bool holdfast_delayed_work_queue(struct delayed_work *work, unsigned long delay);

#endif /* _HOLDFAST_HELPERS_H */
