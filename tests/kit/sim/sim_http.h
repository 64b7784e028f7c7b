/* The twin of HTTP (actors/kinds/http_source.h): origins, each answering for the URLs that begin with its prefix. A
 * body is a function of URL, version and position; a range is answered as HTTP has it, If-Range by the version's ETag.
 *
 * Possible failures, as of the real one: a URL that no origin answers for (TR_EADDR, as a host that isn't there); a
 * connect that takes longer than connect_ns (TR_EDEADLINE); the faults. */
#ifndef TR_TESTS_KIT_SIM_HTTP_H
#define TR_TESTS_KIT_SIM_HTTP_H

#include "actors/kinds/http_source.h"
#include "tests/kit/sim/sim_twin.h"

enum sim_http_fault {
    SIM_HTTP_SLOW,    /* connecting and each piece take 10 to 1,000 times as long */
    SIM_HTTP_REFUSED, /* TR_EREFUSED */
    SIM_HTTP_RESET,   /* cut, at any byte: TR_ERESET */
    SIM_HTTP_LENGTH,  /* less comes than was announced: TR_ESHORT */
    SIM_HTTP_STATUS,  /* 404, 500 or 503 */
    SIM_HTTP_CHANGED, /* the origin has another version from now on */
    SIM_HTTP_SILENT,  /* after any byte nothing comes any more, nor an end */
    SIM_HTTP_FAULTS
};

typedef void (*sim_content_fn)(void *context, const char *url, uint64_t version, uint64_t at, uint8_t *into,
                               size_t size);

/* What an origin answers with. To be changed at any time; a get that is under way goes on as it began. */
typedef struct sim_resource {
    uint32_t status; /* 200, or what every get is answered with */
    uint64_t size;   /* bytes */
    uint64_t version;
    bool no_etag;           /* nothing names the version */
    sim_content_fn content; /* NULL: sim_content */
    void *context;
} sim_resource;

typedef struct sim_origin {
    struct sim_origin *next;
    char *prefix;
    sim_resource resource;
    /* What it has for that URL: changes the copy that it is given; NULL: the same for all. */
    void (*look)(void *context, const char *url, sim_resource *resource);
} sim_origin;

typedef struct sim_http {
    sim_twin twin, gets; /* sources, and their transfers */
    sim_fault faults[SIM_HTTP_FAULTS];
    sim_origin *origins;
    uint64_t asked; /* gets so far */
} sim_http;

sim_http *sim_http_create(struct tr_sim *sim, tr__random *seeds);
void sim_http_destroy(sim_http *http);
/* An origin with `size` bytes at each URL that begins so; the newest that fits answers. Lives as long as `http`. */
sim_origin *sim_http_serve(sim_http *http, const char *prefix, uint64_t size);
void sim_http_drop(sim_http *http, uint32_t node);

/* The bytes that an origin serves by itself: the same for the same URL, version and position. */
void sim_content(void *context, const char *url, uint64_t version, uint64_t at, uint8_t *into, size_t size);

extern const tr__http_seam sim_http_seam;

#endif
