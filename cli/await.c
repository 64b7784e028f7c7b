/* See await.h. */
#include "cli/await.h"

#include <troupe/troupe.h>

tr_err cli_await_actor(tr_actor *self, const tr_actor_def *def, const void *arg)
{
    uint64_t monitor;
    tr_addr to = tr_spawn_with(self, def, arg, &(tr_spawn_opts){.monitor = &monitor});
    if (tr_addr_is_none(to))
        return tr_last_error(self)->code;
    for (const tr_msg *msg; (msg = tr_receive(self, TR_FOREVER));) {
        const tr_down *down = tr_match(msg, tr_down);
        if (down)
            return down->kind == TR_EXIT_NORMAL ? TR_OK : tr_fail(self, (tr_err)down->code, "%s", down->text);
    }
    return TR_OK;
}
