/* See script_sp.h. */
#include "tests/kit/script_sp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static script_sp *the(tr__sp *sp)
{
    return (script_sp *)sp;
}

static void note(script_sp *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(script_sp *s, const char *format, ...)
{
    size_t length = strlen(s->did);
    va_list args;
    va_start(args, format);
    int size = vsnprintf(s->did + length, sizeof(s->did) - length - 1, format, args);
    va_end(args);
    if (size < 0 || length + (size_t)size + 2 > sizeof(s->did))
        fail_msg("more was done than has room");
    strcat(s->did, " ");
}

const char *script_sp_did(script_sp *s)
{
    static char did[SCRIPT_SP_DID];
    snprintf(did, sizeof(did), "%s", s->did);
    s->did[0] = '\0';
    return did;
}

static void wake(script_sp *s)
{
    if (s->woken || !s->open)
        return;
    s->woken = true;
    assert_int_equal(tr__inject(s->loop, s->owner, tr__sp_wake, .unused = 0), TR_OK);
}

static script_sp_item *append(script_sp_item *queue, uint32_t *end, const char *data)
{
    script_sp_item *item = &queue[(*end)++ % SCRIPT_SP_QUEUED];
    *item = (script_sp_item){.bytes = data ? strdup(data) : NULL};
    item->event.data = (tr_bytes){item->bytes, data ? strlen(data) : 0};
    return item;
}

void script_sp_event(script_sp *s, tr__sp_event_kind kind, uint32_t index, const char *data, tr_err code,
                     const char *text)
{
    script_sp_item *item = append(s->events, &s->event_end, data);
    item->event.kind = kind;
    item->event.index = index;
    item->event.error.code = code;
    snprintf(item->event.error.text, sizeof(item->event.error.text), "%s", text);
    wake(s);
}

void script_sp_come(script_sp *s, uint32_t exchange, const char *data)
{
    append(s->incoming, &s->incoming_end, data)->event.index = exchange;
    s->counts.received++;
    wake(s);
}

void script_sp_taken(script_sp *s, tr_err code)
{
    assert_true(s->key_first != s->key_end);
    uint64_t key = s->keys[s->key_first++ % SCRIPT_SP_QUEUED];
    s->counts.unsent--;
    s->counts.sent += code == TR_OK;
    s->counts.send_failed += code != TR_OK;
    if (s->want_room && s->counts.unsent <= s->opts.send_ahead / 2) {
        s->want_room = false;
        script_sp_event(s, TR__SP_ROOM, 0, NULL, TR_OK, "");
    }
    if (key) {
        script_sp_event(s, TR__SP_SENT, 0, NULL, code, code ? "nobody takes it" : "");
        s->events[(s->event_end - 1) % SCRIPT_SP_QUEUED].event.key = key;
    }
}

/* ---- the seam ------------------------------------------------------------------------------------------ */

static tr__sp *sp_open(tr__loop *loop, tr_addr owner, const tr__sp_opts *opts, tr_error *error)
{
    script_sp *s = tr__loop_kinds(loop)->context;
    if (s->open_error) {
        tr__fail(error, s->open_error, "no socket");
        return NULL;
    }
    s->open = true;
    s->loop = loop;
    s->owner = owner;
    s->opts = *opts;
    return (tr__sp *)s;
}

static tr_err sp_listen(tr__sp *sp, const char *url, char *bound, tr_error *error)
{
    note(the(sp), "listen:%s", url);
    snprintf(bound, TR__SP_URL_MAX, "%s", url);
    return the(sp)->listen_error ? tr__fail(error, the(sp)->listen_error, "cannot listen on %.60s", url)
                                 : TR_OK;
}

static tr_err sp_dial(tr__sp *sp, uint32_t index, const char *url, tr_error *error)
{
    (void)url;
    note(the(sp), "dial:%u", index);
    return the(sp)->dial_error ? tr__fail(error, the(sp)->dial_error, "no thread") : TR_OK;
}

static tr_err sp_send(tr__sp *sp, uint64_t key, tr_bytes data, uint64_t timeout_ns)
{
    script_sp *s = the(sp);
    (void)timeout_ns;
    if (s->counts.unsent >= s->opts.send_ahead) {
        s->want_room = true;
        return TR_EFULL;
    }
    note(s, "send:%.*s", (int)data.size, (const char *)data.data);
    s->keys[s->key_end++ % SCRIPT_SP_QUEUED] = key;
    s->counts.unsent++;
    return TR_OK;
}

static tr_err sp_request(tr__sp *sp, uint32_t index, tr_bytes data, uint64_t timeout_ns)
{
    if (the(sp)->request_error)
        return the(sp)->request_error;
    if (timeout_ns == TR_FOREVER)
        note(the(sp), "request:%u:%.*s", index, (int)data.size, (const char *)data.data);
    else
        note(the(sp), "request:%u:%.*s:%u", index, (int)data.size, (const char *)data.data,
             (unsigned)(timeout_ns / 1000000));
    return TR_OK;
}

static void sp_abandon(tr__sp *sp, uint32_t index)
{
    note(the(sp), "abandon:%u", index);
}

static tr_err sp_reply(tr__sp *sp, uint32_t index, const tr_bytes *data)
{
    if (data)
        note(the(sp), "reply:%u:%.*s", index, (int)data->size, (const char *)data->data);
    else
        note(the(sp), "reply:%u:none", index);
    return TR_OK;
}

static bool sp_event(tr__sp *sp, tr__sp_event *event)
{
    script_sp *s = the(sp);
    free(s->last);
    s->last = NULL;
    if (s->event_first == s->event_end) {
        s->woken = false;
        return false;
    }
    script_sp_item *item = &s->events[s->event_first++ % SCRIPT_SP_QUEUED];
    s->last = item->bytes;
    *event = item->event;
    return true;
}

static bool sp_take(tr__sp *sp, tr__sp_incoming *incoming)
{
    script_sp *s = the(sp);
    script_sp_item *item = &s->incoming[s->incoming_first % SCRIPT_SP_QUEUED];
    if (s->incoming_first == s->incoming_end)
        return false;
    *incoming = (tr__sp_incoming){item->event.index, item->event.data};
    return true;
}

static void sp_done(tr__sp *sp)
{
    script_sp *s = the(sp);
    free(s->incoming[s->incoming_first++ % SCRIPT_SP_QUEUED].bytes);
}

static tr__sp_counts sp_counts(tr__sp *sp, bool reset)
{
    script_sp *s = the(sp);
    tr__sp_counts now = s->counts;
    now.waiting = s->incoming_end - s->incoming_first;
    if (reset)
        s->counts.sent = s->counts.send_failed = s->counts.received = 0;
    return now;
}

static void drop_queued(script_sp *s)
{
    while (s->event_first != s->event_end)
        free(s->events[s->event_first++ % SCRIPT_SP_QUEUED].bytes);
    while (s->incoming_first != s->incoming_end)
        free(s->incoming[s->incoming_first++ % SCRIPT_SP_QUEUED].bytes);
    free(s->last);
    s->last = NULL;
}

static void sp_close(tr__sp *sp)
{
    note(the(sp), "close");
    the(sp)->open = false;
    drop_queued(the(sp));
}

const tr__sp_seam *script_sp_seam(void)
{
    static const tr__sp_seam seam = {sp_open,  sp_listen, sp_dial, sp_send, sp_request, sp_abandon,
                                     sp_reply, sp_event,  sp_take, sp_done, sp_counts,  sp_close};
    return &seam;
}

void script_sp_init(script_sp *s)
{
    memset(s, 0, sizeof(*s));
}

void script_sp_fini(script_sp *s)
{
    drop_queued(s);
}
