/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <assert.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "util/checked.h"
#include "util/le.h"
#include "vmm/boot.h"
#include "vmm/boot_internal.h"
#include "vmm/layout.h"
#include "vmm/mem.h"

/* Xen's public headers: elfnote.h, arch-x86/hvm/start_info.h */
#define NOTE_PHYS32_ENTRY 18
#define START_MAGIC 0x336ec578u

struct start_info {
	struct le32 magic, version, flags, nr_modules;
	struct le64 modules, cmdline, rsdp, map;
	struct le32 nr_ranges, reserved;
};
static_assert(sizeof(struct start_info) == 56, "version 1");

struct module {
	struct le64 addr, len_bytes, cmdline, reserved;
};

struct range {
	struct le64 addr, len_bytes;
	struct le32 type, reserved;
};

/* Where the three lie, one behind the other. */
struct boot_info {
	struct start_info start;
	struct module initrd;
	struct range map[VMM_BOOT_MAX_RANGES];
};
static_assert(sizeof(struct boot_info) <= VMM_PAGE_TABLES - VMM_BOOT_PARAMS, "there is room");

#define MAX_NOTES_BYTES 4096
#define MAX_SEGMENTS 64

static int read_at(
	const struct vmm_boot_file *file, uint64_t off_bytes, void *buf, size_t len_bytes)
{
	return pread(file->fd, buf, len_bytes, (off_t)off_bytes) == (ssize_t)len_bytes ? 0
										       : -ENOEXEC;
}

/* The entry, if one of a segment's notes tells it. */
static bool find_entry(const uint8_t *notes, size_t len_bytes, uint64_t *ret_entry)
{
	Elf64_Nhdr note;

	for (size_t at = 0; len_bytes - at >= sizeof(note);) {
		size_t name = at + sizeof(note), desc;

		memcpy(&note, notes + at, sizeof(note));
		if (note.n_namesz > len_bytes - name)
			return false;
		desc = name + ALIGN_UP((size_t)note.n_namesz, 4);
		if (desc > len_bytes || note.n_descsz > len_bytes - desc)
			return false;
		if (note.n_type == NOTE_PHYS32_ENTRY && note.n_namesz == sizeof("Xen") &&
			memcmp(notes + name, "Xen", sizeof("Xen")) == 0 &&
			(note.n_descsz == 4 || note.n_descsz == 8)) {
			*ret_entry = 0;
			memcpy(ret_entry, notes + desc, note.n_descsz);
			return true;
		}
		at = desc + ALIGN_UP((size_t)note.n_descsz, 4);
		if (at > len_bytes)
			return false;
	}
	return false;
}

static bool segment_entry(
	const struct vmm_boot_file *file, const Elf64_Phdr *segment, uint64_t *ret_entry)
{
	uint8_t notes[MAX_NOTES_BYTES];

	return segment->p_filesz <= sizeof(notes) &&
	       read_at(file, segment->p_offset, notes, segment->p_filesz) == 0 &&
	       find_entry(notes, segment->p_filesz, ret_entry);
}

/* What lies below the first MiB is ours; what is not in the file is zero already. */
static int load_segment(struct vmm_mem *mem, const struct vmm_boot_file *file,
	const Elf64_Phdr *segment, uint64_t *end, char **ret_error)
{
	void *ptr;

	if (segment->p_filesz > segment->p_memsz || segment->p_paddr < VMM_ACPI_END)
		return vmm_boot_fail(ret_error, -ENOEXEC,
			"%s has a segment at %#llx that cannot be loaded", file->path,
			(unsigned long long)segment->p_paddr);
	if (vmm_mem_ptr(mem, segment->p_paddr, segment->p_memsz, &ptr) < 0)
		return vmm_boot_fail(
			ret_error, -ENOSPC, "the memory is too small for %s", file->path);
	*end = MAX(*end, segment->p_paddr + segment->p_memsz);
	return vmm_boot_load(
		mem, file, segment->p_offset, segment->p_filesz, segment->p_paddr, ret_error);
}

static int load_elf(struct vmm_mem *mem, const struct vmm_boot_file *file, uint64_t *ret_entry,
	uint64_t *ret_end, char **ret_error)
{
	bool found = false;
	Elf64_Ehdr head;
	int err = 0;

	*ret_end = 0;
	if (read_at(file, 0, &head, sizeof(head)) < 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
		head.e_machine != EM_X86_64 || head.e_phentsize != sizeof(Elf64_Phdr) ||
		head.e_phnum > MAX_SEGMENTS)
		return vmm_boot_fail(
			ret_error, -ENOEXEC, "%s is ELF, but no kernel of x86-64", file->path);
	for (unsigned int i = 0; !err && i < head.e_phnum; i++) {
		Elf64_Phdr segment;

		if (read_at(file, head.e_phoff + i * sizeof(segment), &segment, sizeof(segment)) <
			0)
			return vmm_boot_fail(ret_error, -ENOEXEC, "%s ends too early", file->path);
		if (segment.p_type == PT_NOTE)
			found = found || segment_entry(file, &segment, ret_entry);
		else if (segment.p_type == PT_LOAD && segment.p_memsz > 0)
			err = load_segment(mem, file, &segment, ret_end, ret_error);
	}
	if (!err && (!found || *ret_entry > UINT32_MAX))
		err = vmm_boot_fail(ret_error, -ENOEXEC,
			"%s is ELF without an entry for PVH (Linux: CONFIG_PVH)", file->path);
	return err;
}

int vmm_boot_pvh(struct vmm_mem *mem, const struct vmm_boot *boot,
	const struct vmm_boot_file *kernel, struct vmm_boot_entry *ret_entry, char **ret_error)
{
	struct vmm_boot_range map[VMM_BOOT_MAX_RANGES];
	uint64_t entry = 0, end, initrd = 0, initrd_bytes = 0;
	unsigned int nr = vmm_boot_map(mem, map);
	struct boot_info info = { 0 };
	int err;

	err = load_elf(mem, kernel, &entry, &end, ret_error);
	if (!err)
		err = vmm_boot_initrd(
			mem, boot, end, UINT32_MAX, &initrd, &initrd_bytes, ret_error);
	if (!err)
		err = vmm_boot_cmdline(mem, boot, UINT32_MAX, ret_error);
	if (err)
		return err;
	info.start = (struct start_info){ .magic = le32_of(START_MAGIC),
		.version = le32_of(1),
		.nr_modules = le32_of(initrd_bytes ? 1 : 0),
		.modules = le64_of(VMM_BOOT_PARAMS + offsetof(struct boot_info, initrd)),
		.cmdline = le64_of(VMM_CMDLINE),
		.rsdp = le64_of(VMM_ACPI),
		.map = le64_of(VMM_BOOT_PARAMS + offsetof(struct boot_info, map)),
		.nr_ranges = le32_of(nr) };
	info.initrd =
		(struct module){ le64_of(initrd), le64_of(initrd_bytes), le64_of(0), le64_of(0) };
	for (unsigned int i = 0; i < nr; i++)
		info.map[i] = (struct range){ le64_of(map[i].addr), le64_of(map[i].len_bytes),
			le32_of(map[i].type), le32_of(0) };
	err = vmm_mem_write(mem, VMM_BOOT_PARAMS, &info, sizeof(info));
	if (err)
		return vmm_boot_fail(ret_error, err, "the memory is too small for a kernel");
	*ret_entry = (struct vmm_boot_entry){ .rip = entry, .rbx = VMM_BOOT_PARAMS };
	return 0;
}
