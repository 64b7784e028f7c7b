/* Confirmed sends, at the node that receives: see confirmed.h. Nothing that came is trusted but for who sent it. */
#include "actors/remote/confirmed.h"

#include <string.h>

#include "actors/remote/letter.h"
#include "actors/remote/peer.h"
#include "base/mem.h"
#include "base/plant.h"

#define RETRY TR_MILLIS(10)

typedef struct tr__confirm_in {
    uint64_t stream;
    uint64_t expected; /* the next number that is taken */
    uint64_t told;     /* what became of those below it was said */
    bool owes;         /* something is to be said */
    bool again;        /* and that one is missing; said once, until it comes */
    bool again_told;
    uint8_t results[TR__CONFIRM_WINDOW]; /* of the last numbers: a tr_err */
} in;

/* ---- what became of them ------------------------------------------------------------------------------- */

static void owe(tr__confirmer *c, in *i)
{
    i->owes = true;
    c->owes = true;
}

static void not_known(tr__confirmer *c, const tr__confirm_peer *peer, uint64_t stream)
{
    (void)tr_send(c->self, TR__CONFIRMER_OF(peer->node), tr__confirm_ack,
                  .stream = stream); /* or it asks again */
}

void tr__confirm_tell(tr__confirmer *c, tr__confirm_peer *peer)
{
    in *i = peer->in;
    uint8_t results[TR__CONFIRM_WINDOW];
    size_t count = 0;
    if (!i || !i->owes)
        return;
    for (uint64_t n = i->told; n < i->expected; n++)
        results[count++] = i->results[n % TR__CONFIRM_WINDOW];
    tr_err err = tr_send(c->self, TR__CONFIRMER_OF(peer->node), tr__confirm_ack, .stream = i->stream,
                         .known = true, .again = i->again, .first = i->told, .results = {results, count});
    i->owes = err != TR_OK && err != TR_ENOCONN; /* who isn't connected greets again */
    if (i->owes) {
        c->owes = true;
        tr__confirmer_by(c, tr__owner(c->self)->now_ns + RETRY);
        return;
    }
    i->told = i->expected;
    i->again = false;
}

void tr__confirm_in_free(tr__confirm_peer *peer)
{
    tr__free(peer->in);
    peer->in = NULL;
}

/* ---- streams ------------------------------------------------------------------------------------------- */

/* Those of the last window, whose results are there. */
static bool is_recent(const in *i, uint64_t number)
{
    return number && number <= i->expected && i->expected - number <= TR__CONFIRM_WINDOW;
}

void tr__confirm_hello_take(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_hello *hello)
{
    in *i = peer->in;
    if (hello->fresh && !i) {
        i = peer->in = tr__zalloc(sizeof(in));
        if (!i)
            return; /* it greets again */
    }
    if (hello->fresh && i->stream != hello->stream)
        *i = (in){.stream = hello->stream, .expected = 1, .told = 1};
    if (!i || i->stream != hello->stream || !is_recent(i, hello->base)) {
        not_known(c, peer, hello->stream);
        return;
    }
    if (TR_PLANT(confirmed_twice))
        i->expected = hello->base;
    i->told = hello->base;
    i->again = i->again_told = false;
    owe(c, i);
}

static tr_err take(tr__confirmer *c, const tr__confirm_peer *peer, const tr__confirm_data *data)
{
    const in *i = peer->in;
    tr_error error;
    bool follows = data->after && data->after < data->number && is_recent(i, data->after);
    if (follows && !TR_PLANT(confirmed_overtaken) && i->results[data->after % TR__CONFIRM_WINDOW] == TR_EFULL)
        return TR_EFULL; /* V2 */
    tr_err may =
        data->skip ? TR_OK : tr__node_may_send(tr__owner(c->self), peer->node, data->to, data->type, &error);
    if (may == TR_ENOCONN)
        return TR_ENOMEM; /* it came just before its connection went: what it may isn't known any more */
    tr_err err = data->skip || may != TR_OK ? may : tr__confirm_deliver(c, data);
    return err == TR_EFULL && TR_PLANT(confirmed_early) ? TR_OK : err;
}

void tr__confirm_data_take(tr__confirmer *c, tr__confirm_peer *peer, const tr__confirm_data *data)
{
    in *i = peer->in;
    if (!i || i->stream != data->stream) {
        not_known(c, peer, data->stream);
        return;
    }
    if (data->number < i->expected) { /* it has come: what became of it was lost on its way */
        if (data->number < i->told && is_recent(i, data->number))
            i->told = data->number;
    } else if (data->number > i->expected) { /* one before it was lost */
        if (i->again_told)
            return;
        i->again = i->again_told = true;
    } else {
        tr_err result = take(c, peer, data);
        if (result == TR_ENOMEM)
            return; /* as if it hadn't come: it is sent again */
        i->results[data->number % TR__CONFIRM_WINDOW] = (uint8_t)result;
        i->expected++;
        i->again_told = false;
        if (i->expected - i->told > TR__CONFIRM_WINDOW)
            i->told = i->expected - TR__CONFIRM_WINDOW;
    }
    owe(c, i);
}

tr_err tr__confirm_deliver(tr__confirmer *c, const tr__confirm_data *data)
{
    const tr__letter letter = {.to = data->to,
                               .sender = data->from,
                               .type = data->type,
                               .fingerprint = data->fingerprint,
                               .schema = data->schema,
                               .body = data->body};
    tr_error error;
    return tr__letter_put(tr__owner(c->self), &letter, &error);
}
