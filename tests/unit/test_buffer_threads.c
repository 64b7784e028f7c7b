/* Counted buffers under the real driver, for the thread sanitizer: one is shared by actors on several loops, some of which
 * keep it, and freed once, by whoever is last. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define FRAMES  300u
#define LOOKERS 6u
#define PIXELS  1000u

TR_MESSAGE(frame, (u32, n), (buffer, pixels))
TR_MESSAGE(looked)

typedef struct gallery {
    tr_addr lookers[LOOKERS], maker;
    atomic_uint freed, wrong;
} gallery;

typedef struct looker {
    gallery *g;
    uint32_t seen;
} looker;

static void free_frame(void *data, size_t size, void *context)
{
    (void)size;
    free(data);
    atomic_fetch_add(&((gallery *)context)->freed, 1);
}

static tr_err looker_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    ((looker *)state)->g = (gallery *)arg;
    return TR_OK;
}

/* Keeps some to its end, and some for a while. */
static void looker_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    looker *l = state;
    const frame *f = tr_match(msg, frame);
    if (!f)
        return;
    bool wrong = f->pixels->size != PIXELS;
    for (size_t i = 0; i < f->pixels->size; i++)
        wrong |= ((const uint8_t *)f->pixels->data)[i] != (uint8_t)f->n;
    if (f->n % 3 == 0)
        wrong |= tr_buffer_hold(self, f->pixels) != TR_OK;
    if (f->n % 6 == 0)
        wrong |= tr_buffer_release(self, f->pixels) != TR_OK;
    atomic_fetch_add(&l->g->wrong, wrong);
    if (++l->seen == FRAMES)
        tr_send(self, l->g->maker, looked);
}

TR_ACTOR(looker_def, .state_size = sizeof(looker), .init = looker_init, .receive = looker_receive);

static tr_err make_frames(tr_actor *self, void *arg)
{
    gallery *g = arg;
    g->maker = tr_self(self);
    for (uint32_t i = 0; i < LOOKERS; i++)
        g->lookers[i] = tr_spawn_with(self, &looker_def, g, &(tr_spawn_opts){.place = TR_PLACE_SPREAD});
    for (uint32_t n = 0; n < FRAMES; n++) {
        uint8_t *pixels = malloc(PIXELS);
        memset(pixels, (int)(n & 0xff), PIXELS);
        const tr_buffer *buffer = tr_buffer_adopt(self, pixels, PIXELS, free_frame, g);
        for (uint32_t i = 0; i < LOOKERS; i++)
            TR_TRY(tr_send(self, g->lookers[i], frame, .n = n, .pixels = buffer));
        TR_TRY(tr_buffer_release(self, buffer));
    }
    for (uint32_t i = 0; i < LOOKERS; i++)
        if (!tr_receive(self, TR_SECONDS(20)))
            return tr_fail(self, TR_EDEADLINE, "not all have looked");
    return TR_OK;
}

static void a_buffer_is_freed_once_whichever_thread_is_last(void **state)
{
    (void)state;
    for (uint32_t loops = 1; loops <= 3; loops++) {
        gallery g = {0};
        tr_error error = {0};
        tr_node_opts opts = {.loops = loops, .log_level = TR_LOG_ERROR, .start = make_frames, .arg = &g};
        tr_node *node = tr_node_create(&opts, &error);
        assert_non_null(node);
        if (tr_node_run(node, &error) != TR_OK)
            fail_msg("%s", error.text);
        tr_node_destroy(node);
        assert_int_equal(atomic_load(&g.wrong), 0);
        assert_int_equal(atomic_load(&g.freed), FRAMES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_is_freed_once_whichever_thread_is_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
