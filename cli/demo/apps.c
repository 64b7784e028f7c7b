/* The demo's use of the app kind. The loops' threads; what fails is told by the functions called. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/demo/apps.h"

tr_addr demo_app_spawn(tr_actor *self, const demo_role_arg *role)
{
    const demo_node_args *args = role->args;
    bool bob = strcmp(args->name, "bob") == 0;
    return tr_spawn_with(
        self, &tr_app,
        &(tr_app_opts){.name = args->name, .id = args->name, .peer = bob ? "alice/app" : "bob/app"},
        &(tr_spawn_opts){.name = "app"});
}

const char *demo_item_of_result(tr_actor *self, uint32_t n, uint64_t size, const char *sha256)
{
    return tr_fmt(self, "file %" PRIu32 " size %" PRIu64 " sha256 %s", n, size, sha256);
}

bool demo_result_of_item(tr_bytes item, uint32_t *n, char sha256[65])
{
    char text[160];
    if (item.size >= sizeof(text))
        return false;
    memcpy(text, item.data, item.size);
    text[item.size] = 0;
    return sscanf(text, "file %" SCNu32 " size %*u sha256 %64[0-9a-f]", n, sha256) == 2 &&
           strlen(sha256) == 64;
}

tr_future demo_app_put(tr_actor *self, tr_addr app, const char *text)
{
    return tr_ask(self, app, DEMO_APP_TIMEOUT, tr_app_put, .data = {text, strlen(text)});
}
