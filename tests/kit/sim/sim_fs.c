/* See sim_fs.h. */
#include "tests/kit/sim/sim_fs.h"

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

sim_file *sim_fs_make(sim_fs *fs)
{
    sim_file *file = sim_alloc(sizeof(*file));
    file->fs = fs;
    file->holders = 1;
    return file;
}

void sim_fs_hold(sim_file *file)
{
    file->holders++;
}

void sim_fs_let_go(sim_file *file)
{
    if (--file->holders)
        return;
    file->fs->used -= file->bytes.size;
    free(file->bytes.data);
    free(file);
}

bool sim_fs_append(sim_file *file, const void *data, size_t size)
{
    sim_fs *fs = file->fs;
    uint64_t room = fs->capacity > fs->used ? fs->capacity - fs->used : 0;
    size_t fits = size < room ? size : (size_t)room;
    sim_bytes_add(&file->bytes, data, fits);
    fs->used += fits;
    return fits == size;
}

void sim_fs_cut(sim_file *file, size_t size)
{
    file->fs->used -= file->bytes.size - size;
    file->bytes.size = size;
    file->forced = file->forced < size ? file->forced : size;
}

void sim_fs_force(sim_file *file)
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
    sim_fs_hold(file);
    if (*place) {
        sim_fs_let_go((*place)->file);
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
    sim_fs_let_go(name->file);
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
static void forget_change(sim_fs *fs)
{
    sim_rename *change = fs->changes;
    fs->changes = change->next;
    if (!fs->changes)
        fs->changes_end = &fs->changes;
    if (change->file)
        sim_fs_let_go(change->file);
    free(change->from);
    free(change->to);
    free(change);
}

static void change_names(sim_fs *fs, const char *from, const char *to, sim_file *file)
{
    sim_rename *change = sim_alloc(sizeof(*change));
    change->from = from ? sim_strdup(from) : NULL;
    change->to = to ? sim_strdup(to) : NULL;
    change->file = file;
    if (file)
        sim_fs_hold(file);
    *fs->changes_end = change;
    fs->changes_end = &change->next;
    apply(&fs->now, change);
}

sim_file *sim_fs_find(const sim_fs *fs, const char *path)
{
    sim_name *table = fs->now, *name = *place_of(&table, path);
    return name ? name->file : NULL;
}

void sim_fs_link(sim_fs *fs, const char *path, sim_file *file)
{
    change_names(fs, NULL, path, file);
}

void sim_fs_unlink(sim_fs *fs, const char *path)
{
    if (sim_fs_find(fs, path))
        change_names(fs, path, NULL, NULL);
}

void sim_fs_rename(sim_fs *fs, const char *from, const char *to)
{
    sim_file *file = sim_fs_find(fs, from);
    if (file && strcmp(from, to) != 0)
        change_names(fs, from, to, file);
}

void sim_fs_force_names(sim_fs *fs)
{
    while (fs->changes) {
        apply(&fs->forced, fs->changes);
        forget_change(fs);
    }
}

/* ---- a crash ----------------------------------------------------------------------------------------- */

void sim_fs_init(sim_fs *fs)
{
    *fs = (sim_fs){.changes_end = &fs->changes, .capacity = UINT64_MAX};
}

void sim_fs_fini(sim_fs *fs)
{
    sim_fs_force_names(fs);
    clear_names(&fs->now);
    clear_names(&fs->forced);
}

static void crash_file(sim_file *file, tr__random *random)
{
    if (sim_between(random, 0, 1)) /* it had been written back in time */
        sim_fs_force(file);
    size_t kept = (size_t)sim_between(random, file->forced, file->bytes.size);
    size_t unsure = kept - file->forced < TORN_MAX ? kept - file->forced : TORN_MAX;
    size_t torn = (size_t)sim_between(random, 0, unsure);
    if (torn)
        memset(file->bytes.data + kept - torn, 0, torn);
    sim_fs_cut(file, kept);
    file->forced = kept;
}

void sim_fs_unlock(sim_fs *fs)
{
    for (sim_name *name = fs->now; name; name = name->next)
        name->file->locked = false;
}

void sim_fs_crash(sim_fs *fs, tr__random *random)
{
    uint64_t count = 0;
    for (const sim_rename *change = fs->changes; change; change = change->next)
        count++;
    uint64_t least = sim_between(random, 0, 1) ? count : 0;
    for (uint64_t stay = sim_between(random, least, count); fs->changes; forget_change(fs))
        if (stay && stay--)
            apply(&fs->forced, fs->changes);
    clear_names(&fs->now);
    copy_names(&fs->now, fs->forced);
    for (sim_name *name = fs->now; name; name = name->next)
        crash_file(name->file, random);
    sim_fs_unlock(fs);
}
