/* Claims: names that one actor has in the whole cluster (tr_claim_name), and behind a '/', where no name of an actor can be,
 * those that one actor a node has together with others: the topics of a cluster (kinds/topic.c). The warden's part: its
 * thread, its messages. Each node knows its own claims and those of the nodes that it is connected with, which tell each
 * other; nothing is passed on.
 *
 * C1  A name's holder, as a node knows it, is of all claims that it knows of that name the one of the lowest node id. So two
 *     nodes that know the same claims know the same holder, whoever told them and in whatever order.
 * C2  A claim of this node is over when its actor has ended, has released it, or one of a lower node id is known. Then both
 *     actors hear a tr_name_conflict: the one that lost it always, the other one unless the connection ends first.
 * C3  Each peer is told of each change once and in order, one message at a time; what it hasn't taken is kept in the claim
 *     itself, of which a node has TR__CLAIMS_MAX, those that are over and not told of yet among them.
 * C4  Of a peer TR__CLAIMS_MAX claims are known; what is beyond, what is no claim of its own, and all of one that takes
 *     none, is refused and counted. That ends no connection.
 * C5  What a peer claimed is forgotten when its connection ends. */
#ifndef TR_ACTORS_NAMES_CLAIMS_H
#define TR_ACTORS_NAMES_CLAIMS_H

#include "actors/names/warden.h"
#include "base/hash_table.h"

#define TR__CLAIMS_MAX      1024              /* of a node */
#define TR__CLAIM_WAITS_MAX 4096              /* who waits for a name to change hands */
#define TR__CLAIM_NAME_MAX  (TR_NAME_MAX + 1) /* bytes, with the '/' and the NUL */

/* Asked by the actor that is to have it; answers tr_found, of itself. TR_EEXIST, TR_EFULL, TR_EINVAL, TR_ENOMEM. */
TR_MESSAGE(tr__claim_name, (string, name))
/* Sent by it: it is to have it no more. */
TR_MESSAGE(tr__release_name, (string, name))
/* Asked: who has it, answered when that isn't what `known` says: tr__claimed. TR_EFULL. */
TR_MESSAGE(tr__await_claim, (string, name), (u64, known))
/* `known`: for the next tr__await_claim; 0: nobody has it. `reason`: why the one before has it no more. */
TR_MESSAGE(tr__claimed, (list, addr, actors), (u64, known), (string, reason))

/* Between wardens, asked; answered tr__claims_taken. `serial` counts the changes of who tells. `kept_by`: it is over, since
 * that actor has the name. */
TR_STRUCT(tr__claim_change, (string, name), (addr, actor), (u64, serial), (bool, up), (addr, kept_by),
          (string, reason))
TR_MESSAGE(tr__claims_changed, (list, tr__claim_change, changes))
TR_MESSAGE(tr__claims_taken)

/* One of this node's. */
typedef struct tr__claim {
    char name[TR__CLAIM_NAME_MAX];
    tr_addr actor;
    uint64_t serial;   /* of its last change */
    uint64_t monitor;  /* of the actor; 0: it is to be set */
    bool over, untold; /* no claim any more; its actor is to hear of a conflict */
    tr_addr kept_by,
        kept_from; /* who that is with: over since that one has it; the other one's is over for this one */
    char reason[TR__REASON_TEXT];
    struct tr__claim *previous, *next; /* by serial */
    UT_hash_handle hh;
} tr__claim;

typedef struct tr__claims {
    tr_msg **nodes; /* the warden's: the records of nodes */
    tr__claim *own, *first, *last;
    uint64_t serial;
    tr_msg **waits; /* kept tr__await_claim */
    uint32_t wait_count, wait_room;
    bool unsettled; /* something is to be tried again */
    bool changed;   /* since the look-ups that wait were tried */
} tr__claims;

/* ---- claims.c ------------------------------------------------------------------------------------------ */

/* Whether the message was about claims: it is handled. */
bool tr__claims_take(tr_actor *self, tr__claims *claims, const tr_msg *msg);
/* Of an actor with that name; none: nobody this node knows of has it. */
tr_addr tr__claims_holder(const tr__claims *claims, const char *name);
/* A monitor has fired: whether it was of an actor that has a claim. */
bool tr__claims_down(tr_actor *self, tr__claims *claims, const tr_down *down);
bool tr__claims_canceled(tr_actor *self, tr__claims *claims, const tr_canceled *canceled);
/* What was short may be there: try it again. */
void tr__claims_retry(tr_actor *self, tr__claims *claims);
void tr__claims_fini(tr__claims *claims);

/* The claim `name` changed hands, for that reason: whoever waits hears it, and one of ours that lost it is over. */
void tr__claims_settle(tr_actor *self, tr__claims *claims, const char *name, const char *reason);
/* The live one of ours; NULL: there is none. */
tr__claim *tr__claims_own(const tr__claims *claims, const char *name);
/* Have its actor hear that of two that had the name one has it on. */
void tr__claims_conflict(tr_actor *self, tr__claims *claims, tr__claim *claim);
/* Free those that are over and all have heard so. */
void tr__claims_sweep(tr__claims *claims);
/* TR_OK: 1 to 63 bytes, without a '/', but for the one of a topic before them. */
tr_err tr__claims_check(const char *name, tr_error *error);

/* ---- claims_peers.c: what wardens tell each other ------------------------------------------------------ */

/* A node came: whether it takes such news; it is told by the next tr__claims_tell. */
void tr__claims_came(tr_actor *self, tr__node_record *record);
/* A node went. */
void tr__claims_went(tr_actor *self, tr__claims *claims, tr__node_record *record);
/* Tell all that take them of all changes that they don't know of. */
void tr__claims_tell(tr_actor *self, tr__claims *claims);
/* A tr__claims_changed. */
void tr__claims_hear(tr_actor *self, tr__claims *claims, const tr_msg *msg);
/* The actor that this peer says has the name; none: nobody. */
tr_addr tr__claims_heard(const tr__node_record *record, const char *name);
/* Forget all that it told. */
void tr__claims_forget(tr__node_record *record);

#endif
