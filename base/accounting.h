/* What is written down for those who look on: counts, and what runs now. Always on. One build leaves it out, only to
 * measure what it costs (TR_NO_ACCOUNTING, tests/bench/accounting.py); its sums mean nothing, and no test runs with it. */
#ifndef TR_BASE_ACCOUNTING_H
#define TR_BASE_ACCOUNTING_H

#include <stdatomic.h>

#ifdef TR_NO_ACCOUNTING
#define TR__ACCOUNTING             0
#define TR__COUNT(counter)         ((void)0)
#define TR__UNCOUNT(counter)       ((void)0)
#define TR__SHOW(atomic_to, value) ((void)&(atomic_to), (void)(value))
#else
#define TR__ACCOUNTING             1
#define TR__COUNT(counter)         ((void)(counter)++)
#define TR__UNCOUNT(counter)       ((void)(counter)--) /* it was counted, and wasn't it yet */
/* For a reader on another thread, who needs each value whole but not in order with others. */
#define TR__SHOW(atomic_to, value) atomic_store_explicit(&(atomic_to), value, memory_order_relaxed)
#endif

#endif
