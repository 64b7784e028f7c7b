/* Article 3.1: files come down eight at a time, and are whole or not there.
 *
 *     asyncio-download DIR URL... */
#include <troupe/downloader.h>
#include <troupe/troupe.h>

#include "tests/bench/asyncio/measured.h"

#define MANY 256

static tr_err start(tr_actor *self, void *arg)
{
    char **args = arg;
    tr_future jobs[MANY];
    size_t count = 0;
    uint64_t bytes = 0;
    lag_begin(self);
    tr_addr downloader = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = 8});
    for (const char *into = tr_fmt(self, "%s/", args[0]); args[1 + count] && count < MANY; count++)
        jobs[count] = tr_ask(self, downloader, TR_MINUTES(5), tr_fetch, .url = args[1 + count], .into = into);
    tr_err err = tr_await_msg(self, tr_gather(self, jobs, count), NULL); /* all, or the first that failed */
    for (size_t i = 0; i < count && err != TR_OK; i++)
        tr_cancel(self, jobs[i]);
    TR_TRY(err);
    for (size_t i = 0; i < count; i++) {
        const tr_fetched *fetched;
        TR_TRY(tr_await(self, jobs[i], tr_fetched, &fetched));
        bytes += fetched->size;
    }
    return lag_report(self, "bytes", bytes);
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
