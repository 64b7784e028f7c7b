/* Article 3.2: commands that compute, as many at a time as there are cores, each with a deadline.
 *
 *     asyncio-compute COUNT COMMAND [ARGUMENT]... */
#include <string.h>

#include <troupe/compute.h>
#include <troupe/troupe.h>

#include "tests/bench/asyncio/measured.h"

#define MANY 256

static tr_err start(tr_actor *self, void *arg)
{
    char **args = arg, words[TR_ARGV_MAX], first[256] = "";
    tr_future jobs[MANY];
    size_t count = strtoul(args[0], NULL, 10);
    tr_bytes argv = tr_argv_join(words, sizeof(words), (const char *const *)args + 1);
    if (count < 1 || count > MANY)
        return tr_fail(self, TR_EINVAL, "COUNT is from 1 to %d", MANY);
    lag_begin(self);
    tr_addr compute = tr_spawn(self, &tr_compute, NULL);
    for (size_t i = 0; i < count; i++)
        jobs[i] = tr_ask(self, compute, TR_MINUTES(5), tr_run, .argv = argv);
    for (size_t i = 0; i < count; i++) { /* an error here ends the fiber, and with it all jobs */
        const tr_ran *ran;
        TR_TRY(tr_await(self, jobs[i], tr_ran, &ran));
        if (ran->exit_status != 0)
            return tr_fail(self, TR_EAPP, "exit status %d", ran->exit_status);
        if (i == 0)
            memcpy(first, ran->out.data, ran->out.size < sizeof(first) ? ran->out.size : sizeof(first) - 1);
        else if (memcmp(first, ran->out.data, strlen(first)) != 0)
            return tr_fail(self, TR_EAPP, "the same command printed different things");
    }
    return lag_report(self, "jobs", count);
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
