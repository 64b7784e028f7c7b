/* See inbox.h. Any thread pushes, one thread takes; nothing here fails or waits. */
#include "transport/inbox.h"

bool tr__inbox_push(tr__inbox *inbox, tr__inbox_node *node)
{
    tr__inbox_node *top = atomic_load_explicit(&inbox->top, memory_order_relaxed);
    do {
        node->next = top;
        /* Release: pairs with the acquire in take, which hands over what the node carries. The whole chain is
         * handed over, since a later exchange by another pusher continues the release sequence. */
    } while (!atomic_compare_exchange_weak_explicit(&inbox->top, &top, node, memory_order_release,
                                                    memory_order_relaxed));
    return top == NULL;
}

tr__inbox_node *tr__inbox_take(tr__inbox *inbox)
{
    if (!atomic_load_explicit(&inbox->top, memory_order_relaxed))
        return NULL;
    tr__inbox_node *node = atomic_exchange_explicit(&inbox->top, NULL, memory_order_acquire);
    tr__inbox_node *oldest = NULL;
    while (node) {
        tr__inbox_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}

bool tr__inbox_is_empty(const tr__inbox *inbox)
{
    return atomic_load_explicit(&inbox->top, memory_order_relaxed) == NULL;
}
