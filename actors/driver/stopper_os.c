/* See stopper_os.h. The thread of signals_os.h calls, and the lock keeps the node while it does. */
#include "actors/driver/stopper_os.h"

#include <stddef.h>

static void on_signal(void *context, int number)
{
    tr__stopper *stopper = context;
    pthread_mutex_lock(&stopper->lock);
    bool again = atomic_exchange(&stopper->number, number) != 0;
    if (stopper->node && again) /* who signals twice doesn't want to wait */
        tr_node_stop_now(stopper->node);
    else if (stopper->node)
        tr_node_stop(stopper->node);
    pthread_mutex_unlock(&stopper->lock);
}

tr_err tr__stopper_open(tr__stopper *stopper, const int *numbers, tr_error *error)
{
    stopper->node = NULL;
    atomic_init(&stopper->number, 0);
    pthread_mutex_init(&stopper->lock, NULL);
    tr_err err = tr__signals_watch_open(&stopper->watch, numbers, on_signal, stopper, error);
    if (err != TR_OK)
        pthread_mutex_destroy(&stopper->lock);
    return err;
}

void tr__stopper_node(tr__stopper *stopper, tr_node *node)
{
    pthread_mutex_lock(&stopper->lock);
    stopper->node = node;
    if (node && atomic_load(&stopper->number))
        tr_node_stop(node);
    pthread_mutex_unlock(&stopper->lock);
}

int tr__stopper_number(const tr__stopper *stopper)
{
    return atomic_load(&stopper->number);
}

void tr__stopper_close(tr__stopper *stopper)
{
    tr__signals_watch_close(&stopper->watch);
    pthread_mutex_destroy(&stopper->lock);
}

void tr__stopper_end(tr__stopper *stopper)
{
    tr__signals_watch_end(&stopper->watch);
    pthread_mutex_destroy(&stopper->lock);
}
