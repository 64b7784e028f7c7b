/* The latency of alice's web app, asked on a fixed schedule: a slow answer doesn't delay the next question,
 * so none of the slow ones is missed. Its loop's thread. A question that fails, or has no answer within 2 s,
 * is counted as failed. */
#include <inttypes.h>
#include <stdio.h>

#include <troupe/stream_client.h>

#include "base/histogram.h"
#include "base/mem.h"
#include "cli/demo/node.h"
#include "cli/demo/probe.h"

TR_MESSAGE(probe_tick)

#define ANSWER_WITHIN TR_SECONDS(2)
#define REPORT_EVERY  25 /* questions */
#define IN_FLIGHT     1024

typedef struct probe {
    const demo_probe_arg *arg;
    tr_addr web;
    uint64_t due;
    uint32_t phase;
    uint64_t asked, failed; /* in this phase */
    uint64_t sent_at[IN_FLIGHT];
    tr__histogram window, phases[DEMO_PHASES];
} probe;

/* What the page draws: the histogram by quarters of an octave. */
static void spread_of(const tr__histogram *h, uint32_t spread[DEMO_SPREAD])
{
    static const uint64_t quarters[] = {10000, 11892, 14142, 16818}; /* powers of 2^(1/4) */
    uint64_t before = 0;
    for (int i = 0; i < DEMO_SPREAD; i++) {
        uint64_t end = ((uint64_t)DEMO_SPREAD_FROM_NS << i / 4) * quarters[i % 4] / 10000;
        uint64_t below = i == DEMO_SPREAD - 1 ? h->count : tr__histogram_below(h, end);
        spread[i] = (uint32_t)(below - before);
        before = below;
    }
}

static void answered(tr_actor *self, void *state, const tr_result *result, void *context)
{
    probe *p = state;
    uint64_t packed = (uint64_t)(uintptr_t)context;
    uint32_t phase = (uint32_t)(packed % DEMO_PHASES), place = (uint32_t)(packed / DEMO_PHASES);
    const tr_http_response *r = result->msg ? tr_match(result->msg, tr_http_response) : NULL;
    uint64_t took = demo_now() - p->sent_at[place];
    (void)self;
    if (!r || r->status != 200) {
        p->failed++;
        return;
    }
    tr__histogram_add(&p->phases[phase], took);
    tr__histogram_add(&p->window, took);
}

static void report(tr_actor *self, probe *p)
{
    const tr__histogram *h = &p->phases[p->phase];
    uint32_t spread[DEMO_SPREAD];
    spread_of(h, spread);
    tr_send(self, p->arg->observer, demo_latency, .phase = p->phase, .p50_ns = tr__histogram_at(h, 500000),
            .p99_ns = tr__histogram_at(h, 990000), .p999_ns = tr__histogram_at(h, 999000), .max_ns = h->max,
            .window_p99_ns = tr__histogram_at(&p->window, 990000), .asked = h->count, .failed = p->failed,
            .spread = {spread, sizeof(spread)});
    tr__histogram_reset(&p->window);
}

static void question(tr_actor *self, probe *p)
{
    uint32_t place = (uint32_t)(p->asked++ % IN_FLIGHT);
    p->sent_at[place] = demo_now();
    tr_then(self,
            tr_ask(self, p->web, ANSWER_WITHIN, tr_http_request, .method = "GET",
                   .path = tr_fmt(self, "/echo/%" PRIu64, p->asked)),
            answered, (void *)(uintptr_t)(place * DEMO_PHASES + p->phase));
    if (p->asked % REPORT_EVERY == 0)
        report(self, p);
}

static tr_err probe_init(tr_actor *self, void *state, const void *arg)
{
    probe *p = state;
    p->arg = arg;
    p->web = tr_spawn(self, &tr_stream_client,
                      &(tr_stream_opts){.address = p->arg->address, .codec = "http", .connections = 1});
    if (tr_addr_is_none(p->web))
        return tr_last_error(self)->code;
    p->due = demo_now() + DEMO_PROBE_EVERY;
    tr_after(self, DEMO_PROBE_EVERY, probe_tick);
    return TR_OK;
}

static void probe_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    probe *p = state;
    const demo_phase *phase = tr_match(msg, demo_phase);
    if (phase && phase->phase < DEMO_PHASES) {
        report(self, p);
        p->phase = phase->phase;
    } else if (tr_match(msg, probe_tick)) {
        question(self, p);
        uint64_t now = demo_now();
        do
            p->due += DEMO_PROBE_EVERY;
        while (p->due <= now); /* its own machine was busy: those weren't asked */
        tr_after(self, p->due - now, probe_tick);
    }
}

const tr_actor_def demo_probe = {
    .name = "probe", .init = probe_init, .receive = probe_receive, .state_size = sizeof(probe)};
