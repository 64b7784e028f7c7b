/* See fault_os.h. All from "what is told" on, up to the handler, runs in it: only system calls, and memory of its own. */
#include "actors/driver/fault_os.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/backtrace_os.h"
#include "base/err.h"

#define NODES_MAX   16
#define PATH_MAX_   512
#define CONTENT_MAX 1024  /* bytes shown of a string */
#define NEAR        65536 /* bytes below a fiber's stack: a frame may begin beyond the guard's page */
#define OTHERS_MS   5000  /* that a thread which faults as well waits for the one that tells */

static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL,
                             SIGABRT}; /* the first one also without reports */
static struct sigaction before[TR_COUNT(faults)];
static _Atomic bool installed[TR_COUNT(faults)];

typedef struct watched {
    _Atomic bool taken; /* before the path is written */
    _Atomic(tr_node *) node;
    char path[PATH_MAX_];
} watched;

static watched all[NODES_MAX];
static _Atomic bool telling, told; /* by one thread; all of it */
static _Thread_local tr__loop *my_loop;

/* ---- what is told ---------------------------------------------------------------------------------------- */

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

/* As tr__addr_format writes it. */
static void put_address(out *o, uint64_t node, const tr_actor *actor)
{
    put(o, "<");
    for (int shift = 60; shift >= 0; shift -= 4)
        put_number(o, node >> shift & 15, 16);
    put(o, ".");
    put_number(o, actor->index, 10);
    put(o, ".");
    put_number(o, actor->generation, 10);
    put(o, ">");
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

/* Lists, floats, optional and nested fields are left out. */
static void put_field(out *o, const char *body, const tr__field *field)
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
    uint8_t size = field->plain && field->kind < TR_COUNT(sizes) ? sizes[field->kind] : 0;
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
    tr__field field;
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
    const tr_actor *running = NULL;
    const tr_msg *msg = NULL;
    read_safely(&loop->running, (void *)&running, sizeof(running)); /* another thread's, when that is stuck */
    read_safely(&loop->current, (void *)&msg, sizeof(msg));
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

/* If the fault lies in the guard below the running fiber's stack: which actor it is, and how large that is. */
static void put_overflow(out *o, const tr__loop *loop, const siginfo_t *info)
{
    tr_actor actor;
    tr_actor_def def;
    tr__fiber_state state;
    tr__fiber fiber;
    const char *at = info->si_addr;
    if (info->si_signo != SIGSEGV || info->si_code <= 0 ||
        !read_safely(loop->running, &actor, sizeof(actor)) ||
        !read_safely(actor.fiber, &state, sizeof(state)) ||
        !read_safely(state.fiber, &fiber, sizeof(fiber)) || at >= fiber.bottom || at < fiber.bottom - NEAR ||
        !read_safely(actor.def, &def, sizeof(def)))
        return;
    put(o, "troupe: node ");
    put(o, loop->node->name);
    put(o, ": the fiber ");
    put_string(o, def.name, TR_NAME_MAX);
    put(o, " ");
    put_address(o, loop->node->id, &actor);
    put(o, " has overflown its stack of ");
    put_number(o, (uint64_t)((const char *)state.fiber - fiber.bottom), 10);
    put(o, " bytes: give its definition a larger stack_size, or less on the stack\n");
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
    put(o, info ? "\nsignal: " : "\nstuck: an actor keeps the node from its end");
    put(o, info ? signal_word(info->si_signo) : "");
    if (info && info->si_code > 0 && info->si_signo != SIGABRT) {
        put(o, " at address 0x");
        put_number(o, (uint64_t)(uintptr_t)info->si_addr, 16);
    }
    put(o, "\n");
}

/* `info` NULL: of a fault there was none, but an actor is stuck. */
/* The linker knows a plugin by a descriptor's path only: which files those are. */
static void put_plugins(out *file, void *const *frames, size_t count)
{
    const char *last = "";
    for (size_t i = 0; i < count; i++) {
        char name[TR__MODULE_MAX];
        Dl_info about;
        if (!dladdr(frames[i], &about) || !about.dli_fname || strcmp(about.dli_fname, last) == 0 ||
            strncmp(about.dli_fname, "/proc/self/fd/", 14) != 0)
            continue;
        last = about.dli_fname;
        put(file, last);
        put(file, " is ");
        put(file, tr__module_name(last, name, sizeof(name)));
        put(file, "\n");
    }
}

static void report(const watched *w, const tr_node *node, const siginfo_t *info, const tr__loop *loop,
                   void **frames, size_t count)
{
    static out file, line; /* off the stack, which may be small */
    unlink(w->path); /* of an older process with this pid; what others have put there isn't written to */
    file.fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    line.fd = STDERR_FILENO;
    put(&line, "troupe: node ");
    put(&line, node->name);
    put(&line, info ? " crashed (" : " can't end (");
    put(&line, info ? signal_word(info->si_signo) : "a handler is stuck");
    put(&line, file.fd >= 0 ? "); the report is " : "); no report could be written to ");
    put(&line, w->path);
    put(&line, "\n");
    flush(&line);
    if (file.fd < 0)
        return;
    put_head(&file, node, info);
    if (loop)
        put_actor(&file, loop);
    else
        put(&file, "thread: none of the node's loops\n");
    put(&file, "\nbacktrace (`addr2line -f -e PROGRAM 0x...` names a line for what is in brackets):\n");
    flush(&file);
    backtrace_symbols_fd(frames, (int)count, file.fd);
    put_plugins(&file, frames, count);
    if (loop)
        put_ring(&file, loop);
    flush(&file);
    close(file.fd);
}

/* ---- the handler --------------------------------------------------------------------------------------- */

static void tell(const siginfo_t *info)
{
    static out line;
    void *frames[TR__FRAMES_MAX];
    const tr__loop *loop = my_loop;
    const tr_node *mine = loop ? loop->node : NULL;
    line.fd = STDERR_FILENO;
    if (loop)
        put_overflow(&line, loop, info);
    flush(&line);
    for (size_t i = 0; i < NODES_MAX; i++) {
        const tr_node *node = atomic_load(&all[i].node);
        if (node && (node == mine || !mine)) {
            report(&all[i], node, info, loop, frames, tr__backtrace_here(frames, TR__FRAMES_MAX));
            return;
        }
    }
}

/* Another thread faulted first, and tells: to end the process now would cut it short. A fault within the handler doesn't
 * come here: its signal is blocked, and so ends the process. */
static void wait_for_other(void)
{
    for (int ms = 0; ms < OTHERS_MS && !atomic_load(&told); ms += 10)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (!atomic_exchange(&telling, true)) {
        tell(info);
        atomic_store(&told, true);
    } else {
        wait_for_other();
    }
    /* What was to be done: at the return the instruction faults again. One that was sent, by raise too, is sent again. */
    for (size_t i = 0; i < TR_COUNT(faults); i++)
        if (atomic_load(&installed[i]))
            sigaction(faults[i], &before[i], NULL);
    if (info->si_code <= 0)
        raise(number);
}

/* For the first `count` of the faults. */
static void install(size_t count)
{
    struct sigaction on = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&on.sa_mask);
    for (size_t i = 0; i < count; i++)
        if (!atomic_exchange(&installed[i], true))
            sigaction(faults[i], &on, &before[i]);
}

tr_err tr__fault_watch(tr_node *node, const char *directory, tr_error *error)
{
    void *frames[2];
    size_t i = 0;
    while (i < NODES_MAX && atomic_exchange(&all[i].taken, true))
        i++;
    if (i == NODES_MAX)
        return TR_OK;
    int length = snprintf(all[i].path, sizeof(all[i].path), "%s/troupe-crash-%s-%d.txt", directory,
                          node->name, (int)getpid());
    if (length >= (int)sizeof(all[i].path)) {
        atomic_store(&all[i].taken, false);
        return tr__fail(error, TR_ETOOBIG,
                        "the directory for crash reports has a path that is too long: %.100s...", directory);
    }
    atomic_store(&all[i].node, node);
    backtrace(frames, 2); /* the first call loads a library, which a handler may not */
    install(TR_COUNT(faults));
    return TR_OK;
}

void tr__fault_forget(const tr_node *node)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        tr_node *same = (tr_node *)node;
        if (atomic_compare_exchange_strong(&all[i].node, &same, NULL))
            atomic_store(&all[i].taken, false);
    }
}

void tr__fault_stuck(const tr_node *node, const tr__loop *loop, void **frames, size_t count)
{
    if (atomic_exchange(&telling, true)) { /* of a fault, after which the process ends as well */
        wait_for_other();
        return;
    }
    for (size_t i = 0; i < NODES_MAX; i++)
        if (atomic_load(&all[i].node) == node)
            report(&all[i], node, NULL, loop, frames, count);
    atomic_store(&told, true);
}

void tr__fault_loop(tr__loop *loop)
{
    my_loop = loop;
    if (loop)
        install(1);
}

tr__loop *tr__fault_turn(tr__loop *loop)
{
    tr__loop *other = my_loop;
    my_loop = loop;
    return other;
}
