/* See sim_disk.h. */
#include "tests/kit/sim/sim_disk.h"

#include <stdlib.h>
#include <string.h>

#define TORN_MAX 4096 /* bytes at the end that may have become zeros */

typedef struct sim_name {
    struct sim_name *next;
    char *path;
    sim_file *file;
} sim_name;

/* `from` is no name any more, `to` is that file's; either may be NULL. */
typedef struct sim_rename {
    struct sim_rename *next;
    char *from, *to;
    sim_file *file;
} sim_rename;

/* ---- files --------------------------------------------------------------------------------------------- */

sim_file *sim_disk_make(sim_disk *disk)
{
    sim_file *file = sim_alloc(sizeof(*file));
    file->disk = disk;
    file->holders = 1;
    return file;
}

void sim_disk_hold(sim_file *file)
{
    file->holders++;
}

void sim_disk_let_go(sim_file *file)
{
    if (--file->holders)
        return;
    file->disk->used -= file->bytes.size;
    free(file->bytes.data);
    free(file);
}

bool sim_disk_append(sim_file *file, const void *data, size_t size)
{
    sim_disk *disk = file->disk;
    uint64_t room = disk->capacity > disk->used ? disk->capacity - disk->used : 0;
    size_t fits = size < room ? size : (size_t)room;
    sim_bytes_add(&file->bytes, data, fits);
    disk->used += fits;
    return fits == size;
}

void sim_disk_cut(sim_file *file, size_t size)
{
    file->disk->used -= file->bytes.size - size;
    file->bytes.size = size;
    file->forced = file->forced < size ? file->forced : size;
}

void sim_disk_force(sim_file *file)
{
    file->forced = file->bytes.size;
}

/* ---- names --------------------------------------------------------------------------------------------- */

static sim_name **place_of(sim_name **table, const char *path)
{
    while (*table && strcmp((*table)->path, path) != 0)
        table = &(*table)->next;
    return table;
}

static void set_name(sim_name **table, const char *path, sim_file *file)
{
    sim_name **place = place_of(table, path);
    sim_disk_hold(file);
    if (*place) {
        sim_disk_let_go((*place)->file);
    } else {
        *place = sim_alloc(sizeof(**place));
        (*place)->path = sim_strdup(path);
    }
    (*place)->file = file;
}

static void remove_name(sim_name **table, const char *path)
{
    sim_name **place = place_of(table, path), *name = *place;
    if (!name)
        return;
    *place = name->next;
    sim_disk_let_go(name->file);
    free(name->path);
    free(name);
}

static void clear_names(sim_name **table)
{
    while (*table)
        remove_name(table, (*table)->path);
}

static void copy_names(sim_name **into, const sim_name *names)
{
    for (; names; names = names->next)
        set_name(into, names->path, names->file);
}

static void apply(sim_name **table, const sim_rename *change)
{
    if (change->to)
        set_name(table, change->to, change->file);
    if (change->from)
        remove_name(table, change->from);
}

/* Takes the first one. */
static void forget_change(sim_disk *disk)
{
    sim_rename *change = disk->changes;
    disk->changes = change->next;
    if (!disk->changes)
        disk->changes_end = &disk->changes;
    if (change->file)
        sim_disk_let_go(change->file);
    free(change->from);
    free(change->to);
    free(change);
}

static void change_names(sim_disk *disk, const char *from, const char *to, sim_file *file)
{
    sim_rename *change = sim_alloc(sizeof(*change));
    change->from = from ? sim_strdup(from) : NULL;
    change->to = to ? sim_strdup(to) : NULL;
    change->file = file;
    if (file)
        sim_disk_hold(file);
    *disk->changes_end = change;
    disk->changes_end = &change->next;
    apply(&disk->now, change);
}

sim_file *sim_disk_find(const sim_disk *disk, const char *path)
{
    sim_name *table = disk->now, *name = *place_of(&table, path);
    return name ? name->file : NULL;
}

void sim_disk_link(sim_disk *disk, const char *path, sim_file *file)
{
    change_names(disk, NULL, path, file);
}

void sim_disk_unlink(sim_disk *disk, const char *path)
{
    if (sim_disk_find(disk, path))
        change_names(disk, path, NULL, NULL);
}

void sim_disk_rename(sim_disk *disk, const char *from, const char *to)
{
    sim_file *file = sim_disk_find(disk, from);
    if (file && strcmp(from, to) != 0)
        change_names(disk, from, to, file);
}

void sim_disk_force_names(sim_disk *disk)
{
    while (disk->changes) {
        apply(&disk->forced, disk->changes);
        forget_change(disk);
    }
}

/* ---- the disk ------------------------------------------------------------------------------------------ */

void sim_disk_init(sim_disk *disk)
{
    *disk = (sim_disk){.changes_end = &disk->changes, .capacity = UINT64_MAX};
}

void sim_disk_fini(sim_disk *disk)
{
    sim_disk_force_names(disk);
    clear_names(&disk->now);
    clear_names(&disk->forced);
}

static void crash_file(sim_file *file, tr__random *random)
{
    if (sim_draw(random, 0, 1)) /* it had been written back in time */
        sim_disk_force(file);
    size_t kept = (size_t)sim_draw(random, file->forced, file->bytes.size);
    size_t unsure = kept - file->forced < TORN_MAX ? kept - file->forced : TORN_MAX;
    size_t torn = (size_t)sim_draw(random, 0, unsure);
    if (torn)
        memset(file->bytes.data + kept - torn, 0, torn);
    sim_disk_cut(file, kept);
    file->forced = kept;
    file->locked = false;
}

void sim_disk_crash(sim_disk *disk, tr__random *random)
{
    uint64_t count = 0;
    for (const sim_rename *change = disk->changes; change; change = change->next)
        count++;
    uint64_t least = sim_draw(random, 0, 1) ? count : 0;
    for (uint64_t stay = sim_draw(random, least, count); disk->changes; forget_change(disk))
        if (stay && stay--)
            apply(&disk->forced, disk->changes);
    clear_names(&disk->now);
    copy_names(&disk->now, disk->forced);
    for (sim_name *name = disk->now; name; name = name->next)
        crash_file(name->file, random);
}
