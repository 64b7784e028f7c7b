/* The world outside of the nodes: what a test puts there, and how it fails. The twins do the rest (sim_kinds.h). */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "tests/kit/sim/sim.h"
#include "tests/kit/sim/sim_kinds.h"

/* What was put there, with what a twin hands back; gone with the simulation. */
typedef struct sim_thing {
    struct sim_thing *next;
    tr_sim_command_fn *command;
    tr_sim_server_fn *server;
    void *context;
} sim_thing;

static sim_thing *thing(tr_sim *sim, void *context)
{
    sim_thing *t = calloc(1, sizeof(*t));
    tr__check(t != NULL, "no memory for the simulator");
    t->context = context;
    t->next = sim->things;
    return sim->things = t;
}

/* Something is written to `out` in between; then it is added to `into`. */
static FILE *open_text(char **text, size_t *size)
{
    FILE *out = open_memstream(text, size);
    tr__check(out != NULL, "no memory for the simulator");
    return out;
}

static void run_command(void *context, sim_command *command)
{
    sim_thing *t = context;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_text(&text, &size);
    command->status = t->command(t->context, command->argv, command->input, out);
    fclose(out);
    sim_print(command, 1, text, size);
    free(text);
}

void tr_sim_command(tr_sim *sim, const char *name, tr_sim_command_fn *command, void *context)
{
    sim_thing *t = thing(sim, context);
    t->command = command;
    sim_process_add(sim->kinds->process, name, run_command, t);
}

void tr_sim_origin(tr_sim *sim, const char *prefix, uint64_t size)
{
    sim_http_serve(sim->kinds->http, prefix, size);
}

static size_t serve(void *context, const void *data, size_t size, sim_reply *reply)
{
    sim_thing *t = context;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_text(&text, &length);
    size_t used = t->server(t->context, data, size, out);
    fclose(out);
    sim_bytes_add(&reply->bytes, text, length);
    free(text);
    return used;
}

void tr_sim_server(tr_sim *sim, const char *host, uint16_t port, tr_sim_server_fn *server, void *context)
{
    sim_thing *t = thing(sim, context);
    t->server = server;
    sim_tcp_listen(sim->kinds->tcp, host, port, serve, t);
}

/* ---- how it fails -------------------------------------------------------------------------------------- */

void sim_world_fails(tr_sim *sim, uint32_t per_million)
{
    sim_fault *fault;
    for (unsigned i = 0; (fault = sim_kinds_fault(sim->kinds, i)); i++)
        fault->rate = per_million;
}

uint64_t sim_world_failures(const tr_sim *sim)
{
    uint64_t count = 0;
    sim_fault *fault;
    for (unsigned i = 0; (fault = sim_kinds_fault(sim->kinds, i)); i++)
        count += fault->struck;
    return count;
}

void sim_world_init(tr_sim *sim, tr__random *seeds)
{
    sim->kinds = sim_kinds_create(sim, sim->node_count, seeds);
}

void sim_world_fini(tr_sim *sim)
{
    sim_kinds_destroy(sim->kinds);
    while (sim->things) {
        sim_thing *t = sim->things;
        sim->things = t->next;
        free(t);
    }
}
