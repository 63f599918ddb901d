/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libs: vmm util */
/* Kernels as ELF files: what a good one finds in memory, and that no bad one does harm. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "vmm/boot.h"
#include "vmm/layout.h"
#include "vmm/mem.h"

#define MEMORY (64u << 20)
#define LOAD_ADDR 0x200000u

/* A kernel in one piece: a segment with "code", and a note behind another one. */
static struct kernel {
	Elf64_Ehdr head;
	Elf64_Phdr load, note;
	struct {
		Elf64_Nhdr head;
		char name[4];
		uint32_t desc;
	} notes[2];
	uint8_t code[16];
} good = {
	.head = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = offsetof(struct kernel, load),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2 },
	.load = { .p_type = PT_LOAD,
		.p_offset = offsetof(struct kernel, code),
		.p_paddr = LOAD_ADDR,
		.p_filesz = sizeof(good.code),
		.p_memsz = 8192 },
	.note = { .p_type = PT_NOTE,
		.p_offset = offsetof(struct kernel, notes),
		.p_filesz = sizeof(good.notes) },
	.notes = { { { 4, 4, 6 }, "Xen", 1 }, { { 4, 4, 18 }, "Xen", LOAD_ADDR + 4 } },
	.code = { 1, 2, 3 },
};

static char path[] = "vmm_boot.XXXXXX", initrd_path[] = "vmm_boot.XXXXXX";
static struct vmm_mem *mem;

static int boot(const void *bytes, size_t len_bytes, struct vmm_boot_entry *ret_entry)
{
	struct vmm_boot conf = { .kernel = path, .initrd = initrd_path, .cmdline = "quiet" };
	int fd = open(path, O_WRONLY | O_TRUNC), err;
	char *error;

	CHECK(fd >= 0);
	CHECK_EQ(write(fd, bytes, len_bytes), (ssize_t)len_bytes);
	close(fd);
	err = vmm_boot(mem, &conf, ret_entry, &error);
	CHECK((err < 0) == (error != NULL));
	free(error);
	return err;
}

static uint64_t word(uint64_t addr, unsigned int len_bytes)
{
	uint64_t value = 0;

	CHECK_OK(vmm_mem_read(mem, addr, &value, len_bytes));
	return value;
}

static void start(void)
{
	struct vmm_boot_entry entry;
	uint64_t module, map;

	CHECK_OK(boot(&good, sizeof(good), &entry));
	CHECK_EQ(entry.rip, LOAD_ADDR + 4);
	CHECK_EQ(entry.page_table, 0);
	CHECK_EQ(word(LOAD_ADDR, 8), 0x030201);
	CHECK_EQ(word(entry.rbx, 4), 0x336ec578);
	CHECK_EQ(word(entry.rbx + 4, 4), 1);
	CHECK_EQ(word(entry.rbx + 12, 4), 1);
	module = word(entry.rbx + 16, 8);
	CHECK_EQ(word(module + 8, 8), 6);
	CHECK_EQ(word(word(module, 8), 6), 0x6472746e6975); /* "uintrd" */
	CHECK(word(module, 8) >= LOAD_ADDR + 8192);
	CHECK_EQ(word(word(entry.rbx + 24, 8), 6), 0x7465697571); /* "quiet" and its end */
	CHECK_EQ(word(entry.rbx + 32, 8), VMM_ACPI);
	map = word(entry.rbx + 40, 8);
	CHECK_EQ(word(entry.rbx + 48, 4), 4);
	CHECK_EQ(word(map + 2 * 24, 8), VMM_ACPI_END);
	CHECK_EQ(word(map + 2 * 24 + 8, 8), MEMORY - VMM_ACPI_END);
	CHECK_EQ(word(map + 2 * 24 + 16, 4), 1);
}

/* What is wrong in one field is refused; so are files that end early, wherever. */
static void refused(void)
{
	struct vmm_boot_entry entry;
	struct kernel bad;

#define REFUSED(field, value)                                                                      \
	do {                                                                                       \
		bad = good;                                                                        \
		bad.field = value;                                                                 \
		CHECK(boot(&bad, sizeof(bad), &entry) < 0);                                        \
	} while (0)

	REFUSED(head.e_ident[EI_CLASS], ELFCLASS32);
	REFUSED(head.e_machine, EM_AARCH64);
	REFUSED(head.e_phentsize, 1);
	REFUSED(head.e_phnum, 0);
	REFUSED(head.e_phnum, 65535);
	REFUSED(head.e_phoff, UINT64_MAX - 3);
	REFUSED(load.p_paddr, VMM_ACPI);
	REFUSED(load.p_paddr, UINT64_MAX - 15);
	REFUSED(load.p_paddr, MEMORY);
	REFUSED(load.p_memsz, 8);
	REFUSED(load.p_memsz, UINT64_MAX);
	REFUSED(load.p_offset, 1u << 20);
	REFUSED(load.p_offset, UINT64_MAX);
	REFUSED(note.p_filesz, 0);
	REFUSED(note.p_filesz, 1u << 30);
	REFUSED(note.p_offset, UINT64_MAX);
	REFUSED(notes[0].head.n_namesz, UINT32_MAX);
	REFUSED(notes[0].head.n_descsz, UINT32_MAX);
	REFUSED(notes[0].head.n_descsz, UINT32_MAX - 2);
	REFUSED(notes[1].head.n_type, 17);
	REFUSED(notes[1].name[0], 'x');
	for (size_t len = 0; len < sizeof(good); len++)
		CHECK(boot(&good, len, &entry) < 0);
	CHECK_OK(boot(&good, sizeof(good), &entry));
}

int main(void)
{
	int fd = mkstemp(path), initrd_fd = mkstemp(initrd_path);

	CHECK(fd >= 0 && initrd_fd >= 0);
	CHECK_EQ(write(initrd_fd, "uintrd", 6), 6);
	close(initrd_fd);
	close(fd);
	CHECK_OK(vmm_mem_new(MEMORY, &mem));
	start();
	refused();
	vmm_mem_free(mem);
	unlink(path);
	unlink(initrd_path);
	return 0;
}
