/* See roots.h. */
#include "actors/supervision/roots.h"

#include "actors/node.h"

void tr__root_add(tr_node *node, tr__root *root, tr_addr address)
{
    root->node = node;
    root->address = address;
    root->prev = NULL;
    tr__spin_lock(&node->names_lock);
    root->order = ++node->names_order;
    root->next = node->roots;
    if (root->next)
        root->next->prev = root;
    node->roots = root;
    tr__spin_unlock(&node->names_lock);
}

void tr__root_remove(tr__root *root)
{
    tr_node *node = root->node;
    if (!node)
        return;
    tr__spin_lock(&node->names_lock);
    if (root->prev)
        root->prev->next = root->next;
    else
        node->roots = root->next;
    if (root->next)
        root->next->prev = root->prev;
    tr__spin_unlock(&node->names_lock);
    root->node = NULL;
}
