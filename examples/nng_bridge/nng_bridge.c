/* A service that any nng program can call: an nng socket of the protocol rep, and an actor that answers what comes. */
#include <ctype.h>
#include <stdio.h>

#include <troupe/nng_socket.h>
#include <troupe/troupe.h>

typedef struct service {
    unsigned answered;
} service;

/* Each request of the outside is an ask. */
static void receive(tr_actor *self, void *state, const tr_msg *msg)
{
    service *s = state;
    char text[128];
    const tr_nng_request *request = tr_match(msg, tr_nng_request);
    if (!request)
        return;
    int size = snprintf(text, sizeof(text), "%u: %.*s", ++s->answered, (int)request->data.size,
                        (const char *)request->data.data);
    size = size < (int)sizeof(text) ? size : (int)sizeof(text) - 1;
    for (int i = 0; i < size; i++)
        text[i] = (char)toupper((unsigned char)text[i]);
    tr_reply(self, msg, tr_nng_reply, .data = {text, (size_t)size});
}
TR_ACTOR(service_def, .receive = receive, .state_size = sizeof(service));

static tr_err start(tr_actor *self, void *arg) /* a fiber: straight-line */
{
    char **argv = arg;
    const char *url = argv[0] ? argv[0] : "tcp://127.0.0.1:0"; /* 0: a port that is free */
    const tr_nng_status *status;
    tr_nng_opts opts = {
        .protocol = "rep", .listen = {&url, 1}, .consumer = tr_spawn(self, &service_def, NULL)};
    tr_future up = tr_spawn_ask(self, &tr_nng_socket, &opts, NULL);
    const tr_found *found;
    TR_TRY(tr_await(self, up, tr_found, &found)); /* or why it can't listen there */
    TR_TRY(tr_await(self, tr_ask(self, found->actor, TR_SECONDS(1), tr_nng_query), tr_nng_status, &status));
    printf("listening on %s\n", status->listening.data[0]);
    fflush(stdout);
    while (tr_receive(self, TR_FOREVER)) /* until Ctrl-C */
        continue;
    return TR_OK;
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
