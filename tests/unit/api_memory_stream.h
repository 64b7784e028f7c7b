/* A streamed ask of a note, for test_api_memory: who answers it, and who takes its items. Included behind the note. */
#ifndef TR_TESTS_API_MEMORY_STREAM_H
#define TR_TESTS_API_MEMORY_STREAM_H

static struct {
    tr_msg *ask; /* that it streams to */
    uint64_t sent;
} streaming;

/* What there is demand for, and the answer; no memory for an item ends it. */
static void stream_on(tr_actor *self)
{
    const note *n = tr_match(streaming.ask, note);
    tr_err err = TR_OK;
    while (streaming.sent < n->n && err == TR_OK)
        if ((err = tr_reply_item(self, streaming.ask, note, .n = streaming.sent, .text = "an item")) == TR_OK)
            streaming.sent++;
    if (err == TR_EAGAIN) {
        assert_int_equal(tr_msg_demand(self, streaming.ask), 0);
        return;
    }
    if (err == TR_OK)
        tr_reply(self, streaming.ask, mark, .n = streaming.sent);
    tr_msg_free(self, &streaming.ask);
}

static bool take_item(tr_actor *self, void *state, const tr_msg *item, void *context)
{
    (void)state;
    (void)context;
    tr_msg *kept = tr_msg_take(self, item); /* so that the grant needs a block */
    tr_msg_free(self, &kept);
    return true;
}

#endif
