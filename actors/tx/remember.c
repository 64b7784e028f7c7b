/* What the nodes remember of each other's logs, so that one that isn't what it was is noticed: put back to an older copy
 * of itself, also if it has grown again since. The owner's thread.
 *
 *   a start   writes LIFE, with the node's incarnation: so a log says which of its records were written in which life; peers
 *             are told as soon as it is on the disk
 *   frames    say how far the sender's log is durable. Who hears it keeps the highest, and within about a second also in
 *             its own log (PEER)
 *   node up   HELLO goes before all other frames: the sender's log, its life, and what it remembers of the receiver's
 *             logs: of each a life and an LSN. What comes before it isn't heard
 *   lost      a peer remembers a record that our log doesn't have, in the life that wrote it. From then on, and after
 *             each start with that log (LOST), nothing new is begun or decided with it, and of what it has no record the
 *             answer is LOG_LOST: it may have been in what is missing
 *
 * R1  Who hasn't heard yet what a peer remembers of our log, or is lost, tells it nothing of it: so what a peer remembers is
 *     never replaced by less.
 *
 * How it can fail: what can't be kept, for want of memory or of room in the log, isn't noticed later; nothing else depends
 * on it. Not noticed as well: what no peer that we meet has heard of, and what was answered before we met one that has. */
#include "actors/tx/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/err.h"
#include "base/plant.h"

#define KEEP_NS      TR_SECONDS(1) /* between two records about one log */
#define MEMORIES_MAX 1024
#define TOLD_MAX     8 /* logs of one node that are remembered, and that a HELLO tells of */

/* A HELLO that says how far our log is durable, unless a frame to that node has said so, or none may. */
static void tell(tr__tx *tx, tr__tx_peer *peer)
{
    if (peer->told || !tr__tx_durable_for(tx, peer->name))
        return;
    peer->greeted = false;
    tr__tx_greet(tx, peer->name, NULL);
}

/* ---- lives: which of our records are whose ------------------------------------------------------------- */

static tr_err life_put(tr__tx *tx, uint64_t id, uint64_t lsn)
{
    if (tx->life_count == tx->life_room) {
        uint32_t room = tx->life_room ? 2 * tx->life_room : 8;
        tr__tx_life *bigger = tr__realloc(tx->lives, room * sizeof(*bigger));
        if (!bigger)
            return TR_ENOMEM;
        tx->lives = bigger;
        tx->life_room = room;
    }
    tx->lives[tx->life_count++] = (tr__tx_life){id, lsn};
    return TR_OK;
}

/* Those who listen hear of it at once: so a copy from before this life is an older one to all of them. */
static void on_life_forced(tr__tx *tx, tr__tx_force *force)
{
    tr__tx_peer *peer, *next;
    (void)force;
    HASH_ITER(hh, tx->peers, peer, next)
    {
        tell(tx, peer);
    }
}

tr_err tr__tx_life_begin(tr__tx *tx, tr_error *error)
{
    tr__tx_buffer record = {0};
    tr_err err = life_put(tx, tx->id, 0);
    if (err != TR_OK)
        return tr__fail(error, err, "no memory for another life of the log");
    tr__tx_put_number(&record, tx->id);
    tx->life_force.then = on_life_forced;
    err = tr__tx_append(tx, TR__RECORD_LIFE, true, &record, &tx->life_force, false, error);
    if (err != TR_OK)
        tx->life_count--;
    else
        tx->lives[tx->life_count - 1].lsn = tx->life_lsn = tr__log_last(tx->log);
    return err;
}

tr_err tr__tx_replay_life(tr__tx *tx, tr__tx_reader *reader)
{
    uint64_t id = tr__tx_get_number(reader);
    return tr__tx_read_all(reader) ? life_put(tx, id, tx->replay_lsn) : TR_EPROTO;
}

/* Whether the log has that record, as that life wrote it. A life's end is where the next one begins. */
static bool has(const tr__tx *tx, uint64_t life, uint64_t lsn)
{
    uint64_t end = tr__log_last(tx->log);
    for (uint32_t i = tx->life_count; i-- > 0;) {
        if (tx->lives[i].id == life)
            return lsn <= end;
        end = tx->lives[i].lsn - 1;
    }
    return false;
}

/* ---- what we remember of others ------------------------------------------------------------------------ */

/* How many logs of that node there are, and the one that goes first: as they were heard of; while they are read, which is
 * in any order, by the record that says so. */
static uint32_t count_of(const tr__tx *tx, const char *node, tr__tx_memory **oldest)
{
    uint32_t count = 0;
    *oldest = NULL;
    for (tr__tx_memory *m = tx->memories; m; m = m->hh.next) {
        if (strcmp(m->key.node, node) != 0)
            continue;
        if (!*oldest || (!tx->log && m->at < (*oldest)->at))
            *oldest = m;
        count++;
    }
    return count;
}

/* A HELLO tells of so many of a node only: the others take the room of what is told to other nodes. */
static bool make_room(tr__tx *tx, const char *node)
{
    tr__tx_memory *oldest;
    if (count_of(tx, node, &oldest) < TOLD_MAX)
        return HASH_COUNT(tx->memories) < MEMORIES_MAX;
    if (!tx->log && oldest->at > tx->replay_lsn)
        return false;
    HASH_DEL(tx->memories, oldest);
    tr__free(oldest);
    return true;
}

/* NULL: no memory, or no room. */
static tr__tx_memory *memory_of(tr__tx *tx, const char *node, const uint8_t *log)
{
    tr__memory_key key;
    tr__tx_memory *memory;
    memset(&key, 0, sizeof(key));
    snprintf(key.node, sizeof(key.node), "%s", node);
    memcpy(key.log, log, sizeof(key.log));
    HASH_FIND(hh, tx->memories, &key, sizeof(key), memory);
    if (memory)
        return memory;
    memory = make_room(tx, node) ? tr__zalloc(sizeof(*memory)) : NULL;
    if (!memory)
        return NULL;
    memory->key = key;
    HASH_ADD(hh, tx->memories, key, sizeof(key), memory);
    if (tr__hash_added(memory))
        return memory;
    tr__free(memory);
    return NULL;
}

static bool is_kept(const tr__tx_memory *memory)
{
    return memory->life == memory->kept_life && memory->lsn == memory->kept_lsn;
}

/* Of another life at once (R1: it has been found to agree with what was before), of the same one if it is more. */
static void note(tr__tx *tx, const tr__tx_peer *peer, uint64_t lsn)
{
    bool told = peer->has_log && !peer->anothers && lsn;
    tr__tx_memory *memory = told ? memory_of(tx, peer->name, peer->log) : NULL;
    if (!memory || (memory->life == peer->life && memory->lsn >= lsn))
        return;
    memory->life = peer->life;
    memory->lsn = lsn;
    tx->unkept = tx->log != NULL;
}

static void keep(tr__tx *tx, tr__tx_memory *memory, uint64_t now_ns)
{
    tr__tx_buffer record = {0};
    memory->kept_ns = now_ns;
    tr__tx_put_text(&record, memory->key.node);
    tr__tx_put_bytes(&record, memory->key.log, TR__LOG_ID_BYTES);
    tr__tx_put_number(&record, memory->life);
    tr__tx_put_number(&record, memory->lsn);
    if (tr__tx_append(tx, TR__RECORD_PEER, false, &record, NULL, false, NULL) != TR_OK)
        return;
    memory->kept_life = memory->life;
    memory->kept_lsn = memory->lsn;
}

void tr__tx_memories_tick(tr__tx *tx, uint64_t now_ns)
{
    if (!tx->unkept)
        return;
    tx->unkept = false;
    for (tr__tx_memory *memory = tx->memories; memory; memory = memory->hh.next) {
        if (!is_kept(memory) && now_ns - memory->kept_ns >= KEEP_NS)
            keep(tx, memory, now_ns);
        tx->unkept = tx->unkept || !is_kept(memory);
    }
}

tr_err tr__tx_replay_peer(tr__tx *tx, tr__tx_reader *reader)
{
    char node[TR_NAME_MAX];
    tr__tx_get_text(reader, node, sizeof(node));
    tr_bytes log = tr__tx_get_bytes(reader);
    uint64_t life = tr__tx_get_number(reader), lsn = tr__tx_get_number(reader);
    if (!tr__tx_read_all(reader) || log.size != TR__LOG_ID_BYTES)
        return TR_EPROTO;
    tr__tx_memory *oldest, *memory = memory_of(tx, node, log.data);
    if (memory) {
        memory->life = memory->kept_life = life;
        memory->lsn = memory->kept_lsn = lsn;
        memory->at = tx->replay_lsn;
    }
    bool room = HASH_COUNT(tx->memories) < MEMORIES_MAX && count_of(tx, node, &oldest) < TOLD_MAX;
    return memory || !room ? TR_OK : TR_ENOMEM;
}

static int by_record(const tr__tx_memory *a, const tr__tx_memory *b)
{
    return (a->at > b->at) - (a->at < b->at);
}

void tr__tx_memories_sort(tr__tx *tx)
{
    HASH_SORT(tx->memories, by_record);
}

/* ---- lost ---------------------------------------------------------------------------------------------- */

static void is_lost(tr__tx *tx, const char *node, uint64_t lsn)
{
    tx->lost = true;
    if (!node[0]) { /* written by `troupe tx restore` */
        snprintf(
            tx->lost_text, sizeof(tx->lost_text),
            "node %.32s has a log that was restored from a backup, which ends with record %llu: nobody knows "
            "what is missing. Go on without that (troupe tx accept), or put the newest copy back",
            tx->node, (unsigned long long)lsn);
        return;
    }
    snprintf(
        tx->lost_text, sizeof(tx->lost_text),
        "node %.32s has an older copy of its log: node %.32s remembers record %llu, which is gone. Put the "
        "newest copy back, or go on without what is missing (troupe tx accept)",
        tx->node, node, (unsigned long long)lsn);
}

/* That it can't be written now is no matter: it is found again with the next start. */
static void lose(tr__tx *tx, const char *node, uint64_t lsn)
{
    tr__tx_buffer record = {0};
    if (tx->lost || TR_PLANT(older_unnoticed))
        return;
    is_lost(tx, node, lsn);
    tr__tx_put_text(&record, node);
    tr__tx_put_number(&record, lsn);
    tr__tx_append(tx, TR__RECORD_LOST, true, &record, NULL, true, NULL);
    if (tx->io->lost)
        tx->io->lost(tx->context, tx->lost_text);
    tr__tx_branches_lost(tx);
    tr__tx_decisions_lost(tx);
}

tr_err tr__tx_replay_lost(tr__tx *tx, tr__tx_reader *reader)
{
    char node[TR_NAME_MAX];
    tr__tx_get_text(reader, node, sizeof(node));
    uint64_t lsn = tr__tx_get_number(reader);
    if (!tr__tx_read_all(reader))
        return TR_EPROTO;
    is_lost(tx, node, lsn);
    return TR_OK;
}

static void be_another(tr__tx *tx, const uint8_t *id)
{
    memcpy(tx->log_id, id, sizeof(tx->log_id));
    tx->is_accepted = true;
    tx->lost = false;
}

tr_err tr__tx_accept_log(tr__tx *tx, const uint8_t *id, tr_error *error)
{
    tr__tx_buffer record = {0};
    if (!tx->lost)
        return tr__fail(error, TR_EINVAL,
                        "the transaction log of node %s lacks nothing that a peer remembers", tx->node);
    tr__tx_put_bytes(&record, id, TR__LOG_ID_BYTES);
    TR_TRY(tr__tx_append(tx, TR__RECORD_ACCEPT, true, &record, NULL, true, error));
    be_another(tx, id);
    for (tr__tx_peer *peer = tx->peers; peer; peer = peer->hh.next)
        peer->greeted = false; /* the next frame says so first */
    return TR_OK;
}

tr_err tr__tx_replay_accept(tr__tx *tx, tr__tx_reader *reader)
{
    tr_bytes id = tr__tx_get_bytes(reader);
    if (!tr__tx_read_all(reader) || id.size != TR__LOG_ID_BYTES)
        return TR_EPROTO;
    be_another(tx, id.data);
    return TR_OK;
}

/* What a peer remembers, against what is there. */
static void compare(tr__tx *tx, const tr__tx_frame *hello)
{
    tr__tx_reader reader = {hello->body.data, (const uint8_t *)hello->body.data + hello->body.size, false};
    uint64_t count = tr__tx_get_number(&reader);
    for (uint64_t i = 0; i < count && i < TOLD_MAX && !reader.failed; i++) {
        tr_bytes log = tr__tx_get_bytes(&reader);
        uint64_t life = tr__tx_get_number(&reader), lsn = tr__tx_get_number(&reader);
        if (!reader.failed && log.size == TR__LOG_ID_BYTES &&
            memcmp(log.data, tr__tx_log_id(tx), TR__LOG_ID_BYTES) == 0 && !has(tx, life, lsn))
            lose(tx, hello->from, lsn);
    }
}

/* ---- peers ---------------------------------------------------------------------------------------------- */

static tr__tx_peer *peer_find(const tr__tx *tx, const char *node)
{
    tr__tx_peer *peer;
    HASH_FIND_STR(tx->peers, node, peer);
    return peer;
}

static tr__tx_peer *peer_of(tr__tx *tx, const char *node)
{
    tr__tx_peer *peer = peer_find(tx, node);
    if (peer || !(peer = tr__zalloc(sizeof(*peer))))
        return peer;
    snprintf(peer->name, sizeof(peer->name), "%s", node);
    HASH_ADD_STR(tx->peers, name, peer);
    if (tr__hash_added(peer))
        return peer;
    tr__free(peer);
    return NULL;
}

void tr__tx_peer_down(tr__tx *tx, const char *node)
{
    tr__tx_peer *peer = peer_find(tx, node);
    if (!peer)
        return;
    HASH_DEL(tx->peers, peer);
    tr__free(peer);
}

static void put_told(const tr__tx *tx, const char *node, tr__tx_buffer *out)
{
    tr__tx_memory *oldest;
    tr__tx_put_number(out, count_of(tx, node, &oldest));
    for (const tr__tx_memory *m = tx->memories; m; m = m->hh.next) {
        if (strcmp(m->key.node, node) != 0)
            continue;
        tr__tx_put_bytes(out, m->key.log, TR__LOG_ID_BYTES);
        tr__tx_put_number(out, m->life);
        tr__tx_put_number(out, m->lsn);
    }
}

tr_err tr__tx_greet(tr__tx *tx, const char *node, tr_error *error)
{
    static const tr_tx_id none;
    tr__tx_buffer told = {0};
    tr__tx_peer *peer = peer_of(tx, node);
    if (!peer)
        return tr__fail(error, TR_ENOMEM, "no memory to speak with node %s", node);
    if (peer->greeted)
        return TR_OK;
    tr__tx_frame hello = tr__tx_frame_of(TR__TX_HELLO, &none);
    put_told(tx, node, &told);
    hello.number = !peer->heard;
    hello.boot = tx->id;
    if (tx->log)
        hello.log = (tr_bytes){tr__tx_log_id(tx), TR__LOG_ID_BYTES};
    hello.body = (tr_bytes){told.bytes, told.length};
    tr_err err = told.failed ? tr__fail(error, TR_ENOMEM, "no memory to speak with node %s", node)
                             : tr__tx_send(tx, node, &hello, error);
    tr__tx_buffer_free(&told);
    peer->greeted = err == TR_OK;
    peer->told = peer->told || (err == TR_OK && hello.durable.value);
    if (err != TR_OK && !peer->heard)
        tr__tx_peer_down(tx, node); /* it may be nobody's name */
    return err;
}

/* A log is one node's: who says so first is believed, and what our own log remembers was first. */
static bool is_anothers(const tr__tx *tx, const tr__tx_peer *peer)
{
    for (const tr__tx_memory *m = tx->memories; m; m = m->hh.next)
        if (memcmp(m->key.log, peer->log, TR__LOG_ID_BYTES) == 0 && strcmp(m->key.node, peer->name) != 0)
            return true;
    for (const tr__tx_peer *p = tx->peers; p; p = p->hh.next)
        if (p != peer && p->has_log && !p->anothers && memcmp(p->log, peer->log, TR__LOG_ID_BYTES) == 0)
            return true;
    return tx->log && memcmp(tr__tx_log_id(tx), peer->log, TR__LOG_ID_BYTES) == 0;
}

bool tr__tx_is_log_of(tr__tx *tx, const tr__tx_frame *frame)
{
    if (strcmp(frame->from, tx->node) == 0)
        return tx->log && memcmp(tr__tx_log_id(tx), frame->log.data, TR__LOG_ID_BYTES) == 0;
    tr__tx_peer *peer = peer_find(tx, frame->from);
    if (!peer)
        return false;
    if (peer->has_log && memcmp(peer->log, frame->log.data, TR__LOG_ID_BYTES) == 0)
        return !peer->anothers;
    peer->heard = false; /* what it said of it may be lost: it is asked */
    tr__tx_heard(tx, frame);
    return false;
}

void tr__tx_on_hello(tr__tx *tx, const tr__tx_frame *frame)
{
    tr__tx_peer *peer = strcmp(frame->from, tx->node) != 0 ? peer_of(tx, frame->from) : NULL;
    if (!peer)
        return; /* it is asked again, when there is memory */
    peer->heard = true;
    peer->life = frame->boot;
    peer->has_log = frame->log.size == TR__LOG_ID_BYTES;
    if (peer->has_log)
        memcpy(peer->log, frame->log.data, TR__LOG_ID_BYTES);
    peer->anothers = peer->has_log && is_anothers(tx, peer);
    /* A node that has no right to begin anything here has none to end it all either. */
    if (tx->log && (!tx->io->may_begin || tx->io->may_begin(tx->context, frame->from, false)))
        compare(tx, frame);
    note(tx, peer, frame->durable.value);
    if (frame->number)
        peer->greeted = false; /* it hasn't heard ours, or lost it */
    else
        tell(tx, peer);
    tr__tx_greet(tx, frame->from, NULL);
}

bool tr__tx_heard(tr__tx *tx, const tr__tx_frame *frame)
{
    if (!frame->durable.present || strcmp(frame->from, tx->node) == 0)
        return true; /* an earlier node, which remembers nothing; or we */
    tr__tx_peer *peer = peer_of(tx, frame->from);
    if (!peer)
        return false;
    uint64_t now = tr__tx_now(tx);
    if (peer->heard) {
        note(tx, peer, frame->durable.value);
        return true;
    }
    if (now >= peer->ask_ns) { /* its HELLO got lost: ours asks for it */
        peer->ask_ns = now + TR__TX_RETRY_NS;
        peer->greeted = false;
        tr__tx_greet(tx, frame->from, NULL);
    }
    return false;
}

uint64_t tr__tx_durable_for(const tr__tx *tx, const char *node)
{
    const tr__tx_peer *peer = peer_find(tx, node);
    uint64_t durable = tx->log ? tr__log_durable(tx->log) : 0;
    if (!peer || !peer->heard || tx->lost || !tx->life_lsn || durable < tx->life_lsn)
        return 0; /* R1; and a life that isn't on the disk never was */
    return durable < tx->meant_lsn ? durable : tx->meant_lsn;
}

void tr__tx_memories_fini(tr__tx *tx)
{
    tr__tx_memory *memory, *next_memory;
    tr__tx_peer *peer, *next_peer;
    HASH_ITER(hh, tx->memories, memory, next_memory)
    {
        HASH_DEL(tx->memories, memory);
        tr__free(memory);
    }
    HASH_ITER(hh, tx->peers, peer, next_peer)
    {
        HASH_DEL(tx->peers, peer);
        tr__free(peer);
    }
    tr__free(tx->lives);
}
