/* How full the frame is that a simulated node gathers for a peer, so that a test can have what goes next need another. */
#ifndef TR_TESTS_KIT_SIM_OPEN_FRAME_H
#define TR_TESTS_KIT_SIM_OPEN_FRAME_H

#include "actors/remote/peer.h"
#include "transport/link.h"

/* Bytes that fit in it; 0: none is open, or no such peer is there. */
static inline size_t sim_left_in_frame(const tr_node *node, uint64_t peer)
{
    for (uint32_t i = 0; i < node->remote->route_count; i++) {
        const tr__remote_peer *p = node->remote->routes[i].peer;
        const tr__batch *open = p && p->peer->id == peer ? tr__link_of_peer(p->peer)->channel.out.open : NULL;
        if (open)
            return open->capacity - open->length;
    }
    return 0;
}

/* How long a string is to be so that its message fills the frame up to `keep` bytes, or a part of it: what is larger than
 * 20,000 bytes could go by the bulk lane. */
static inline size_t sim_filling(const tr_node *node, uint64_t peer, size_t keep)
{
    size_t left = sim_left_in_frame(node, peer);
    return left > 24000 || left <= keep ? 20000 : left - keep;
}

/* Whether it has done so. */
static inline bool sim_is_filled(const tr_node *node, uint64_t peer, size_t keep)
{
    size_t left = sim_left_in_frame(node, peer);
    return left > 0 && left < keep + 64;
}

#endif
