/* The plugin: one actor that counts. A node that loads it runs the actor under the name "counter". */
#define TR_PLUGIN
#include "counter.h"

static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    int64_t *value = state;
    const counter_add *add = tr_match(msg, counter_add);
    if (!add)
        return;
    *value += add->amount;
    if (tr_msg_ask_number(msg))
        tr_reply(self, msg, counter_total, .value = *value);
}
TR_ACTOR(counter_def, .receive = receive, .state_size = sizeof(int64_t));

TR_PLUGIN_EXPORT("counter", "1.0.0", &counter_def);
