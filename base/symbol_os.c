/* Names for code addresses: the symbol table of the file that the address was loaded from, so that static functions are
 * found and programs need no flag for it. Read anew each time: it is for people, seldom. What fails is a shorter text. */
#include "base/backtrace_os.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME_MAX_SHOWN 80

typedef struct file {
    const char *bytes;
    size_t size;
} file;

static bool file_map(file *f, const char *path)
{
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    f->bytes = MAP_FAILED;
    f->size = 0;
    if (fd >= 0 && fstat(fd, &about) == 0 && about.st_size > (off_t)sizeof(ElfW(Ehdr))) {
        f->size = (size_t)about.st_size;
        f->bytes = mmap(NULL, f->size, PROT_READ, MAP_PRIVATE, fd, 0);
    }
    if (fd >= 0)
        close(fd);
    return f->bytes != MAP_FAILED;
}

/* NULL: the file doesn't have so much. */
static const void *part(const file *f, uint64_t at, uint64_t size)
{
    return at <= f->size && size <= f->size - at ? f->bytes + at : NULL;
}

/* The function of that table that `address`, counted as the file counts, lies in: its name; NULL: none. */
static const char *look_in(const file *f, const ElfW(Shdr) * sections, size_t count, const ElfW(Shdr) * table,
                           uint64_t address, uint64_t *offset)
{
    if (table->sh_link >= count || table->sh_entsize != sizeof(ElfW(Sym)))
        return NULL;
    const ElfW(Shdr) *strings = &sections[table->sh_link];
    const ElfW(Sym) *symbols = part(f, table->sh_offset, table->sh_size);
    const char *names = part(f, strings->sh_offset, strings->sh_size);
    if (!symbols || !names || strings->sh_size == 0 || names[strings->sh_size - 1] != '\0')
        return NULL;
    for (size_t i = 0; i < table->sh_size / sizeof(*symbols); i++) {
        const ElfW(Sym) *s = &symbols[i];
        if ((s->st_info & 0xf) == STT_FUNC && s->st_shndx != SHN_UNDEF && address >= s->st_value &&
            address - s->st_value < s->st_size && s->st_name < strings->sh_size) {
            *offset = address - s->st_value;
            return names + s->st_name;
        }
    }
    return NULL;
}

static const char *function_at(const file *f, uint64_t address, uint64_t *offset)
{
    const ElfW(Ehdr) *head = part(f, 0, sizeof(*head));
    if (!head || memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(ElfW(Shdr)))
        return NULL;
    const ElfW(Shdr) *sections = part(f, head->e_shoff, (uint64_t)head->e_shnum * sizeof(*sections));
    const char *name = NULL;
    for (size_t i = 0; sections && !name && i < head->e_shnum; i++)
        if (sections[i].sh_type == SHT_SYMTAB || sections[i].sh_type == SHT_DYNSYM)
            name = look_in(f, sections, head->e_shnum, &sections[i], address, offset);
    return name;
}

const char *tr__module_name(const char *path, char *text, size_t room)
{
    static const char memory[] = "/memfd:", gone[] = " (deleted)";
    char target[TR__MODULE_MAX + sizeof(memory) + sizeof(gone)];
    const char *slash = strrchr(path, '/');
    ssize_t length =
        strncmp(path, "/proc/self/fd/", 14) == 0 ? readlink(path, target, sizeof(target) - 1) : -1;
    target[length > 0 ? length : 0] = '\0';
    if (strncmp(target, memory, sizeof(memory) - 1) == 0) {
        char *end = strstr(target, gone);
        if (end)
            *end = '\0';
        path = target + sizeof(memory) - 1;
    } else if (slash) {
        path = slash + 1;
    }
    size_t used = strnlen(path, room - 1);
    memcpy(text, path, used);
    text[used] = '\0';
    return text;
}

const char *tr__frame_text(void *frame, size_t index, char *text, size_t room)
{
    /* A return address may lie behind the end of the function that called. */
    void *in_call = index ? (char *)frame - 1 : frame;
    Dl_info about;
    struct link_map *map = NULL;
    if (!dladdr1(in_call, &about, (void **)&map, RTLD_DL_LINKMAP) || !map) {
        snprintf(text, room, "%p", frame);
        return text;
    }
    uint64_t address = (uint64_t)(uintptr_t)in_call - map->l_addr, offset = 0;
    bool program = !map->l_name || !map->l_name[0];
    const char *path = program ? "/proc/self/exe" : map->l_name;
    char module[TR__MODULE_MAX];
    tr__module_name(about.dli_fname ? about.dli_fname : "?", module, sizeof(module));
    file f;
    const char *name = file_map(&f, path) ? function_at(&f, address, &offset) : NULL;
    if (name)
        snprintf(text, room, "%.*s+0x%llx (%s+0x%llx)", NAME_MAX_SHOWN, name, (unsigned long long)offset,
                 module, (unsigned long long)address);
    else
        snprintf(text, room, "%s+0x%llx", module, (unsigned long long)address);
    if (f.bytes != MAP_FAILED)
        munmap((void *)f.bytes, f.size);
    return text;
}
