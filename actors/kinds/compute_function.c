/* The table of C functions for tr_call, and their outputs. Registration and look-up: any thread, under one
 * lock; an output: only the thread that runs the function. Fails by running out of memory or of the call's
 * limit, and says which. */
#include <pthread.h>
#include <string.h>

#include "actors/kinds/compute_function.h"
#include "base/err.h"
#include "base/mem.h"

#define FUNCTIONS_MAX 1024

typedef struct function {
    char name[TR__FUNCTION_NAME_MAX];
    tr_compute_fn function;
} function;

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
/* Static, as the functions are: nothing to release at the end. Entries are never changed once counted. */
static function table[FUNCTIONS_MAX];
static uint32_t table_count;

static tr_compute_fn find_locked(const char *name)
{
    for (uint32_t i = 0; i < table_count; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].function;
    return NULL;
}

tr_err tr_compute_register(const char *name, tr_compute_fn fn)
{
    if (!name || !name[0] || strlen(name) >= TR__FUNCTION_NAME_MAX || !fn)
        return TR_EINVAL;
    tr_err err = TR_OK;
    pthread_mutex_lock(&table_lock);
    tr_compute_fn known = find_locked(name);
    if (known) {
        err = known == fn ? TR_OK : TR_EEXIST;
    } else if (table_count == FUNCTIONS_MAX) {
        err = TR_ENOMEM;
    } else {
        memcpy(table[table_count].name, name, strlen(name) + 1);
        table[table_count++].function = fn;
    }
    pthread_mutex_unlock(&table_lock);
    return err;
}

tr_compute_fn tr__compute_function(const char *name)
{
    pthread_mutex_lock(&table_lock);
    tr_compute_fn found = find_locked(name);
    pthread_mutex_unlock(&table_lock);
    return found;
}

/* ---- outputs ------------------------------------------------------------------------------------------- */

void tr__compute_out_init(tr_compute_out *out, size_t limit)
{
    memset(out, 0, sizeof(*out));
    atomic_init(&out->canceled, false);
    out->limit = limit;
}

void tr__compute_out_fini(tr_compute_out *out)
{
    tr__free(out->data);
    out->data = NULL;
    out->size = out->room = 0;
}

void *tr_compute_reserve(tr_compute_out *out, size_t size)
{
    if (size > out->limit - out->size) {
        out->refused = TR_ETOOBIG;
        return NULL;
    }
    if (size > out->room - out->size || !out->data) {
        size_t room = out->room ? out->room : 4096;
        while (room - out->size < size)
            room *= 2; /* the limit is 1 GiB at most: no overflow */
        uint8_t *data = tr__realloc(out->data, room);
        if (!data) {
            out->refused = TR_ENOMEM;
            return NULL;
        }
        out->data = data;
        out->room = room;
    }
    void *place = out->data + out->size;
    out->size += size;
    return place;
}

tr_err tr_compute_write(tr_compute_out *out, const void *data, size_t size)
{
    void *place = tr_compute_reserve(out, size);
    if (!place)
        return out->refused;
    if (size)
        memcpy(place, data, size);
    return TR_OK;
}

bool tr_compute_canceled(const tr_compute_out *out)
{
    /* Relaxed: it carries no data, and a look a little later sees it. */
    return atomic_load_explicit(&((tr_compute_out *)out)->canceled, memory_order_relaxed);
}

tr_err tr_compute_fail(tr_compute_out *out, tr_err code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    tr__vfail(&out->error, code, format, args);
    va_end(args);
    return code;
}

void tr__compute_out_settle(tr_compute_out *out, const char *name, tr_err returned)
{
    if (out->refused == TR_ETOOBIG)
        tr__fail(
            &out->error, TR_ETOOBIG,
            "function '%s': its output is more than the call's limit of %zu bytes; raise .limit of tr_call",
            name, out->limit);
    else if (out->refused != TR_OK)
        tr__fail(&out->error, out->refused, "function '%s': no memory for its output", name);
    else if (returned == TR_OK)
        out->error = (tr_error){.code = TR_OK};
    else if (out->error.code != returned || !out->error.text[0])
        tr__fail(&out->error, returned, "function '%s' failed: %s", name, tr__err_meaning(returned));
}
