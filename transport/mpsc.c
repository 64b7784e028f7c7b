/* See mpsc.h. Any thread pushes, one thread takes; nothing here fails or waits. */
#include "transport/mpsc.h"

bool tr__mpsc_push(tr__mpsc *inbox, tr__mpsc_node *node)
{
    tr__mpsc_node *top = atomic_load_explicit(&inbox->top, memory_order_relaxed);
    do {
        node->next = top;
        /* Release: pairs with the acquire in take, which hands over what the node carries. The whole chain is
         * handed over, since a later exchange by another pusher continues the release sequence. */
    } while (!atomic_compare_exchange_weak_explicit(&inbox->top, &top, node, memory_order_release,
                                                    memory_order_relaxed));
    return top == NULL;
}

tr__mpsc_node *tr__mpsc_take(tr__mpsc *inbox)
{
    if (!atomic_load_explicit(&inbox->top, memory_order_relaxed))
        return NULL;
    tr__mpsc_node *node = atomic_exchange_explicit(&inbox->top, NULL, memory_order_acquire);
    tr__mpsc_node *oldest = NULL;
    while (node) {
        tr__mpsc_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}

bool tr__mpsc_is_empty(const tr__mpsc *inbox)
{
    return atomic_load_explicit(&inbox->top, memory_order_relaxed) == NULL;
}
