/* What the counter understands and answers: for the plugin, and for who talks to it. */
#ifndef TROUPE_EXAMPLES_COUNTER_H
#define TROUPE_EXAMPLES_COUNTER_H

#include <troupe/troupe.h>

TR_MESSAGE(counter_add, (i64, amount)) /* asked, it answers counter_total */
TR_MESSAGE(counter_total, (i64, value))

#endif
