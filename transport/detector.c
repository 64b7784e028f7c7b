/* See detector.h. Nothing here can fail but the check of the options. */
#include "transport/detector.h"

#include "base/err.h"

#define MS          1000000ull
#define PAUSE_MAX   60000000u /* us: 64 squares of it fit into a sum */
#define FORGIVEN(c) ((c)->silence_ns / 5 * 3)

/* How many deviations above the mean a pause is exceeded once in 10^phi times (normal distribution), in 1024ths. */
static const uint32_t DEVIATIONS[] = {0,    1312, 2382, 3164, 3808, 4367, 4868, 5324, 5747,
                                      6142, 6514, 6867, 7203, 7525, 7834, 8132, 8419};

void tr__detector_config_defaults(tr__detector_config *config)
{
    *config = (tr__detector_config){.heartbeat_ns = 500 * MS, .silence_ns = 5000 * MS, .phi = 8};
}

tr_err tr__detector_config_check(const tr__detector_config *config, tr_error *error)
{
    if (config->heartbeat_ns < 10 * MS || config->heartbeat_ns > 60000 * MS)
        return tr__fail(error, TR_EINVAL, "--heartbeat %.0f: milliseconds, 10 to 60000",
                        (double)config->heartbeat_ns / 1e6);
    if (config->silence_ns < 4 * config->heartbeat_ns || config->silence_ns > 3600000 * MS)
        return tr__fail(error, TR_EINVAL,
                        "--silence %g: seconds, at least four heartbeats (%g), at most 3600",
                        (double)config->silence_ns / 1e9, (double)config->heartbeat_ns / 1e9 * 4);
    if (config->phi < 1 || config->phi > 16)
        return tr__fail(error, TR_EINVAL, "--phi %u: a number from 1 to 16", config->phi);
    return TR_OK;
}

/* The greatest number whose square is not above n. */
static uint64_t root(uint64_t n)
{
    uint64_t found = 0;
    for (uint64_t bit = 1ull << 31; bit; bit >>= 1)
        if ((found + bit) * (found + bit) <= n)
            found += bit;
    return found;
}

/* Anew, when a pause was added: F1, so what is learned may only shorten it. Until pauses are known, a heartbeat
 * is what is expected. The deviation has a floor, or a peer as regular as clockwork would be missed at once. */
static void reckon(tr__detector *d)
{
    const tr__detector_config *config = d->config;
    uint64_t mean_us = config->heartbeat_ns / 1000, deviation_us = 0, least_us = mean_us / 5;
    if (d->count) {
        mean_us = d->sum / d->count;
        deviation_us = root(d->squares / d->count - mean_us * mean_us);
    }
    if (deviation_us < least_us)
        deviation_us = least_us;
    uint64_t by_phi = FORGIVEN(config) + (mean_us + deviation_us * DEVIATIONS[config->phi] / 1024) * 1000;
    d->patience_ns = by_phi < config->silence_ns ? by_phi : config->silence_ns;
}

void tr__detector_init(tr__detector *d, const tr__detector_config *config, uint64_t now_ns)
{
    *d = (tr__detector){.config = config, .heard_ns = now_ns};
    reckon(d);
}

static void remember(tr__detector *d, uint32_t pause_us)
{
    uint32_t *place = &d->pauses_us[d->next];
    if (d->count == TR__DETECTOR_WINDOW) {
        d->sum -= *place;
        d->squares -= (uint64_t)*place * *place;
    } else {
        d->count++;
    }
    *place = pause_us;
    d->sum += pause_us;
    d->squares += (uint64_t)pause_us * pause_us;
    d->next = (d->next + 1) % TR__DETECTOR_WINDOW;
}

/* Pauses much shorter than those between two looks are the rhythm of traffic, not of the peer's heart: a burst of
 * them would push out what is known of it. */
void tr__detector_heard(tr__detector *d, uint64_t at_ns)
{
    if (at_ns <= d->heard_ns)
        return;
    uint64_t pause_us = (at_ns - d->heard_ns) / 1000;
    d->heard_ns = at_ns;
    if (pause_us * 1000 < d->config->heartbeat_ns / 4)
        return;
    remember(d, pause_us < PAUSE_MAX ? (uint32_t)pause_us : PAUSE_MAX);
    reckon(d);
}

void tr__detector_lagged(tr__detector *d, uint64_t by_ns, uint64_t now_ns)
{
    uint64_t silent = tr__detector_silence(d, now_ns);
    d->heard_ns += by_ns < silent ? by_ns : silent;
}

uint64_t tr__detector_due(const tr__detector *d)
{
    return d->heard_ns + d->patience_ns;
}

uint64_t tr__detector_silence(const tr__detector *d, uint64_t now_ns)
{
    return now_ns > d->heard_ns ? now_ns - d->heard_ns : 0;
}
