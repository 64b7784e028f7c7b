/* What an operator's program sends: frames in pieces, and the requests in them, to a node's loops. */
#include "tests/unit/operator_fixture.h"

#include "mailbox/json.h"
#include "tests/fuzz/fuzz.h"

TR_MESSAGE(fuzz_greet, (string, name), (u32, times), (list, u8, more))

/* As the socket does with a frame's text. */
static void request(fixture *f, const char *text, size_t length)
{
    tr_error error = {0};
    json_t *value = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const tr__operator_row *row = value ? tr__operator_row_of(value, &error) : NULL;
    if (row && row->at_once) {
        json_decref(row->at_once(f->m->node));
    } else if (row) {
        uint32_t loop = tr__operator_loop(f->m->node, value);
        tr__check(loop < LOOPS, "loop %u of %d", loop, LOOPS);
        tr__operator_timeout(value);
        tr__operator_to(f->m->node, value);
        char *line = json_dumps(value, JSON_COMPACT);
        for (uint32_t i = row->every_loop ? 0 : loop; i < (row->every_loop ? LOOPS : loop + 1); i++)
            ask_loop(f, i, line);
        tr__free(line);
    } else {
        tr__check(!value || error.text[0], "an error without a text");
    }
    json_decref(value);
}

static void one(const uint8_t *bytes, size_t length)
{
    fuzz_bytes in = {bytes, bytes + length};
    size_t piece = fuzz_byte(&in), used, text_length;
    tr__operator_reader reader = {0};
    tr_error error = {0};
    tr_err err = TR_OK;
    void *state;
    char *text;
    tr__json_prepare();
    setup(&state);
    fixture *f = state;
    while (err == TR_OK && fuzz_more(&in)) {
        size_t left = (size_t)(in.end - in.at), take = piece && piece < left ? piece : left;
        err = tr__operator_read(&reader, in.at, take, &used, &text, &text_length, &error);
        tr__check(err != TR_OK || (used > 0 && used <= take), "%zu bytes used of %zu", used, take);
        tr__check(err == TR_OK || error.text[0], "an error without a text");
        in.at += err == TR_OK ? used : 0;
        if (text) {
            request(f, text, text_length);
            tr__free(text);
        }
    }
    tr__operator_reader_fini(&reader);
    manual_step(f->m, TR_SECONDS(11)); /* what was asked for is answered, or given up */
    teardown(&state);
}

const fuzz_target fuzz_operator = {"operator", 4u << 20, 2048, one, .slow = true};
