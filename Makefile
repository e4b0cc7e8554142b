# SPDX-License-Identifier: GPL-2.0
#
# The front door. Every target hands over to tools/setup.sh, which installs what
# is missing and starts the Python package in tools/holdfast. Kbuild, beside this
# file, is what the kernel's own make reads.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

KERNEL ?= stock
FLAVOUR ?= debug
export KERNEL_SRC KERNEL_TARBALL V
ifneq ($(HOLDFAST_CACHE),)
export HOLDFAST_CACHE
endif

holdfast := @$(dir $(abspath $(lastword $(MAKEFILE_LIST))))tools/setup.sh

.PHONY: help
help:
	@echo 'Holdfast: safe lifetimes for Rust drivers in the Linux kernel'
	@echo
	@echo '  make demo             the stories, told by a virtual machine with a real SR-IOV device'
	@echo '  make test             all tests; ends with "N passed, N failed, N skipped"'
	@echo '  make kunit            the KUnit suites, on user-mode Linux and on x86-64 (RACE_ROUNDS=1000)'
	@echo '  make scenarios        the scenarios in the virtual machine'
	@echo '  make matrix           every operation on PCI devices against every other one: hours;'
	@echo '                        QUICK=1 a few rounds of each, in minutes; ONLY=a+b@target AGAIN=1'
	@echo '  make matrix-picture   draw what it has found, into Documentation/matrix.svg'
	@echo '  make series           patches/7.3 with git am, checkpatch, and a build after each patch'
	@echo '  make model            the protocol under loom, and broken copies of it'
	@echo '  make bench            what everything costs, beside the alternatives; CHECK=1 fails if a'
	@echo '                        mark of instructions is missed; PART=instructions leaves out times'
	@echo '  make compile-fail     code that must not compile; BLESS=1 keeps what the compiler says now'
	@echo '  make lint             every linter; silent findings do not exist'
	@echo '  make doc              the library documentation, in build/doc'
	@echo '  make vm               that virtual machine: a shell, or RUN=script.sh FILES=dir'
	@echo
	@echo '  make modules          the modules against the kernel of KERNEL= and FLAVOUR=, or KDIR=...'
	@echo '  make modules_install  install them into that kernel (INSTALL_MOD_PATH=... for another root)'
	@echo '  make intree KDIR=...  put Holdfast into a kernel source tree; safe to repeat'
	@echo '  make rust-analyzer    rust-project.json over the library and the samples'
	@echo
	@echo '  make setup            fetch and install all that is needed, build no kernel'
	@echo '  make kernels          build every kernel that the tests need'
	@echo '  make clean            remove build/; what is cached stays'
	@echo
	@echo 'Variables: KERNEL=stock|patched  FLAVOUR=debug|debug-kobject-release|fast'
	@echo '           RUN=script.sh  FILES=directory  KDIR=kernel build directory'
	@echo '           KERNEL_SRC=kernel source tree  KERNEL_TARBALL=linux.tar.xz'
	@echo '           HOLDFAST_CACHE=directory (~/.cache/holdfast)  V=1 shows what is run'

.PHONY: setup kernels lint doc rust-analyzer series test
setup kernels lint doc rust-analyzer series test:
	$(holdfast) $@

# The races of the suites have fewer rounds in make test, where this is not set.
kunit: RACE_ROUNDS ?= 1000
export RACE_ROUNDS

.PHONY: kunit scenarios demo model
kunit scenarios demo model:
	$(holdfast) $@

# Each cell is kept when it is done: stopped and started again, it goes on.
.PHONY: matrix matrix-picture
matrix:
	$(holdfast) $@ --kernel '$(KERNEL)' --flavour '$(FLAVOUR)' $(if $(filter-out 0,$(QUICK)),--quick)
matrix-picture:
	$(holdfast) $@

.PHONY: vm
vm:
	$(holdfast) vm --kernel '$(KERNEL)' --flavour '$(FLAVOUR)' \
		$(if $(RUN),--run '$(abspath $(RUN))') $(if $(FILES),--files '$(abspath $(FILES))')

.PHONY: modules modules_install
modules modules_install:
	$(holdfast) $@ --kernel '$(KERNEL)' --flavour '$(FLAVOUR)' \
		$(if $(KDIR),--kdir '$(abspath $(KDIR))') \
		$(if $(INSTALL_MOD_PATH),--root '$(abspath $(INSTALL_MOD_PATH))')

.PHONY: intree
intree:
	$(holdfast) $@ $(if $(KDIR),--kdir '$(abspath $(KDIR))')

.PHONY: compile-fail
compile-fail:
	$(holdfast) $@ $(if $(KDIR),--kdir '$(abspath $(KDIR))') $(if $(BLESS),--bless)

.PHONY: bench
bench:
	$(holdfast) $@ $(if $(PART),--part '$(PART)') \
		$(if $(COMPARE),--compare '$(abspath $(COMPARE))') $(if $(filter-out 0,$(CHECK)),--check)

.PHONY: clean
clean:
	@rm -rf build rust-project.json
