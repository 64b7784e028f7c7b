/* See stack_fault_os.h. The handler runs on the signal stack of the loop's thread, in the middle of the actor's code: it takes
 * no lock and allocates nothing. (snprintf of numbers and strings does neither in the C libraries that we know.) */
#include "actors/stack_fault_os.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define NEAR 65536 /* bytes below a stack: a frame may begin beyond the guard's page */

static struct sigaction before;
static atomic_bool installed;
static _Thread_local tr__loop *mine;

static void tell(const tr__loop *loop, const tr_actor *actor)
{
    char address[TR_ADDR_TEXT_MAX], text[512];
    const tr__fiber *fiber = actor->fiber->fiber;
    tr__addr_format(tr__addr_of(actor), address);
    int length =
        snprintf(text, sizeof(text),
                 "troupe: node %s: the fiber %s %s has overflown its stack of %zu bytes: give its "
                 "definition a larger stack_size, or less on the stack\n",
                 loop->node->name, actor->def->name, address, (size_t)((const char *)fiber - fiber->bottom));
    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        return; /* nobody reads it */
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    const tr__loop *loop = mine;
    const tr_actor *actor = loop ? loop->running : NULL;
    const char *at = info->si_addr;
    (void)context;
    if (actor && actor->fiber && info->si_code > 0 && at < actor->fiber->fiber->bottom &&
        at >= actor->fiber->fiber->bottom - NEAR)
        tell(loop, actor);
    /* At the return the instruction faults again, and what was to be done is; a signal that was sent is sent again. */
    sigaction(number, &before, NULL);
    if (info->si_code <= 0)
        raise(number);
}

void tr__stack_fault_loop(tr__loop *loop)
{
    struct sigaction on = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    mine = loop;
    if (loop && !atomic_exchange(&installed, true))
        sigaction(SIGSEGV, &on, &before);
}
