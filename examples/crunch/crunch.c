/* Work that computes, on the compute actor's threads, while an actor's timers stay on time.
 *
 *     crunch [BELOW]     counts the primes below that, 500 million if it isn't said */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/compute.h>
#include <troupe/troupe.h>

#define PIECE    250000u
#define BASE_MAX 100000u /* square root of what can be asked for at most: 10^10 */

/* ---- the work: it knows nothing of actors ---------------------------------------------------------------- */

typedef struct range {
    uint64_t from, to;
} range;

/* Counts the primes of a range by a sieve; runs on a thread of the compute actor, on several at a time. */
static tr_err count_primes(const void *in, size_t in_size, tr_compute_out *out)
{
    const range *r = in;
    if (in_size != sizeof(*r) || r->to - r->from > PIECE)
        return tr_compute_fail(out, TR_EINVAL, "not a range");
    unsigned char *small = calloc(BASE_MAX + 1, 1), *composite = calloc(PIECE, 1);
    uint64_t count = 0;
    for (uint64_t p = 2; small && composite && p * p < r->to; p++) {
        if (small[p])
            continue;
        for (uint64_t n = p * p; n <= BASE_MAX && n * n < r->to; n += p)
            small[n] = 1;
        uint64_t first = (r->from + p - 1) / p * p;
        for (uint64_t n = first < p * p ? p * p : first; n < r->to; n += p)
            composite[n - r->from] = 1;
    }
    for (uint64_t n = r->from < 2 ? 2 : r->from; composite && n < r->to; n++)
        count += !composite[n - r->from];
    free(small);
    free(composite);
    if (!small || !composite)
        return TR_ENOMEM;
    return tr_compute_write(out, &count, sizeof(count));
}

/* ---- meanwhile: an actor that wants to run every millisecond --------------------------------------------- */

TR_MESSAGE(tick)
TR_MESSAGE(how_late)
TR_MESSAGE(late, (u64, ticks), (u64, p99_ns))

#define EVERY    TR_MILLIS(1)
#define LATE_MAX 100000u

typedef struct clock_state {
    uint64_t due, ticks, late[LATE_MAX];
} clock_state;

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static tr_err clock_init(tr_actor *self, void *state, const void *arg)
{
    clock_state *c = state;
    (void)arg;
    c->due = tr_now(self) + EVERY;
    return tr_after(self, EVERY, tick).id ? TR_OK : TR_ENOMEM;
}

static void clock_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    clock_state *c = state;
    uint64_t now = tr_now(self);
    if (tr_match(msg, how_late)) {
        qsort(c->late, c->ticks, sizeof(c->late[0]), by_size);
        tr_reply(self, msg, late, .ticks = c->ticks, .p99_ns = c->ticks ? c->late[c->ticks * 99 / 100] : 0);
    } else if (tr_match(msg, tick)) {
        for (; c->due <= now; c->due += EVERY) /* those that fell into one wait count each */
            if (c->ticks < LATE_MAX)
                c->late[c->ticks++] = now - c->due;
        tr_after(self, c->due - now, tick);
    }
}
TR_ACTOR(clock_def, .init = clock_init, .receive = clock_receive, .state_size = sizeof(clock_state));

/* ---- the two together ------------------------------------------------------------------------------------- */

static tr_err crunch(tr_actor *self, tr_addr compute, uint64_t below, uint64_t *primes)
{
    size_t count = (size_t)((below + PIECE - 1) / PIECE);
    tr_future *answers = calloc(count, sizeof(*answers));
    tr_err err = answers ? TR_OK : tr_fail(self, TR_ENOMEM, "no memory for %zu pieces", count);
    size_t asked = 0;
    for (size_t done = 0; err == TR_OK && done < count; done++) {
        for (; asked < count && asked < done + 1000; asked++) { /* more would be refused */
            range r = {asked * PIECE, (asked + 1) * PIECE < below ? (asked + 1) * PIECE : below};
            answers[asked] = tr_ask(self, compute, TR_MINUTES(1), tr_call, .function = "crunch.primes",
                                    .input = {(const unsigned char *)&r, sizeof(r)});
        }
        const tr_called *called;
        uint64_t found = 0;
        err = tr_await(self, answers[done], tr_called, &called);
        if (err == TR_OK)
            memcpy(&found, called->output.data, sizeof(found));
        *primes += found;
    }
    free(answers);
    return err;
}

static tr_err start(tr_actor *self, void *arg) /* a fiber: straight-line */
{
    char **args = arg;
    uint64_t below = args[0] ? strtoull(args[0], NULL, 10) : 500000000, primes = 0;
    if (below < 3 || below > (uint64_t)BASE_MAX * BASE_MAX)
        return tr_fail(self, TR_EINVAL, "usage: crunch [BELOW], from 3 to 10000000000");
    TR_TRY(tr_compute_register("crunch.primes", count_primes));
    tr_addr compute = tr_spawn(self, &tr_compute, NULL), clock = tr_spawn(self, &clock_def, NULL);
    uint64_t began = tr_now(self);
    TR_TRY(crunch(self, compute, below, &primes));
    uint64_t took = tr_now(self) - began;

    const late *l;
    TR_TRY(tr_await(self, tr_ask(self, clock, TR_SECONDS(5), how_late), late, &l));
    printf("%" PRIu64 " primes below %" PRIu64 ", in %" PRIu64 " ms\n", primes, below, took / 1000000);
    printf("%" PRIu64 " timers fired meanwhile, 99 of 100 less than %" PRIu64 " us late\n", l->ticks,
           l->p99_ns / 1000 + 1);
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
