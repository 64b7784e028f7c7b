/* See sim_kinds.h. */
#include "tests/kit/sim/sim_kinds.h"

#include <stdlib.h>

#include "base/check.h"

sim_kinds *sim_kinds_create(struct tr_sim *sim, uint32_t nodes, tr__random *random)
{
    sim_kinds *kinds = sim_alloc(sizeof(*kinds) + nodes * sizeof(kinds->hosts[0]));
    kinds->nodes = nodes;
    for (uint32_t i = 0; i < nodes; i++)
        kinds->hosts[i] = (sim_host){kinds, i};
    kinds->process = sim_process_create(sim, random);
    kinds->workers = sim_workers_create(sim, random);
    kinds->http = sim_http_create(sim, random);
    kinds->files = sim_files_create(sim, nodes, random);
    kinds->tcp = sim_tcp_create(sim, random);
    return kinds;
}

void sim_kinds_destroy(sim_kinds *kinds)
{
    sim_process_destroy(kinds->process);
    sim_workers_destroy(kinds->workers);
    sim_http_destroy(kinds->http);
    sim_files_destroy(kinds->files);
    sim_tcp_destroy(kinds->tcp);
    free(kinds);
}

tr__kind_seams sim_kinds_of(sim_kinds *kinds, uint32_t node)
{
    tr__check(node < kinds->nodes, "there is no node %u in this simulation", node);
    return (tr__kind_seams){.process = &sim_process_seam,
                            .workers = &sim_workers_seam,
                            .http = &sim_http_seam,
                            .files = &sim_files_seam,
                            .tcp = &sim_tcp_seam,
                            .context = &kinds->hosts[node]};
}

void sim_kinds_drop(sim_kinds *kinds, uint32_t node, bool power)
{
    sim_process_drop(kinds->process, node);
    sim_workers_drop(kinds->workers, node);
    sim_http_drop(kinds->http, node);
    sim_files_drop(kinds->files, node, power);
    sim_tcp_drop(kinds->tcp, node);
}

sim_fault *sim_kinds_fault(sim_kinds *kinds, unsigned index)
{
    const struct {
        sim_fault *faults;
        unsigned count;
    } all[] = {{kinds->process->faults, SIM_PROCESS_FAULTS},
               {kinds->workers->faults, SIM_WORKERS_FAULTS},
               {kinds->http->faults, SIM_HTTP_FAULTS},
               {kinds->files->faults, SIM_FILES_FAULTS},
               {kinds->tcp->faults, SIM_TCP_FAULTS}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (index < all[i].count)
            return &all[i].faults[index];
        index -= all[i].count;
    }
    return NULL;
}
