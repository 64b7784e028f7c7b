/* The network of the demo's nodes: loopback, or with --netns a network namespace for each, as if they were hosts:
 *
 *     this host            trd-PID-lan                    trd-PID-alice, -bob, -carol
 *     trd-PID ---veth--- demo |
 *     10.88.x.1         alice | br0 ------------veth------------ eth0 10.88.x.2
 *                         bob |                                  ...
 *
 * The bridge has a namespace of its own, so that this host's rules for forwarding don't apply to it, and so that on
 * this host there is one interface. The main thread. Needs root and the program `ip`; failures say which is missing or
 * what `ip` said. Names carry this process's id: those of a process that is gone are removed by the next. */
#ifndef TR_CLI_DEMO_NETNS_H
#define TR_CLI_DEMO_NETNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <troupe/err.h>

typedef struct demo_net {
    bool wanted;      /* --netns */
    uint32_t network; /* 10.88.x.0, in the host's byte order; 0: none is made */
} demo_net;

#define DEMO_NET_NAME 48

/* If it is wanted: remove what dead demos left, and make this one's. On failure what was made is still to be removed
 * by demo_net_close. TR_EPERM, TR_ENOTFOUND, TR_EADDRINUSE, TR_EIO. */
tr_err demo_net_open(demo_net *net, tr_error *error);
/* Remove it, which cuts what is connected. False: something could not be removed. Nothing to do is fine. */
bool demo_net_close(demo_net *net);
/* The address, without a port, of node `index`, or of the demo's own node (DEMO_NODES). */
void demo_net_address(const demo_net *net, int index, char *out, size_t room);
/* A descriptor of that node's namespace, for setns; -1 with errno. Without --netns: that of no one, -1 and errno 0. */
int demo_net_namespace(const demo_net *net, int index);
/* Take that node's interface (its end at the bridge) down, or up again. Nothing tells the others: they have to notice. TR_EIO. */
tr_err demo_net_cut(int index, bool cut, tr_error *error);

#endif
