/* The failure detector alone: what it takes for a silence, what it forgives, and how far it can be led astray. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "transport/detector.h"

#define MS      1000000ull
#define SECONDS (1000 * MS)

typedef struct fixture {
    tr__detector_config config;
    tr__detector detector;
    uint64_t now_ns;
} fixture;

static int setup(void **state)
{
    static fixture f;
    f = (fixture){.now_ns = 100 * SECONDS};
    tr__detector_config_defaults(&f.config);
    tr__detector_init(&f.detector, &f.config, f.now_ns);
    *state = &f;
    return 0;
}

static void hear_after(fixture *f, uint64_t pause_ns)
{
    f->now_ns += pause_ns;
    tr__detector_heard(&f->detector, f->now_ns);
}

/* From the last sign of life on. */
static uint64_t patience(const fixture *f)
{
    return tr__detector_due(&f->detector) - f->now_ns;
}

static void hear_often(fixture *f, unsigned times, uint64_t pause_ns)
{
    for (unsigned i = 0; i < times; i++)
        hear_after(f, pause_ns);
}

static void a_peer_of_which_nothing_is_known_has_its_time(void **state)
{
    fixture *f = *state;
    assert_in_range(patience(f), 4000 * MS, 4100 * MS); /* 3 s forgiven, a heartbeat, 5.6 times 100 ms */
}

static void an_irregular_peer_is_given_longer_than_a_regular_one(void **state)
{
    fixture *f = *state;
    hear_often(f, 100, 500 * MS);
    uint64_t regular = patience(f);
    for (int i = 0; i < 50; i++) {
        hear_after(f, 300 * MS);
        hear_after(f, 700 * MS);
    }
    assert_true(patience(f) > regular + 400 * MS);
    assert_true(patience(f) < 5 * SECONDS);
}

static void a_peer_that_speaks_rarely_is_given_longer_up_to_the_bound(void **state)
{
    fixture *f = *state;
    hear_often(f, 100, 1000 * MS);
    assert_in_range(patience(f), 4500 * MS, 4600 * MS);
    hear_often(f, 100, 4000 * MS);
    assert_int_equal(patience(f), 5 * SECONDS);
}

static void whatever_it_heard_the_silence_is_bounded(void **state)
{
    fixture *f = *state;
    tr__random random;
    tr__random_init(&random, 7);
    for (int i = 0; i < 100000; i++) {
        uint64_t most = 1ull << tr__random_below(&random, 42);
        hear_after(f, tr__random_below(&random, most + 1));
        assert_in_range(patience(f), 3 * SECONDS, 5 * SECONDS);
    }
}

static void what_was_learned_is_forgotten_when_the_peer_is_regular_again(void **state)
{
    fixture *f = *state;
    hear_often(f, 200, 500 * MS);
    uint64_t before = patience(f);
    hear_often(f, 10, 3000 * MS);
    assert_true(patience(f) > before);
    hear_often(f, TR__DETECTOR_WINDOW, 500 * MS);
    assert_int_equal(patience(f), before);
}

static void a_burst_of_traffic_teaches_nothing_of_the_rhythm(void **state)
{
    fixture *f = *state;
    hear_often(f, 100, 1000 * MS);
    uint64_t before = patience(f);
    hear_often(f, 100000, 5000);
    assert_int_equal(patience(f), before);
}

static void what_we_lagged_is_not_its_silence(void **state)
{
    fixture *f = *state;
    uint64_t due = tr__detector_due(&f->detector);
    tr__detector_lagged(&f->detector, 2 * SECONDS, f->now_ns + 3 * SECONDS);
    assert_int_equal(tr__detector_due(&f->detector), due + 2 * SECONDS);
    assert_int_equal(tr__detector_silence(&f->detector, f->now_ns + 3 * SECONDS), 1 * SECONDS);
    /* more than there was to lag: as if heard now */
    tr__detector_lagged(&f->detector, 60 * SECONDS, f->now_ns + 4 * SECONDS);
    assert_int_equal(tr__detector_silence(&f->detector, f->now_ns + 4 * SECONDS), 0);
}

static void a_sign_of_life_that_is_older_than_the_last_changes_nothing(void **state)
{
    fixture *f = *state;
    hear_often(f, 3, 500 * MS);
    uint64_t due = tr__detector_due(&f->detector);
    tr__detector_heard(&f->detector, f->now_ns - 100 * MS);
    assert_int_equal(tr__detector_due(&f->detector), due);
}

static void a_higher_phi_waits_longer(void **state)
{
    fixture *f = *state;
    uint64_t before = 0;
    for (f->config.phi = 1; f->config.phi <= 16; f->config.phi++) {
        tr__detector_init(&f->detector, &f->config, f->now_ns);
        assert_true(patience(f) > before);
        before = patience(f);
    }
}

static void settings_that_make_no_sense_are_named(void **state)
{
    (void)state;
    static const struct {
        tr__detector_config config;
        const char *names; /* NULL: it is fine */
    } rows[] = {
        {{500 * MS, 5 * SECONDS, 8}, NULL},
        {{10 * MS, 40 * MS, 1}, NULL},
        {{60 * SECONDS, 3600 * SECONDS, 16}, NULL},
        {{9 * MS, 5 * SECONDS, 8}, "--heartbeat 9"},
        {{61 * SECONDS, 3600 * SECONDS, 8}, "--heartbeat 61000"},
        {{500 * MS, 1999 * MS, 8}, "--silence 1.999"},
        {{500 * MS, 3601 * SECONDS, 8}, "--silence 3601"},
        {{500 * MS, 5 * SECONDS, 0}, "--phi 0"},
        {{500 * MS, 5 * SECONDS, 17}, "--phi 17"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        tr_error error = {0};
        tr_err err = tr__detector_config_check(&rows[i].config, &error);
        assert_int_equal(err, rows[i].names ? TR_EINVAL : TR_OK);
        if (rows[i].names)
            assert_non_null(strstr(error.text, rows[i].names));
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup(name, setup)
    const struct CMUnitTest tests[] = {
        CASE(a_peer_of_which_nothing_is_known_has_its_time),
        CASE(an_irregular_peer_is_given_longer_than_a_regular_one),
        CASE(a_peer_that_speaks_rarely_is_given_longer_up_to_the_bound),
        CASE(whatever_it_heard_the_silence_is_bounded),
        CASE(what_was_learned_is_forgotten_when_the_peer_is_regular_again),
        CASE(a_burst_of_traffic_teaches_nothing_of_the_rhythm),
        CASE(what_we_lagged_is_not_its_silence),
        CASE(a_sign_of_life_that_is_older_than_the_last_changes_nothing),
        CASE(a_higher_phi_waits_longer),
        CASE(settings_that_make_no_sense_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
