/* The table that plugins are given: every function of the API. */
#ifndef TR_ACTORS_PLUGIN_HOST_H
#define TR_ACTORS_PLUGIN_HOST_H

#include <troupe/plugin.h>

extern const tr_host tr__host_table;

#endif
