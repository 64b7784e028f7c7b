/* The participants of a transaction, as its caller counts them: who they are, which of them decides, and the ticket that
 * says so. The owner's thread. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "mailbox/utf8.h"

/* Its place among the parties, taken if need be; UINT32_MAX: no such path, or too many. */
uint32_t tr__tx_party_of(tr__tx *tx, tr__tx_caller *caller, const char *path)
{
    char node[TR_NAME_MAX];
    const char *slash = strchr(path, '/'), *actor = slash ? slash + 1 : path;
    size_t length = slash ? (size_t)(slash - path) : strlen(tx->node);
    if (length < 1 || length >= sizeof(node) || !actor[0] || strlen(actor) >= TR_NAME_MAX ||
        strchr(actor, '/') || tr__utf8_valid(actor, strlen(actor)) < strlen(actor))
        return UINT32_MAX;
    memcpy(node, slash ? path : tx->node, length);
    node[length] = '\0';
    for (uint32_t i = 0; i < caller->count; i++)
        if (strcmp(caller->parties[i].node, node) == 0 && strcmp(caller->parties[i].actor, actor) == 0)
            return i;
    if (caller->count == TR_TX_PARTICIPANTS_MAX)
        return UINT32_MAX;
    tr__tx_party *party = &caller->parties[caller->count];
    memcpy(party->node, node, length + 1);
    snprintf(party->actor, sizeof(party->actor), "%s", actor);
    return caller->count++;
}

/* The first, in the order of the calls, that was written; fixed once a ticket has named it. UINT32_MAX: none. That it was
 * called by what may write doesn't count: where nothing was written there is nothing to force, and who decides forces. */
uint32_t tr__tx_coordinator_of(const tr__tx_caller *caller)
{
    for (uint32_t i = caller->ticketed ? caller->coordinator : 0; i < caller->count; i++)
        if (caller->wrote[i])
            return i;
    return UINT32_MAX;
}

void tr__tx_ticket_of(const tr__tx_caller *caller, char *out)
{
    uint32_t i = tr__tx_coordinator_of(caller);
    out[0] = '\0';
    if (i != UINT32_MAX)
        tr__tx_ticket_format(&caller->begin.id, caller->parties[i].node, caller->logs[i], out);
}
