/* The dials of an nng socket: again and again, with back-off, and told. See sp_actor.h.
 *
 * A pause doubles with each failure up to the longest, less a random quarter; it starts anew after a connection that held as
 * long as the longest. So one that is accepted and cut at once, as by a pair that has its peer, is dialled no more often. */
#include "actors/kinds/sp_actor.h"

static void tell(tr__sp_actor *c, tr_nng_event_kind kind, const char *url, const tr_error *error,
                 uint64_t retry_ns)
{
    if (tr_addr_is_none(c->events))
        return;
    tr_err err = tr_send(c->self, c->events, tr_nng_event, .kind = kind, .url = url, .code = error->code,
                         .text = error->text, .retry_ns = retry_ns);
    c->counts.events_lost += err != TR_OK;
}

/* The pause before the next dial, started. */
static uint64_t pause_then_dial(tr__sp_actor *c, uint32_t index)
{
    tr__sp_target *target = &c->targets[index];
    uint64_t pause = target->backoff_ns - tr_random(c->self) % (target->backoff_ns / 4 + 1);
    target->backoff_ns =
        target->backoff_ns < c->backoff_max_ns / 2 ? target->backoff_ns * 2 : c->backoff_max_ns;
    if (tr_after(c->self, pause, tr__sp_redial, .index = index).id == 0)
        tr_exit(c->self, TR_ENOMEM, "nng socket: no memory for the timer of the next dial of %.80s",
                target->url);
    return pause;
}

static void dial(tr__sp_actor *c, uint32_t index)
{
    tr_error error;
    c->counts.dials++;
    if (c->seam->dial(c->sp, index, c->targets[index].url, &error) == TR_OK)
        return;
    c->counts.dials_failed++;
    tell(c, TR_NNG_FAILED, c->targets[index].url, &error, pause_then_dial(c, index));
}

void tr__sp_dial_all(tr__sp_actor *c)
{
    for (uint32_t i = 0; i < c->dial_count; i++)
        dial(c, i);
}

void tr__sp_on_redial(tr__sp_actor *c, const tr__sp_redial *redial)
{
    dial(c, redial->index);
}

void tr__sp_on_dial(tr__sp_actor *c, const tr__sp_event *event)
{
    tr__sp_target *target = &c->targets[event->index];
    uint64_t now = tr_now(c->self);
    if (event->kind == TR__SP_UP) {
        target->up_since_ns = now;
        tell(c, TR_NNG_UP, target->url, &event->error, 0);
        return;
    }
    bool failed = event->kind == TR__SP_FAILED;
    c->counts.dials_failed += failed;
    c->counts.cuts += !failed;
    if (!failed && now - target->up_since_ns >= c->backoff_max_ns)
        target->backoff_ns = c->backoff_ns;
    tell(c, failed ? TR_NNG_FAILED : TR_NNG_DOWN, target->url, &event->error,
         pause_then_dial(c, event->index));
}

void tr__sp_on_relistened(tr__sp_actor *c, const tr__sp_event *event)
{
    const char *url = c->listening[event->index];
    c->counts.relistened++;
    tr_log(c->self, TR_LOG_WARN, "nng socket: nng had stopped to accept on %.100s: it listens anew%s%.100s",
           url, event->error.code ? ", in vain: " : "", event->error.text);
    tell(c, TR_NNG_RELISTENED, url, &event->error, 0);
}
