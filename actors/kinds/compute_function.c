/* The table of C functions for tr_call, and their outputs. Registration, under a lock, and look-up: any thread;
 * an output: only the thread that runs the function. Fails by running out of memory or of the call's limit, and
 * says which. */
#include <string.h>

#include "actors/kinds/compute_function.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/spin.h"

#define FUNCTIONS_MAX 1024

typedef struct function {
    char name[TR__FUNCTION_NAME_MAX];
    tr_compute_fn function;
} function;

static tr__spin table_lock = TR__SPIN_INIT; /* of who adds */
/* Static, as the functions are: nothing to release at the end. Entries are never changed once counted. */
static function table[FUNCTIONS_MAX];
static _Atomic uint32_t table_count;

tr_compute_fn tr__compute_function(const char *name)
{
    /* acquire: pairs with the release of who counted an entry, so that it is seen whole */
    uint32_t count = atomic_load_explicit(&table_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0)
            return table[i].function;
    return NULL;
}

tr_err tr_compute_register(const char *name, tr_compute_fn fn)
{
    if (!name || !name[0] || strlen(name) >= TR__FUNCTION_NAME_MAX || !fn)
        return TR_EINVAL;
    tr_err err = TR_OK;
    tr__spin_lock(&table_lock);
    tr_compute_fn known = tr__compute_function(name);
    uint32_t count = atomic_load_explicit(&table_count, memory_order_relaxed);
    if (known) {
        err = known == fn ? TR_OK : TR_EEXIST;
    } else if (count == FUNCTIONS_MAX) {
        err = TR_ENOMEM;
    } else {
        memcpy(table[count].name, name, strlen(name) + 1);
        table[count].function = fn;
        atomic_store_explicit(&table_count, count + 1, memory_order_release);
    }
    tr__spin_unlock(&table_lock);
    return err;
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
