/* A program that talks to the counter plugin: in its own node (--plugin FILE.so), or in another (--join, and
 * that node's name as argument). */
#include <inttypes.h>
#include <stdio.h>

#include "counter.h"

static tr_err start(tr_actor *self, void *arg)
{
    char **args = arg;
    const tr_found *found;
    const counter_total *total;
    const char *path = args[0] ? tr_fmt(self, "%s/counter", args[0]) : "counter";
    TR_TRY(tr_await(self, tr_lookup(self, path, TR_SECONDS(5)), tr_found, &found));
    tr_addr counter = found->actor;
    TR_TRY(tr_send(self, counter, counter_add, .amount = 40));
    TR_TRY(tr_await(self, tr_ask(self, counter, TR_SECONDS(5), counter_add, .amount = 2), counter_total,
                    &total));
    printf("40 and 2 make %" PRId64 "\n", total->value);
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
