/* The app: one of a pair, on two nodes, that exchange items both ways and keep the same journal of them.
 *
 *     tr_addr app = tr_spawn_with(self, &tr_app, &(tr_app_opts){.name = "alice", .id = "a1", .peer = "bob/app"},
 *                                 &(tr_spawn_opts){.name = "app"});
 *     const tr_app_put_done *done;
 *     TR_TRY(tr_await(self, tr_ask(self, app, TR_SECONDS(10), tr_app_put, .data = {bytes, size}),
 *                     tr_app_put_done, &done));
 *
 * Each names the other: here, bob's app has .peer = "alice/app". What is put goes into both journals in one
 * transaction, or into none; so both hold the same entries in the same order, numbered 1, 2, 3 ..., whatever the
 * network does and whichever node dies when. Both nodes keep a log (tr_node_opts.data), which is where the journals
 * are; an app needs a name to be spawned under (tr_spawn_opts.name), since they belong to that name.
 *
 * Each item is checked (SHA-256) by both, and before it is committed the two compare where their journals end. What
 * doesn't fit ends the exchange with an error that says who could not talk properly to whom, and why; it stays ended
 * until the app is started anew. A broken connection or a killed node does not: the app asks what became of what was
 * under way, and goes on behind it.
 *
 * The journals are held in memory, about 250 bytes an entry beside its data. */
#ifndef TROUPE_APP_H
#define TROUPE_APP_H

#include <troupe/troupe.h>

#define TR_APP_ITEM_MAX (64u * 1024u) /* bytes of an item */
#define TR_APP_PUTS_MAX 1024u         /* items that may wait, 4 MiB of them; then TR_EFULL */

/* Its argument is a tr_app_opts; its init fails with TR_EINVAL and a text if one is not acceptable. */
extern const tr_actor_def tr_app;

/* name  for people, 1 to 63 bytes without control characters
 * id    1 to 32 of A-Z a-z 0-9 . _ -, other than the peer's; it marks the items' origin in the journal
 * peer  "node/name" of the other app */
TR_MESSAGE(tr_app_opts, (string, name), (string, id), (string, peer))

/* Ask: give an item to the peer. Answered by tr_app_put_done when both have it in their journals. TR_EFULL: too many
 * wait, or a node's log is full (it was tried again as long as there was time, and has not come through; the text says
 * which); TR_ETOOBIG; TR_EMISMATCH, TR_EAPP ...: the exchange has ended, the text says why. While the peer is away items
 * wait, in memory: one that was not yet under way when its ask's deadline passed, or was cancelled, is dropped. An ask
 * that failed otherwise (deadline, TR_ENOACTOR when the app died) may or may not have come through: ask tr_app_query
 * with `together`, `own` tells. */
TR_MESSAGE(tr_app_put, (bytes, data))
TR_MESSAGE(tr_app_put_done, (u64, number), (string, digest))

/* Ask how it is doing; answered by tr_app_status, as the journal is committed. together: only when the two are in step
 * and nothing of ours is undecided. Then `own` counts every item of ours that ever came through: where to go on after
 * a restart. With `together` it waits as long as its ask does, and fails, with its text, if the exchange has ended. */
TR_MESSAGE(tr_app_query, (bool, together))

/* state     "apart", "looking", "together", "putting", "resolving", "stopped"
 * last      number of the last entry in our journal
 * own       entries of our items, other: of the peer's; waiting: items put, not yet done
 * digest    SHA-256 of the journal's entries, hexadecimal
 * error     why it stopped, or is apart, or can't read the journal just now; "" = nothing to tell
 * While something in the journal is in doubt it can't be read: then last, own and other are 0 and the digest is "". */
TR_MESSAGE(tr_app_status, (string, name), (string, id), (string, peer_name), (string, peer_id),
           (string, state), (u64, last), (u64, own), (u64, other), (u64, waiting), (u64, children),
           (string, digest), (string, error))

/* Ask: read one entry of the journal, whoever's it is. TR_ENOTFOUND: there is no such number yet; TR_EABORTED: it
 * can't be read just now, the text says why. */
TR_MESSAGE(tr_app_get, (u64, number))
TR_MESSAGE(tr_app_item, (u64, number), (string, origin), (string, digest), (bytes, data))

/* Ask: make an actor of the same node a child of the app: it ends when the app ends, however that is. A child
 * that fails is logged, the app goes on. TR_EFULL beyond 64. Answered by tr_app_owned. */
TR_MESSAGE(tr_app_own, (addr, actor))
TR_MESSAGE(tr_app_owned, (u64, children))

#endif
