/* See crash_os.h. All below "the report" runs in the handler: only system calls, and memory of its own. */
#include "actors/crash_os.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "actors/loop.h"
#include "base/backtrace_os.h"
#include "base/err.h"

#define NODES_MAX   16
#define PATH_MAX_   512
#define CONTENT_MAX 1024 /* bytes shown of a string */

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static struct sigaction before[TR_COUNT(faults)];

typedef struct watched {
    _Atomic(tr_node *) node;
    char path[PATH_MAX_];
} watched;

static watched all[NODES_MAX];
static _Atomic bool installed, reported;
static _Thread_local tr__loop *my_loop;

/* ---- the report ---------------------------------------------------------------------------------------- */

typedef struct out {
    int fd;
    size_t used;
    char text[1024];
} out;

static void flush(out *o)
{
    for (size_t at = 0; at < o->used;) {
        ssize_t wrote = write(o->fd, o->text + at, o->used - at);
        if (wrote <= 0)
            break;
        at += (size_t)wrote;
    }
    o->used = 0;
}

static void put(out *o, const char *text)
{
    for (; *text; text++) {
        if (o->used == sizeof(o->text))
            flush(o);
        o->text[o->used++] = *text;
    }
}

static void put_number(out *o, uint64_t number, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;
    digits[at] = '\0';
    do
        digits[--at] = "0123456789abcdef"[number % base];
    while (number /= base);
    put(o, digits + at);
}

static void put_signed(out *o, int64_t number)
{
    if (number < 0)
        put(o, "-");
    put_number(o, number < 0 ? -(uint64_t)number : (uint64_t)number, 10);
}

/* False: it isn't readable. */
static bool read_safely(const void *from, void *to, size_t size)
{
    struct iovec here = {to, size}, there = {(void *)from, size};
    return from && process_vm_readv(getpid(), &here, 1, &there, 1, 0) == (ssize_t)size;
}

/* A string that may be anywhere; what isn't printable as "?". */
static void put_string(out *o, const char *from, size_t most)
{
    char c[2] = "";
    for (size_t i = 0; i < most; i++) {
        if (!read_safely(from + i, c, 1)) {
            put(o, "(unreadable)");
            return;
        }
        if (!c[0])
            return;
        if ((unsigned char)c[0] < ' ' || c[0] == 0x7f)
            c[0] = '?';
        put(o, c);
    }
    put(o, "...");
}

static void put_field(out *o, const char *body, const tr_field *field)
{
    const char *at = body + field->offset;
    union {
        bool yes;
        int8_t i8;
        int16_t i16;
        int32_t i32;
        int64_t i64;
        uint8_t u8;
        uint16_t u16;
        uint32_t u32;
        uint64_t u64;
        const char *string;
    } v = {.u64 = 0};
    static const uint8_t sizes[] = {[TR_KIND_bool] = 1, [TR_KIND_i8] = 1,
                                    [TR_KIND_i16] = 2,  [TR_KIND_i32] = 4,
                                    [TR_KIND_i64] = 8,  [TR_KIND_u8] = 1,
                                    [TR_KIND_u16] = 2,  [TR_KIND_u32] = 4,
                                    [TR_KIND_u64] = 8,  [TR_KIND_string] = sizeof(char *)};
    uint8_t size = field->kind < TR_COUNT(sizes) ? sizes[field->kind] : 0;
    if (!size || !read_safely(at, &v, size)) {
        put(o, size ? "(unreadable)" : "...");
        return;
    }
    switch (field->kind) {
    case TR_KIND_bool:
        put(o, v.yes ? "true" : "false");
        break;
    case TR_KIND_i8:
        put_signed(o, v.i8);
        break;
    case TR_KIND_i16:
        put_signed(o, v.i16);
        break;
    case TR_KIND_i32:
        put_signed(o, v.i32);
        break;
    case TR_KIND_i64:
        put_signed(o, v.i64);
        break;
    case TR_KIND_string:
        put(o, "\"");
        put_string(o, v.string, CONTENT_MAX);
        put(o, "\"");
        break;
    default: /* the unsigned ones: v was zero above their size */
        put_number(o, v.u64, 10);
    }
}

static void put_message(out *o, const tr_msg *msg)
{
    tr_msg head;
    tr_typeinfo type;
    tr_field field;
    if (!msg)
        return;
    put(o, "message: ");
    if (!read_safely(msg, &head, sizeof(head)) ||
        (head.type && !read_safely(head.type, &type, sizeof(type)))) {
        put(o, "(unreadable)\n");
        return;
    }
    if (!head.type) {
        put(o, "a signal\n");
        return;
    }
    put_string(o, type.name, TR_NAME_MAX);
    put(o, " {");
    for (uint32_t i = 0; i < type.count && read_safely(type.fields + i, &field, sizeof(field)); i++) {
        put(o, i ? ", " : "");
        put_string(o, field.name, TR_NAME_MAX);
        put(o, ": ");
        put_field(o, (const char *)(msg + 1), &field);
    }
    put(o, "}\nfrom: slot ");
    put_number(o, head.sender.slot, 10);
    put(o, ", generation ");
    put_number(o, head.sender.generation, 10);
    put(o, ", node ");
    put_number(o, head.sender.node, 16);
    put(o, "\n");
}

static void put_actor(out *o, const tr__loop *loop)
{
    tr_actor actor;
    tr_actor_def def;
    tr__fiber_state fiber;
    const tr_actor *running = loop->running;
    put(o, "loop: ");
    put_number(o, loop->index, 10);
    put(o, "\n");
    if (!running) {
        put(o, "actor: none; the fault is between two handlers\n");
        return;
    }
    put(o, "actor: ");
    if (!read_safely(running, &actor, sizeof(actor)) || !read_safely(actor.def, &def, sizeof(def))) {
        put(o, "(unreadable)\n");
        return;
    }
    put_string(o, def.name, TR_NAME_MAX);
    put(o, ", slot ");
    put_number(o, actor.index, 10);
    put(o, ", generation ");
    put_number(o, actor.generation, 10);
    put(o, "\n");
    const tr_msg *msg = loop->current;
    if (!msg && actor.fiber && read_safely(actor.fiber, &fiber, sizeof(fiber)))
        msg = fiber.received;
    put_message(o, msg);
}

static void put_ring(out *o, const tr__loop *loop)
{
    static const char *const words[TR__TRACE_COUNT] = {
#define TR__WORD(name, word, meaning) word,
        TR__TRACES(TR__WORD)
#undef TR__WORD
    };
    tr__ring_seen seen = {0};
    tr__ring_get(&loop->ring, 0, &seen);
    uint32_t newest = seen.stamp;
    put(o, "\nwhat the loop did last, newest first (ms before the newest, in steps of 0.07):\n");
    for (uint32_t i = 0; tr__ring_get(&loop->ring, i, &seen); i++) {
        const char *name = NULL;
        put(o, "  -");
        uint64_t us = ((uint64_t)(newest - seen.stamp) << TR__STAMP_SHIFT) / 1000u;
        put_number(o, us / 1000, 10);
        put(o, us % 1000 < 100 ? us % 1000 < 10 ? ".00" : ".0" : ".");
        put_number(o, us % 1000, 10);
        put(o, "  slot ");
        put_number(o, seen.who, 10);
        put(o, " ");
        put(o, seen.kind < TR__TRACE_COUNT ? words[seen.kind] : "?");
        /* Of a type and of a definition the name is the first member. */
        if (read_safely(seen.what, &name, sizeof(name))) {
            put(o, " ");
            put_string(o, name, TR_NAME_MAX);
        }
        put(o, "\n");
    }
}

static const char *signal_word(int number)
{
    switch (number) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGFPE:
        return "SIGFPE";
    case SIGILL:
        return "SIGILL";
    default:
        return "SIGABRT";
    }
}

static void put_head(out *o, const tr_node *node, const siginfo_t *info)
{
    put(o, "troupe crash report\nversion: " TR_VERSION "\nnode: ");
    put(o, node->name);
    put(o, "\nincarnation: ");
    put_number(o, node->id, 16);
    put(o, "\npid: ");
    put_number(o, (uint64_t)getpid(), 10);
    put(o, "\nsignal: ");
    put(o, signal_word(info->si_signo));
    if (info->si_code > 0 && info->si_signo != SIGABRT) {
        put(o, " at address 0x");
        put_number(o, (uint64_t)(uintptr_t)info->si_addr, 16);
    }
    put(o, "\n");
}

static void report(const watched *w, const tr_node *node, const siginfo_t *info)
{
    static out file, told; /* off the stack, which may be small */
    void *frames[TR__FRAMES_MAX];
    tr__loop *loop = my_loop;
    unlink(w->path); /* of an older process with this pid; what others have put there isn't written to */
    file.fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    told.fd = STDERR_FILENO;
    put(&told, "troupe: node ");
    put(&told, node->name);
    put(&told, " crashed (");
    put(&told, signal_word(info->si_signo));
    put(&told, file.fd >= 0 ? "); the report is " : "); no report could be written to ");
    put(&told, w->path);
    put(&told, "\n");
    flush(&told);
    if (file.fd < 0)
        return;
    put_head(&file, node, info);
    if (loop)
        put_actor(&file, loop);
    else
        put(&file, "thread: none of the node's loops\n");
    put(&file, "\nbacktrace (`addr2line -f -e PROGRAM 0x...` names a line for what is in brackets):\n");
    flush(&file);
    backtrace_symbols_fd(frames, (int)tr__backtrace_here(frames, TR__FRAMES_MAX), file.fd);
    if (loop)
        put_ring(&file, loop);
    flush(&file);
    close(file.fd);
}

/* ---- the handler --------------------------------------------------------------------------------------- */

static void on_fault(int number, siginfo_t *info, void *context)
{
    tr_node *mine = my_loop ? my_loop->node : NULL;
    (void)context;
    if (!atomic_exchange(&reported, true))
        for (size_t i = 0; i < NODES_MAX; i++) {
            tr_node *node = atomic_load(&all[i].node);
            if (node && (node == mine || !mine)) {
                report(&all[i], node, info);
                break;
            }
        }
    /* What was to be done: at the return the instruction faults again. One that was sent, by raise too, is sent again. */
    for (size_t i = 0; i < TR_COUNT(faults); i++)
        sigaction(faults[i], &before[i], NULL);
    if (info->si_code <= 0)
        raise(number);
}

static void install(void)
{
    void *frames[2];
    struct sigaction on = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    if (atomic_exchange(&installed, true))
        return;
    backtrace(frames, 2); /* the first call loads a library, which a handler may not */
    sigfillset(&on.sa_mask);
    for (size_t i = 0; i < TR_COUNT(faults); i++)
        sigaction(faults[i], &on, &before[i]);
}

tr_err tr__crash_watch(tr_node *node, const char *directory, tr_error *error)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        tr_node *none = NULL;
        if (atomic_load(&all[i].node))
            continue;
        int length = snprintf(all[i].path, sizeof(all[i].path), "%s/troupe-crash-%s-%d.txt", directory,
                              node->name, (int)getpid());
        if (length >= (int)sizeof(all[i].path))
            return tr__fail(error, TR_ETOOBIG,
                            "the directory for crash reports has a path that is too long: %.100s...",
                            directory);
        if (atomic_compare_exchange_strong(&all[i].node, &none, node))
            break;
    }
    install();
    return TR_OK;
}

void tr__crash_forget(const tr_node *node)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        tr_node *same = (tr_node *)node;
        atomic_compare_exchange_strong(&all[i].node, &same, NULL);
    }
}

void tr__crash_loop(tr__loop *loop)
{
    my_loop = loop;
}
