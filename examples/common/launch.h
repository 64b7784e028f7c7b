/* The processes of a cluster: started, one of them killed, and at the end judged. See cluster.h. */
#ifndef TROUPE_EXAMPLES_LAUNCH_H
#define TROUPE_EXAMPLES_LAUNCH_H

#include "examples/common/cluster.h"

#define CLUSTER_NODE_ARGUMENTS  7 /* behind the options: as cluster.h says */
#define CLUSTER_JUDGE_ARGUMENTS 4
#define CLUSTER_NOTE_MAX        131072

/* The whole program; what it returns is its exit status. */
int launch(int argc, char **argv, const workload *w);

#endif
