// SPDX-License-Identifier: GPL-2.0

#include <linux/cdev.h>
#include <linux/compat.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/eventpoll.h>
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/wait.h>

/* What `Events` in rust/holdfast/chardev.rs says. */
static_assert((__force unsigned int)(EPOLLIN | EPOLLRDNORM) == 0x041);
static_assert((__force unsigned int)(EPOLLOUT | EPOLLWRNORM) == 0x104);
static_assert((__force unsigned int)EPOLLPRI == 0x002);
static_assert((__force unsigned int)EPOLLERR == 0x008);
static_assert((__force unsigned int)EPOLLHUP == 0x010);
static_assert((__force unsigned int)EPOLLRDHUP == 0x2000);

/*
 * Makes a character device that can be opened, with the number of @dev. It
 * holds @dev for as long as it exists, which is until after cdev_del() and the
 * end of every open that found it.
 */
struct cdev *holdfast_cdev_add(struct device *dev,
			       const struct file_operations *fops,
			       struct module *owner)
{
	struct cdev *cdev = cdev_alloc();
	int ret;

	if (!cdev)
		return ERR_PTR(-ENOMEM);

	cdev->ops = fops;
	cdev->owner = owner;
	cdev_set_parent(cdev, &dev->kobj);

	ret = cdev_add(cdev, dev->devt, 1);
	if (ret) {
		/* The parent is only held once the cdev is added. */
		cdev->kobj.parent = NULL;
		kobject_put(&cdev->kobj);
		return ERR_PTR(ret);
	}
	return cdev;
}

/*
 * The device whose character device @inode is. For use in an open callback:
 * chrdev_open() holds the cdev, which holds the device.
 */
struct device *holdfast_inode_to_device(struct inode *inode)
{
	return kobj_to_dev(inode->i_cdev->kobj.parent);
}

/* Whether a read or write must not sleep. */
bool holdfast_kiocb_nonblocking(struct kiocb *kiocb)
{
	return (kiocb->ki_flags & IOCB_NOWAIT) ||
	       (kiocb->ki_filp->f_flags & O_NONBLOCK);
}

/* The argument of an ioctl of a 32-bit task, if it is a pointer. */
unsigned long holdfast_compat_pointer(unsigned long argument)
{
#ifdef CONFIG_COMPAT
	return (unsigned long)compat_ptr(argument);
#else
	return argument;
#endif
}

/* One lock class for the queues of all objects. */
void holdfast_wait_queue_init(struct wait_queue_head *queue)
{
	init_waitqueue_head(queue);
}

/*
 * Begins a wait with wait_woken(), which allows the condition to sleep, unlike
 * wait_event().
 */
void holdfast_wait_begin(struct wait_queue_head *queue,
			 struct wait_queue_entry *entry)
{
	init_wait_func(entry, woken_wake_function);
	add_wait_queue(queue, entry);
}

static int holdfast_init_fs_context(struct fs_context *fc)
{
	return init_pseudo(fc, 0x486f6c64) ? 0 : -ENOMEM;
}

/*
 * The inodes behind the mappings of objects. It has no owner: its one mount is
 * made and unmade by the library itself, and would keep it loaded for ever.
 */
static struct file_system_type holdfast_fs_type = {
	.name		 = "holdfast",
	.init_fs_context = holdfast_init_fs_context,
	.kill_sb	 = kill_anon_super,
};

static struct vfsmount *holdfast_mount;

int holdfast_fs_mount(void)
{
	struct vfsmount *mount = kern_mount(&holdfast_fs_type);

	if (IS_ERR(mount))
		return PTR_ERR(mount);
	holdfast_mount = mount;
	return 0;
}

void holdfast_fs_unmount(void)
{
	kern_unmount(holdfast_mount);
}

/* An inode whose mapping collects all that is mapped of one object. */
struct inode *holdfast_inode_new(void)
{
	return alloc_anon_inode(holdfast_mount->mnt_sb);
}

/*
 * Has @file be mapped through @inode. For use in an open callback: nothing is
 * mapped yet.
 */
void holdfast_file_set_inode(struct file *file, struct inode *inode)
{
	file->f_mapping = inode->i_mapping;
}

/* Unmaps all that is mapped through @inode, in all tasks. */
void holdfast_inode_unmap(struct inode *inode)
{
	unmap_mapping_range(inode->i_mapping, 0, 0, 1);
}

/*
 * Makes @vma one that the fault handler of @ops fills: with pages, or with
 * memory of a device that is cached as @caching says.
 */
int holdfast_vma_set_up(struct vm_area_struct *vma,
			const struct vm_operations_struct *ops,
			bool read_only, enum holdfast_caching caching)
{
	if (read_only) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	/*
	 * A private mapping that is written to would copy what it maps. The
	 * copy is no longer the object's, and of device memory there is none.
	 */
	if (!(vma->vm_flags & VM_SHARED)) {
		if (vma->vm_flags & VM_WRITE)
			return -EINVAL;
		vm_flags_clear(vma, VM_MAYWRITE);
	}

	if (caching == HOLDFAST_PAGES) {
		vm_flags_set(vma, VM_MIXEDMAP | VM_DONTEXPAND);
	} else {
		vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND |
				  VM_DONTDUMP);
		if (caching == HOLDFAST_UNCACHED)
			vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
		else if (caching == HOLDFAST_WRITE_COMBINING)
			vma->vm_page_prot =
				pgprot_writecombine(vma->vm_page_prot);
	}
	/* What the fault handler may put there. */
	vma->vm_private_data = (void *)(unsigned long)caching;
	vma->vm_ops = ops;
	return 0;
}

/*
 * Puts a page, or the frame @pfn if there is none, where @vmf asks for one, if
 * the mapping was set up with the same @caching.
 * When this returns it is in the page table, so that whoever unmaps after that
 * finds it. The mapping has its own reference to a page, and none to a frame.
 */
vm_fault_t holdfast_fault_insert(struct vm_fault *vmf, struct page *page,
				 unsigned long pfn, enum holdfast_caching caching)
{
	/* Each kind needs a mapping that was set up for it. */
	if ((unsigned long)vmf->vma->vm_private_data != caching)
		return VM_FAULT_SIGBUS;
	if (page)
		return vmf_insert_page(vmf->vma, vmf->address, page);
	return vmf_insert_pfn(vmf->vma, vmf->address, pfn);
}

/*
 * Copies to and from a page that user space may be writing to meanwhile, and
 * one aligned word of it, which is not torn.
 */
void holdfast_page_write(struct page *page, size_t offset, const void *from,
			 size_t length)
{
	memcpy_to_page(page, offset, from, length);
}

void holdfast_page_read(struct page *page, size_t offset, void *to,
			size_t length)
{
	memcpy_from_page(to, page, offset, length);
}

void holdfast_page_store(struct page *page, size_t offset, u32 value)
{
	void *address = kmap_local_page(page);

	WRITE_ONCE(*(u32 *)(address + offset), value);
	kunmap_local(address);
}

u32 holdfast_page_load(struct page *page, size_t offset)
{
	void *address = kmap_local_page(page);
	u32 value = READ_ONCE(*(u32 *)(address + offset));

	kunmap_local(address);
	return value;
}
