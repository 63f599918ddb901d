/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ACPI tables: what the guest's kernel cannot find out by itself. */
#ifndef VMM_ACPI_H
#define VMM_ACPI_H

struct vmm_mem;

/*
 * Writes RSDP (at VMM_ACPI), XSDT, FADT, MADT, MCFG, FACS and DSDT for nr_cpus (1 to 254) CPUs.
 * ACPI 6.5, chapter 5; the DSDT is AML, chapter 20. Errors: -EFAULT, there is no memory there.
 */
int vmm_acpi_write(struct vmm_mem *mem, unsigned int nr_cpus)
	__attribute__((warn_unused_result, nonnull));

#endif
