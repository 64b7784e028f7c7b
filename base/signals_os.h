/* Signals are for the program's own threads: those that a library or a node starts take none but their own faults. */
#ifndef TR_BASE_SIGNALS_OS_H
#define TR_BASE_SIGNALS_OS_H

#include <signal.h>

/* Block them in the calling thread, and so in all that it starts until tr__signals_restore(what this gave). */
sigset_t tr__signals_block(void);
void tr__signals_restore(sigset_t before);

#endif
