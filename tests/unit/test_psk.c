/* The keys of a connection and the seal of its frames: fixed values made by another implementation, and what
 * an attacker on the way can do to frames. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transport/psk.h"

/* Fixture: both ends of one connection ---- */

typedef struct fixture {
    tr__psk psk;
    tr__psk_pair dialler, acceptor;
    tr__seal out, in;             /* of who dialled */
    tr__seal their_out, their_in; /* of who accepted */
} fixture;

/* A secret of counting bytes; each draw goes on where the last ended. */
static void count_up(void *context, void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        ((uint8_t *)bytes)[i] = (*(uint8_t *)context)++;
}

static int setup(void **state)
{
    static fixture f;
    static uint8_t next;
    uint8_t open[2][TR__KEY_SIZE];
    tr__seals seals[TR__KEYS_MAX];
    f = (fixture){.psk = {.keys.count = 1, .secret = count_up, .context = &next}};
    next = 0;
    count_up(&next, f.psk.keys.key[0],
             TR__KEY_SIZE); /* 0 to 31; the pairs' secrets are the numbers after them */
    tr__psk_pair_make(&f.psk, &f.dialler);
    tr__psk_pair_make(&f.psk, &f.acceptor);
    memcpy(open[0], f.dialler.open, TR__KEY_SIZE);
    memcpy(open[1], f.acceptor.open, TR__KEY_SIZE);
    assert_int_equal(tr__psk_derive(&f.psk, &f.dialler, open[1], true, seals, NULL), TR_OK);
    f.out = seals[0].out;
    f.in = seals[0].in;
    assert_int_equal(tr__psk_derive(&f.psk, &f.acceptor, open[0], false, seals, NULL), TR_OK);
    f.their_out = seals[0].out;
    f.their_in = seals[0].in;
    *state = &f;
    return 0;
}

/* Helpers ---- */

static void assert_hex(const uint8_t *bytes, size_t length, const char *hex)
{
    assert_int_equal(strlen(hex), 2 * length);
    for (size_t i = 0; i < length; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], 0};
        assert_int_equal(bytes[i], strtoul(digits, NULL, 16));
    }
}

/* A sealed batch of `length` body bytes; returns its size. */
static size_t make(fixture *f, uint8_t *bytes, size_t length, uint64_t sequence)
{
    memset(bytes + TR__FRAME_HEADER, 'x', length);
    tr__frame_put_header(bytes, TR__FRAME_BATCH, (uint32_t)length, sequence);
    return tr__seal_close(&f->out, bytes);
}

/* As the other side does: the header, all of the frame, then the seal. */
static bool opens(tr__seal *seal, uint8_t *bytes, size_t size)
{
    tr__frame frame;
    return tr__frame_header(bytes, TR__FRAME_SIZE_MAX, &frame, NULL) == TR_OK && frame.sealed &&
           frame.size <= size && tr__seal_open(seal, bytes, &frame);
}

/* Tests ---- */

static void the_keys_are_those_of_another_implementation(void **state)
{
    fixture *f = *state;
    assert_hex(f->dialler.open, 32, "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254");
    assert_hex(f->acceptor.open, 32, "79a631eede1bf9c98f12032cdeadd0e7a079398fc786b88cc846ec89af85a51a");
    assert_hex(f->out.key, 32, "c7244b31f49b14df8fe43550996b590c1349066191a82f02e9bb9f994df82215");
    assert_hex(f->in.key, 32, "7827494cd1f2116541212f338ea56da2c4c7782cc9eadcc2e7488401113616f0");
}

static void both_sides_have_the_same_keys_and_each_direction_its_own(void **state)
{
    fixture *f = *state;
    assert_memory_equal(f->out.key, f->their_in.key, TR__KEY_SIZE);
    assert_memory_equal(f->in.key, f->their_out.key, TR__KEY_SIZE);
    assert_memory_not_equal(f->out.key, f->in.key, TR__KEY_SIZE);
}

static void a_sealed_frame_is_that_of_another_implementation(void **state)
{
    fixture *f = *state;
    uint8_t bytes[100];
    make(f, bytes, 5, 1);
    tr__frame_put_grant(bytes, 2, 0x0102030405060708);
    assert_hex(bytes, tr__seal_close(&f->out, bytes),
               "545250450106000118000000000000000200000000000000"
               "d76cdee09845bce5c67ef2a1caf6afb317a8f62daebf880d");
}

static void the_secret_of_a_pair_is_wiped_when_the_keys_are_there(void **state)
{
    fixture *f = *state;
    static const uint8_t zeros[TR__KEY_SIZE];
    assert_memory_equal(f->dialler.secret, zeros, TR__KEY_SIZE);
    assert_memory_equal(f->acceptor.secret, zeros, TR__KEY_SIZE);
}

static void another_key_or_another_public_key_gives_other_keys(void **state)
{
    fixture *f = *state;
    tr__psk other = f->psk;
    tr__psk_pair pair;
    tr__seals seals[TR__KEYS_MAX];
    other.keys.key[0][31] ^= 1;
    for (int i = 0; i < 2; i++) {
        *(uint8_t *)f->psk.context = 32; /* the same secret as the dialler had, the second time another */
        if (i)
            *(uint8_t *)f->psk.context = 33;
        tr__psk_pair_make(&f->psk, &pair);
        assert_int_equal(tr__psk_derive(i ? &f->psk : &other, &pair, f->acceptor.open, true, seals, NULL),
                         TR_OK);
        assert_memory_not_equal(seals[0].out.key, f->out.key, TR__KEY_SIZE);
        assert_memory_not_equal(seals[0].in.key, f->in.key, TR__KEY_SIZE);
    }
}

static void a_public_key_that_makes_any_secret_nothing_is_refused(void **state)
{
    fixture *f = *state;
    tr__psk_pair pair;
    tr__seals seals[TR__KEYS_MAX];
    tr_error error;
    uint8_t none[TR__KEY_SIZE] = {0};
    for (uint8_t point = 0; point < 2; point++) { /* 0 and 1 have low order */
        none[0] = point;
        tr__psk_pair_make(&f->psk, &pair);
        assert_int_equal(tr__psk_derive(&f->psk, &pair, none, true, seals, &error), TR_EPROTO);
    }
}

static void frames_of_every_size_open_in_order(void **state)
{
    fixture *f = *state;
    static uint8_t bytes[70000];
    static const size_t lengths[] = {5, 6, 63, 64, 65, 1000, 65536 + 4};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        tr__frame frame;
        size_t size = make(f, bytes, lengths[i], i + 1);
        assert_int_equal(size, TR__FRAME_HEADER + lengths[i] + TR__FRAME_TAG);
        assert_true(opens(&f->their_in, bytes, size));
        assert_int_equal(tr__frame_decode(bytes, size, TR__FRAME_SIZE_MAX, &frame, NULL), TR_OK);
        assert_int_equal(frame.length, lengths[i]);
        for (size_t at = 0; at < lengths[i]; at++)
            assert_int_equal(frame.body[at], 'x');
    }
    tr__frame_put_empty(bytes, TR__FRAME_HEARTBEAT, 1); /* no body at all: its header is proven */
    assert_int_equal(tr__seal_close(&f->out, bytes), TR__FRAME_HEADER + TR__FRAME_TAG);
    assert_true(opens(&f->their_in, bytes, TR__FRAME_HEADER + TR__FRAME_TAG));
}

static void no_checksum_of_the_text_is_in_a_sealed_frame(void **state)
{
    fixture *f = *state;
    uint8_t bytes[100];
    static const uint8_t zeros[4];
    memset(bytes + TR__FRAME_HEADER, 'x', 20);
    tr__frame_finish(bytes, TR__FRAME_BATCH, 20, 1);
    assert_memory_not_equal(bytes + 12, zeros, 4);
    tr__seal_close(&f->out, bytes);
    assert_memory_equal(bytes + 12, zeros, 4);
}

static void a_frame_with_any_flipped_bit_does_not_open(void **state)
{
    fixture *f = *state;
    uint8_t bytes[200], copy[200];
    size_t size = make(f, bytes, 40, 1);
    for (size_t bit = 0; bit < 8 * size; bit++) {
        memcpy(copy, bytes, size);
        copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(opens(&f->their_in, copy, size));
    }
    assert_true(opens(&f->their_in, bytes, size)); /* nothing of that moved the count */
}

static void a_frame_cut_shorter_does_not_open(void **state)
{
    fixture *f = *state;
    uint8_t bytes[200], copy[200];
    size_t size = make(f, bytes, 40, 1);
    for (uint32_t cut = 1; cut < size - TR__FRAME_HEADER - TR__FRAME_TAG; cut++) {
        memcpy(copy, bytes, size); /* the header says so, and the right tag follows */
        copy[8] = (uint8_t)(size - TR__FRAME_HEADER - cut);
        memmove(copy + size - cut - TR__FRAME_TAG, bytes + size - TR__FRAME_TAG, TR__FRAME_TAG);
        assert_false(opens(&f->their_in, copy, size));
    }
    assert_true(opens(&f->their_in, bytes, size));
}

static void a_frame_that_is_repeated_left_out_or_moved_does_not_open(void **state)
{
    fixture *f = *state;
    uint8_t one[100], two[100], three[100], copy[100];
    size_t size = make(f, one, 20, 1);
    make(f, two, 20, 2);
    make(f, three, 20, 3);
    memcpy(copy, two, size);
    assert_false(opens(&f->their_in, copy, size)); /* moved ahead */
    memcpy(copy, one, size);
    assert_true(opens(&f->their_in, copy, size));
    memcpy(copy, one, size);
    assert_false(opens(&f->their_in, copy, size)); /* again */
    memcpy(copy, three, size);
    assert_false(opens(&f->their_in, copy, size)); /* the second left out */
    assert_true(opens(&f->their_in, two, size));
    assert_true(opens(&f->their_in, three, size));
}

static void a_frame_does_not_open_for_who_sealed_it(void **state)
{
    fixture *f = *state;
    uint8_t bytes[100];
    size_t size = make(f, bytes, 20, 1);
    assert_false(opens(&f->in, bytes, size)); /* sent back to where it came from */
}

static void a_frame_of_another_connection_does_not_open(void **state)
{
    fixture *f = *state;
    uint8_t bytes[100];
    tr__psk_pair pair;
    tr__seals seals[TR__KEYS_MAX];
    size_t size = make(f, bytes, 20, 1);
    tr__psk_pair_make(&f->psk,
                      &pair); /* the same node accepts the recorded KEY of the same dialler once more */
    assert_int_equal(tr__psk_derive(&f->psk, &pair, f->dialler.open, false, seals, NULL), TR_OK);
    assert_false(opens(&seals[0].in, bytes, size));
}

/* Each key's are those that a node has which knows that one alone; without another one its place is zeros. */
static void of_two_keys_each_gives_its_own(void **state)
{
    fixture *f = *state;
    static const tr__seals none;
    tr__psk two = f->psk;
    tr__psk_pair pair;
    tr__seals seals[TR__KEYS_MAX], first;
    two.keys.count = 2;
    memset(two.keys.key[1], 7, TR__KEY_SIZE);
    for (int i = 0; i < 2; i++) {
        *(uint8_t *)f->psk.context = 32; /* the dialler's secret once more */
        tr__psk_pair_make(&f->psk, &pair);
        assert_int_equal(tr__psk_derive(i ? &two : &f->psk, &pair, f->acceptor.open, true, seals, NULL),
                         TR_OK);
        assert_memory_equal(seals[0].out.key, f->out.key, TR__KEY_SIZE);
        assert_memory_equal(seals[0].in.key, f->in.key, TR__KEY_SIZE);
        assert_int_equal(memcmp(&seals[1], &none, sizeof none) == 0, i == 0);
    }
    tr__seals second = seals[1];
    memcpy(two.keys.key[0], two.keys.key[1], TR__KEY_SIZE);
    *(uint8_t *)f->psk.context = 32;
    tr__psk_pair_make(&f->psk, &pair);
    assert_int_equal(tr__psk_derive(&two, &pair, f->acceptor.open, true, seals, NULL), TR_OK);
    first = seals[0];
    assert_memory_equal(&first, &second, sizeof first);
}

static void to_see_whether_a_frame_fits_changes_neither_it_nor_the_count(void **state)
{
    fixture *f = *state;
    uint8_t bytes[100], copy[100];
    tr__frame frame;
    size_t size = make(f, bytes, 20, 1);
    memcpy(copy, bytes, size);
    assert_int_equal(tr__frame_header(bytes, TR__FRAME_SIZE_MAX, &frame, NULL), TR_OK);
    assert_false(tr__seal_fits(&f->in, bytes, &frame));
    assert_true(tr__seal_fits(&f->their_in, bytes, &frame));
    assert_true(tr__seal_fits(&f->their_in, bytes, &frame));
    assert_memory_equal(copy, bytes, size);
    assert_true(opens(&f->their_in, bytes, size));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(the_keys_are_those_of_another_implementation),
        CASE(both_sides_have_the_same_keys_and_each_direction_its_own),
        CASE(a_sealed_frame_is_that_of_another_implementation),
        CASE(the_secret_of_a_pair_is_wiped_when_the_keys_are_there),
        CASE(another_key_or_another_public_key_gives_other_keys),
        CASE(a_public_key_that_makes_any_secret_nothing_is_refused),
        CASE(frames_of_every_size_open_in_order),
        CASE(no_checksum_of_the_text_is_in_a_sealed_frame),
        CASE(a_frame_with_any_flipped_bit_does_not_open),
        CASE(a_frame_cut_shorter_does_not_open),
        CASE(a_frame_that_is_repeated_left_out_or_moved_does_not_open),
        CASE(a_frame_does_not_open_for_who_sealed_it),
        CASE(a_frame_of_another_connection_does_not_open),
        CASE(of_two_keys_each_gives_its_own),
        CASE(to_see_whether_a_frame_fits_changes_neither_it_nor_the_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
