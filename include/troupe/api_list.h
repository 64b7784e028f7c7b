/* The API as one list: every function that an actor may call, in a program or in a plugin. From it come the
 * prototypes (troupe.h), the host table that plugins are given, and the calls through that table (plugin.h).
 * It has no include guard: include it with TR_FN and TR_FNV defined.
 *
 *   TR_FN(returns, name, (parameters), (arguments))           tr_name
 *   TR_FNV(returns, name, index, (parameters), (arguments))   tr_name, printf-like; `index` is the format's
 * position
 *
 * Order is ABI: append only. All are called by the actor itself, on its loop's thread, with its own `self`,
 * unless they say "any thread". What a failed call was about: tr_last_error(self). */

/* ---- sending ------------------------------------------------------------------------------------------- */

/* Send a copy of `body`, a struct of that type (the macro tr_send makes it). TR_OK: accepted; it arrives, in
 * order with what this actor sent before, or is counted and reported as a dead letter. TR_EFULL: the mailbox
 * has no place (what happens then is its definition's: tr_overflow); TR_EAGAIN: the connection has no credit (ask for a notice: tr_notify_writable); TR_ENOCONN;
 * TR_ETOOBIG; TR_ENOMEM. */
TR_FN(tr_err, send_body, (tr_actor * self, tr_addr to, tr_type *type, const void *body),
      (self, to, type, body))
/* The same for a message made by tr_msg_make. On TR_OK it is taken and *msg is NULL; else it is still yours.
 */
TR_FN(tr_err, send_msg, (tr_actor * self, tr_addr to, tr_msg **msg), (self, to, msg))
/* After TR_EFULL or TR_EAGAIN: have a tr_writable sent to this actor when it is worth trying again. One
 * notice a call. Notices are given in order of asking, from a quarter of the mailbox free. */
TR_FN(tr_err, notify_writable, (tr_actor * self, tr_addr to), (self, to))

/* ---- messages ------------------------------------------------------------------------------------------ */

/* A message of one's own with a copy of `body`; NULL if memory ran out. Free it with tr_msg_free or send it.
 */
TR_FN(tr_msg *, msg_make, (tr_actor * self, tr_type *type, const void *body), (self, type, body))
/* Free a made or kept message; *msg becomes NULL. A kept ask that wasn't answered fails at the asker
 * (no-actor). */
TR_FN(void, msg_free, (tr_actor * self, tr_msg **msg), (self, msg))
/* Keep the message that is being handled beyond the call: it is yours until tr_msg_free. NULL if it isn't the
 * one being handled, or is kept already. */
TR_FN(tr_msg *, msg_take, (tr_actor * self, const tr_msg *msg), (self, msg))
/* The struct if the message is of that type, else NULL (the macro tr_match casts it). Any thread. */
TR_FN(const void *, match_type, (const tr_msg *msg, tr_type *type), (msg, type))
/* The name of a message's type; static. Any thread. */
TR_FN(const char *, msg_type_name, (const tr_msg *msg), (msg))
/* Who sent it; TR_ADDR_NONE from outside any actor. */
TR_FN(tr_addr, msg_sender, (const tr_msg *msg), (msg))
/* Identifies an ask together with its sender (see tr_canceled); 0 if it is not an ask. */
TR_FN(uint64_t, msg_ask_number, (const tr_msg *msg), (msg))
/* What is left until the ask's deadline, ns; TR_FOREVER if it has none, 0 if it has passed. */
TR_FN(uint64_t, msg_remaining, (tr_actor * self, const tr_msg *msg), (self, msg))
/* The message as JSON, to be freed with free(); NULL if memory ran out. Any thread. */
TR_FN(char *, msg_json, (const tr_msg *msg), (msg))

/* ---- actors -------------------------------------------------------------------------------------------- */

/* Start an actor; its address is good at once. TR_ADDR_NONE: see tr_last_error (TR_ENOMEM, TR_EEXIST for a
 * name that is taken, TR_EINVAL). What fails later (its init) its monitors and links hear. `opts` may be
 * NULL. */
TR_FN(tr_addr, spawn_with,
      (tr_actor * self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts),
      (self, def, arg, opts))
/* As spawn_with, and a future that settles with tr_found when init has succeeded, or with its error. */
TR_FN(tr_future, spawn_ask,
      (tr_actor * self, const tr_actor_def *def, const void *arg, const tr_spawn_opts *opts),
      (self, def, arg, opts))
/* This actor's address. */
TR_FN(tr_addr, self, (const tr_actor *self), (self))
/* This actor's state. */
TR_FN(void *, state, (tr_actor * self), (self))
/* End this actor with an error when the handler returns; printf-like text. TR_OK as code ends it normally. */
TR_FNV(void, exit, 3, (tr_actor * self, tr_err code, const char *format), (self, code, format))
/* Ask another actor to end, on any node: TR_EXIT_SHUTDOWN in order with its messages, TR_EXIT_KILLED at once, ahead of
 * them (of one on another node: when that comes there). TR_EPERM: its node doesn't let this one (tr_rights); TR_ENOCONN;
 * TR_EVERSION; TR_ENOMEM. */
TR_FN(tr_err, stop, (tr_actor * self, tr_addr to, tr_exit_kind how), (self, to, how))

/* ---- links, monitors, names, supervision --------------------------------------------------------------- */

/* Hear of its end by one tr_down that carries the returned number; 0: no memory, or too many (4,096). An
 * actor that is gone, or a node without a connection, is reported at once, by a tr_down as well. So is one whose
 * node has no memory to note who watches it: that tr_down says TR_EXIT_NO_ACTOR and TR_ENOMEM, and it may well live. With
 * TR_EFULL it may as well: this node has 65,536 monitors on actors of that one already. */
TR_FN(uint64_t, monitor, (tr_actor * self, tr_addr to), (self, to))
/* No tr_down with that number is handled after this call. */
TR_FN(void, demonitor, (tr_actor * self, uint64_t monitor), (self, monitor))
/* Share fate, on any nodes: when one ends other than normally, so does the other, or hears tr_exited if it traps exits. An
 * actor that is gone, a node without a connection, and a connection that breaks (TR_EXIT_NO_CONNECTION) are told in the same
 * way, once. Who is linked already stays so. TR_EPERM: its node doesn't let this one (what comes of that later is told by
 * an exit as well); TR_EVERSION; TR_EFULL (4,096 links); TR_ENOMEM. */
TR_FN(tr_err, link, (tr_actor * self, tr_addr to), (self, to))
/* From now on neither hears of the other's end. Of one that it isn't linked with: nothing, and a link that the other is making
 * just now stays. TR_ENOMEM: nothing has changed. */
TR_FN(tr_err, unlink, (tr_actor * self, tr_addr to), (self, to))
TR_FN(void, trap_exit, (tr_actor * self, bool on), (self, on))
/* Give this actor a name, unique on its node, until it ends. TR_EEXIST, TR_EINVAL (empty, too long, or with
 * '/'). */
TR_FN(tr_err, register_name, (tr_actor * self, const char *name), (self, name))
/* The actor of that name on this node, TR_ADDR_NONE if there is none. */
TR_FN(tr_addr, whereis, (tr_actor * self, const char *name), (self, name))
/* The same on any node: "node/name", or "name" for this one; with "*" for the node, who claimed the name in the cluster
 * (tr_claim_name). Answers tr_found; waits for the node to connect and for somebody to have the name, until the timeout. */
TR_FN(tr_future, lookup, (tr_actor * self, const char *path, uint64_t timeout_ns), (self, path, timeout_ns))
/* Hear tr_node_event from now on; those that are up are reported at once. What finds the mailbox full, or no memory,
 * comes later, of each node in turn; of one that came and went meanwhile, nothing. */
TR_FN(tr_err, watch_nodes, (tr_actor * self), (self))
/* Start a supervisor with its children, linked to this actor; it stops them and ends when this one ends. They are started
 * one after another, later: tr_supervisor_ready tells when all are up. TR_ADDR_NONE: see tr_last_error. */
TR_FN(tr_addr, supervise, (tr_actor * self, const tr_supervisor_spec *spec), (self, spec))

/* ---- asks and futures ---------------------------------------------------------------------------------- */

/* Ask: send a copy of `body` and get a future of the answer, until timeout_ns from now (of a second or more,
 * less a jump of the machine's coarse clock: 4 ms on most). It fails with
 * TR_EDEADLINE, TR_ENOACTOR (gone, or it dropped the ask unanswered), TR_ENOCONN, TR_EFULL, TR_ECANCELED, or
 * what the callee said by tr_reply_error. At most 4,096 are outstanding an actor. */
TR_FN(tr_future, ask_body,
      (tr_actor * self, tr_addr to, uint64_t timeout_ns, tr_type *type, const void *body),
      (self, to, timeout_ns, type, body))
/* Answer an ask, once: TR_EINVAL if it isn't one or was answered already; TR_ECANCELED if its asker has given
 * it up; TR_ENOMEM (the asker then hears that). */
TR_FN(tr_err, reply_body, (tr_actor * self, const tr_msg *ask, tr_type *type, const void *body),
      (self, ask, type, body))
/* Answer an ask with an error. */
TR_FNV(tr_err, reply_error, 4, (tr_actor * self, const tr_msg *ask, tr_err code, const char *format),
       (self, ask, code, format))
/* Have `then` called with the result, in this actor, once, in order with its other messages. */
TR_FN(tr_err, then, (tr_actor * self, tr_future future, tr_then_fn then, void *context),
      (self, future, then, context))
/* Fibers only (TR_EINVAL elsewhere): wait for it. *msg (which may be NULL) is borrowed until the next await
 * or receive. TR_EKILLED: return from the body. Of this and all that wait: `where` is the place in the source,
 * "file:line", static, by which people see what an actor waits for; the macros without `_at` give it. */
TR_FN(tr_err, await_msg_at, (tr_actor * self, tr_future future, const tr_msg **msg, const char *where),
      (self, future, msg, where))
/* The same, and the answer's struct: TR_ETYPE if it is of another type than asked for (the macro tr_await
 * casts). */
TR_FN(tr_err, await_type_at,
      (tr_actor * self, tr_future future, tr_type *type, const void **out, const char *where),
      (self, future, type, out, where))
/* A future that settles when all of them have: with no message if all have values, else with the error of the one that
 * failed first. Each then gives its own result at once by await or take_result. */
TR_FN(tr_future, gather, (tr_actor * self, const tr_future *futures, size_t count), (self, futures, count))
/* The result of a settled future, consuming it: TR_EAGAIN if it isn't settled. *msg is borrowed as for await.
 */
TR_FN(tr_err, take_result, (tr_actor * self, tr_future future, const tr_msg **msg), (self, future, msg))
/* Give it up: the callee is told (tr_canceled, or the queued ask is dropped), a late answer reaches nobody,
 * nothing is called. A stale future is left alone. */
TR_FN(void, cancel, (tr_actor * self, tr_future future), (self, future))

/* ---- fibers -------------------------------------------------------------------------------------------- */

/* Fibers only: the next message, borrowed until the next receive; NULL: timeout, or being killed
 * (tr_last_error says which). */
TR_FN(const tr_msg *, receive_at, (tr_actor * self, uint64_t timeout_ns, const char *where),
      (self, timeout_ns, where))
/* Fibers only. TR_EKILLED when being killed. */
TR_FN(tr_err, sleep_at, (tr_actor * self, uint64_t duration_ns, const char *where),
      (self, duration_ns, where))

/* ---- time, chance, words ------------------------------------------------------------------------------- */

/* The node's monotonic clock as it was when this turn began, ns. */
TR_FN(uint64_t, now, (tr_actor * self), (self))
/* Send this actor a copy of `body` after delay_ns; of a second or more, it may come by a jump of the machine's coarse clock
 * too early: 4 ms on most. {0}: no memory. */
TR_FN(tr_timer, after_body, (tr_actor * self, uint64_t delay_ns, tr_type *type, const void *body),
      (self, delay_ns, type, body))
/* True if it had not fired; its message is then never handled. */
TR_FN(bool, timer_cancel, (tr_actor * self, tr_timer timer), (self, timer))
/* Hear one tr_fd_ready when the descriptor can be read (TR_FD_READ), written (TR_FD_WRITE), or either, and when its other
 * side is gone. One message a call: watch it again when you have read or written what there was. The descriptor stays
 * yours, as it is; unwatch it before you close it. At most 1,024 an actor (TR_EFULL). TR_EINVAL (not open, or a file,
 * which is always ready; in a simulation), TR_EEXIST (watched by this loop already), TR_ENOMEM, TR_EIO. */
TR_FN(tr_err, fd_watch, (tr_actor * self, int fd, uint32_t events), (self, fd, events))
/* No tr_fd_ready of that descriptor is handled after this call. One that isn't watched is left alone. At the actor's end all
 * are unwatched. */
TR_FN(void, fd_unwatch, (tr_actor * self, int fd), (self, fd))
/* Memory of this actor's own, zeroed, released at its end whatever that is: also when a killed fiber's stack is dropped. NULL:
 * TR_ENOMEM, of the system or of the actor's budget (tr_actor_def.memory_max); TR_ETOOBIG. */
TR_FN(void *, alloc, (tr_actor * self, size_t size), (self, size))
/* Give it back before that. NULL is fine; what isn't this actor's ends the process. */
TR_FN(void, free, (tr_actor * self, void *memory), (self, memory))
/* A random number from the loop's seeded source. Not for secrets. */
TR_FN(uint64_t, random, (tr_actor * self), (self))
/* Formatted text that lives until this handler returns (a fiber: until its next await, receive or sleep). ""
 * if memory ran out. */
TR_FNV(const char *, fmt, 2, (tr_actor * self, const char *format), (self, format))
/* The last failed call's error, borrowed until the next failing call; its code is TR_OK if none failed. */
TR_FN(const tr_error *, last_error, (tr_actor * self), (self))
/* Record an error as this actor's last one and return its code: `return tr_fail(self, TR_EAPP, "...")`. */
TR_FNV(tr_err, fail, 3, (tr_actor * self, tr_err code, const char *format), (self, code, format))
/* A line for the node's log. */
TR_FNV(void, log, 3, (tr_actor * self, tr_log_level level, const char *format), (self, level, format))

/* ---- from outside -------------------------------------------------------------------------------------- */

/* Send a copy of `body` from any thread that is no loop. TR_OK, TR_EFULL, TR_ENOMEM, TR_ENOCONN for another
 * node's actor (not possible from outside), TR_ECLOSED. */
TR_FN(tr_err, post_body, (tr_node * node, tr_addr to, tr_type *type, const void *body),
      (node, to, type, body))
/* The node of an actor; lives as long as the node runs. */
TR_FN(tr_node *, node_of, (tr_actor * self), (self))
/* The address as text, "<node.slot.generation>"; `out` has TR_ADDR_TEXT_MAX bytes. Returns out. Any thread.
 */
TR_FN(const char *, addr_format, (tr_addr address, char *out), (address, out))
/* The reverse; TR_EADDR. Any thread. */
TR_FN(tr_err, addr_parse, (const char *text, tr_addr *address), (text, address))
/* The word for a code ("no-connection"); static. Any thread. */
TR_FN(const char *, err_word, (tr_err code), (code))

/* ---- transactions: who calls (troupe/tx.h) ------------------------------------------------------------- */

/* Begin one, with a new id; costs nothing until the first call. `opts` may be NULL. All calls on it are made by this
 * actor. */
TR_FN(tr_tx, tx_begin, (tr_actor * self, const tr_tx_opts *opts), (self, opts))
/* Have the participant "node/actor" ("actor": of this node) execute a message with a copy of `body` (the macro tr_tx_call
 * makes it), in order with the other calls to it; several may be in flight. The future gives what it replied, or
 * tr_tx_called. It fails with TR_EAPP (it refused: the text is its own) or TR_EABORTED (the text says why): the
 * transaction can only abort then. TR_ETYPE: executed, but this program doesn't know the reply's type. A future of none:
 * TR_ETOOBIG, TR_ENOMEM, TR_EFULL. */
TR_FN(tr_future, tx_call_body, (tr_tx * tx, const char *path, tr_type *type, const void *body),
      (tx, path, type, body))
/* Commit all that was called. The future gives a tr_tx_done (tr_tx_outcome_of reads it); that it fails, or is none, says
 * nothing about what became of the transaction. No call is made on it afterwards, and no second commit: TR_EINVAL. */
TR_FN(tr_future, tx_commit, (tr_tx * tx), (tx))
/* Give it up: it has no effect. Nothing after tr_tx_commit. */
TR_FN(void, tx_abort, (tr_tx * tx), (tx))
/* The future gives a tr_tx_ticket_is: what tr_tx_resolve takes, to be kept before the commit by who may die itself; ""
 * before a call was answered that has written something. It fixes the node that decides. */
TR_FN(tr_future, tx_ticket, (tr_tx * tx), (tx))
/* Find out what became of a transaction, and if nothing did, abort it. The future gives a tr_tx_done; at any time, from
 * any node, as often as one likes, always the same, but for UNKNOWN while nobody who knows can be asked within
 * timeout_ns. TR_EINVAL: that is no ticket. */
TR_FN(tr_future, tx_resolve, (tr_actor * self, const char *ticket, uint64_t timeout_ns),
      (self, ticket, timeout_ns))
/* Fibers only: wait for the future of tr_tx_commit or tr_tx_resolve. If it fails the outcome is UNKNOWN, without a
 * ticket, and the text says how. */
TR_FN(tr_tx_outcome, tx_outcome_of, (tr_actor * self, tr_future future), (self, future))
/* Fibers only: begin, call body(self, tx, arg), commit; all again, up to 5 times, when it was wounded by an older one or there
 * was too much to do (of these half as many as are begun, and 500). The body's error aborts it and is the outcome's text. `opts` may be NULL; they are for each
 * time. */
TR_FN(tr_tx_outcome, tx_run, (tr_actor * self, tr_tx_body body, void *arg, const tr_tx_opts *opts),
      (self, body, arg, opts))

/* ---- transactions: a participant's view, within its `transact` only ------------------------------------ */

/* A failed one of these refuses the call even if the code goes on: its text is the transaction's. Keys are of 1 to
 * TR_TX_KEY_MAX bytes (TR_ETOOBIG). */

/* *out is borrowed until the next call that writes. TR_ENOTFOUND, which refuses nothing. */
TR_FN(tr_err, view_get, (tr_txview * v, const char *key, tr_bytes *out), (v, key, out))
/* TR_EPERM: the message doesn't declare TR_WRITES; TR_ETOOBIG: more than TR_TX_REDO_MAX in this transaction; TR_ENOMEM. */
TR_FN(tr_err, view_put, (tr_txview * v, const char *key, const void *data, size_t size), (v, key, data, size))
/* The key is gone; TR_OK too if there was none. Errors as view_put. */
TR_FN(tr_err, view_del, (tr_txview * v, const char *key), (v, key))
/* A number, 8 bytes little-endian; `otherwise` if there is no such key, or (TR_ETYPE) its value is no number. */
TR_FN(int64_t, view_i64, (tr_txview * v, const char *key, int64_t otherwise), (v, key, otherwise))
TR_FN(tr_err, view_put_i64, (tr_txview * v, const char *key, int64_t number), (v, key, number))
/* A text, borrowed as by view_get; `otherwise` if there is no such key, or (TR_ETYPE) its value has a NUL. */
TR_FN(const char *, view_text, (tr_txview * v, const char *key, const char *otherwise), (v, key, otherwise))
TR_FN(tr_err, view_put_text, (tr_txview * v, const char *key, const char *text), (v, key, text))
/* What the caller hears: a copy of `body` (the macro tr_view_reply makes it); the last one counts. TR_ETOOBIG: more than
 * TR_TX_REDO_MAX; TR_ENOMEM. */
TR_FN(tr_err, view_reply_body, (tr_txview * v, tr_type *type, const void *body), (v, type, body))
/* Refuse the call, and so the transaction, with that text: `return tr_refuse(v, "...")`. Gives TR_EAPP. */
TR_FNV(tr_err, refuse, 2, (tr_txview * v, const char *format), (v, format))

/* ---- what must hold ------------------------------------------------------------------------------------ */

/* Say whether something holds (the macros tr_always and tr_sometimes do). Under the simulator an `always` that doesn't hold
 * fails the run, and a `sometimes` that never did fails the campaign; elsewhere an `always` that doesn't hold is logged as
 * an error. `name` says what holds; static. */
TR_FN(void, assert_that, (tr_actor * self, tr_assertion kind, bool holds, const char *name),
      (self, kind, holds, name))

/* ---- mailboxes (docs/mailboxes.md) --------------------------------------------------------------------- */

/* As send_body, with a time to live, or a bound on a fiber's wait: TR_EDEADLINE if that is over, TR_EKILLED. `opts` may be
 * NULL. */
TR_FN(tr_err, send_with_body,
      (tr_actor * self, tr_addr to, tr_type *type, const void *body, const tr_send_opts *opts),
      (self, to, type, body, opts))
/* Have a tr_mailbox_level sent to this actor when that mailbox, its own or another's, has so many percent of its places
 * taken, and one when it has fallen to half of that, or is empty; then ask again. What is under way to it counts as taken.
 * TR_EINVAL: no percentage, another node; TR_ENOMEM. */
TR_FN(tr_err, notify_level, (tr_actor * self, tr_addr of, uint32_t percent), (self, of, percent))
/* Hear of messages that are dropped on this node, by tr_dead_letter, until its end or `on` is false. From each loop at most
 * 1,000 a second (100 at once) and none that its mailbox has no place for; what isn't told is counted into the next.
 * TR_EFULL: 8 actors do already. */
TR_FN(tr_err, watch_dead_letters, (tr_actor * self, bool on), (self, on))
/* Receive actors: set the message aside that is being handled; it keeps its place, and comes back by tr_undefer or
 * tr_become. TR_EFULL: as many are deferred as the mailbox has places; TR_EINVAL: it isn't the one being handled, is kept or
 * answered, or this is a fiber; TR_ENOMEM. */
TR_FN(tr_err, defer, (tr_actor * self, const tr_msg *msg), (self, msg))
/* All that is deferred comes next, before what is in the mailbox, in the order it was deferred in. */
TR_FN(void, undefer, (tr_actor * self), (self))
/* Receive actors: from the next message on `receive` is called instead of the definition's (NULL: that one again); what is
 * deferred comes first. TR_EINVAL: a fiber; TR_ENOMEM: the handler is as before. */
TR_FN(tr_err, become, (tr_actor * self, tr_receive_fn receive), (self, receive))

/* ---- counted buffers ----------------------------------------------------------------------------------- */

/* A buffer with a copy of those bytes, for fields of the kind buffer. This actor holds it until tr_buffer_release or its
 * end; messages that it is sent in hold it besides. NULL: no memory. */
TR_FN(const tr_buffer *, buffer_make, (tr_actor * self, const void *data, size_t size), (self, data, size))
/* The like without a copy: the memory is handed over. When nobody holds it any more free_data(data, size, context) is
 * called, on the thread of whoever held it last (NULL: free(data)). NULL: no memory, and `data` is still yours. */
TR_FN(const tr_buffer *, buffer_adopt,
      (tr_actor * self, void *data, size_t size, void (*free_data)(void *data, size_t size, void *context),
       void *context),
      (self, data, size, free_data, context))
/* Keep a message's buffer beyond the message: until as many calls of tr_buffer_release, or this actor's end. NULL is fine.
 * TR_ENOMEM. */
TR_FN(tr_err, buffer_hold, (tr_actor * self, const tr_buffer *buffer), (self, buffer))
/* Undo one tr_buffer_hold, or the making. TR_EINVAL: this actor doesn't hold it. */
TR_FN(tr_err, buffer_release, (tr_actor * self, const tr_buffer *buffer), (self, buffer))

/* ---- stopping in order, dynamic children ---------------------------------------------------------------- */

/* Being asked to stop comes as a tr_shutdown from now on, in order with the other messages; the actor then ends itself, by
 * tr_exit (TR_OK: its exit kind is TR_EXIT_SHUTDOWN), when it is done. Who asked may kill it after a while. */
TR_FN(void, trap_stop, (tr_actor * self, bool on), (self, on))
/* The future settles, with an empty message, when all children of the supervisor are up for the first time, or at once if
 * they were; it fails with TR_ENOACTOR if it ends before, as when one can't be started. TR_EFULL: 16 wait already. */
TR_FN(tr_future, supervisor_ready, (tr_actor * self, tr_addr supervisor), (self, supervisor))
/* Add a child, last in the list, and start it. The future gives a tr_child_started, or fails: with its init's error, and
 * then there is no such child; TR_EEXIST: one has that id, TR_EINVAL: a bad spec; TR_EFULL: TR_CHILDREN_MAX; TR_ECLOSED: the
 * supervisor ends; TR_EPERM: it is on another node. The id is copied. One that isn't wanted back when it ends is
 * forgotten. */
TR_FN(tr_future, supervisor_start_child, (tr_actor * self, tr_addr supervisor, const tr_child_spec *spec),
      (self, supervisor, spec))
/* Stop that child, whatever its `restart`, kill it if it takes too long, and forget it. The future gives a
 * tr_child_stopped; TR_ENOTFOUND: there is none; TR_EAGAIN: it is being started or stopped for somebody else; TR_ECLOSED,
 * TR_EPERM as above. */
TR_FN(tr_future, supervisor_stop_child, (tr_actor * self, tr_addr supervisor, const char *id),
      (self, supervisor, id))
/* The child at that place of the list, from 0: a tr_child_is; TR_ENOTFOUND: there are not so many. */
TR_FN(tr_future, supervisor_child, (tr_actor * self, tr_addr supervisor, uint32_t index),
      (self, supervisor, index))

/* ---- timers that come again, names that come and go ------------------------------------------------------ */

/* Send this actor a tr_tick every period_ns, the k-th when k periods have passed since now, however late the others were;
 * at most one waits, and says how many before it were missed. The timer is `timer` in them, and is taken back by
 * tr_timer_cancel: none is handled after that. {0}: TR_EINVAL (no time, or centuries), TR_ENOMEM. */
TR_FN(tr_timer, every, (tr_actor * self, uint64_t period_ns), (self, period_ns))
/* Send this actor a tr_idle when it has handled nothing for idle_ns, and again after as long; up to an eighth of that
 * later, never earlier. Messages pay nothing for it. Taken back, and fails, as the above. */
TR_FN(tr_timer, idle_after, (tr_actor * self, uint64_t idle_ns), (self, idle_ns))
/* Hear a tr_name_event whenever an actor has the name "node/name" (or "name", of this node; with "*" for the node, in the
 * cluster), and when it has it no more, as
 * at its end or when its node can't be reached; at once if somebody has it. What follows within some ms on each other may
 * be told as one change. The number is for tr_demonitor: no event of it is handled after that. 0: TR_EINVAL, TR_ENOMEM,
 * TR_EFULL (4,096 monitors). */
TR_FN(uint64_t, monitor_name, (tr_actor * self, const char *path), (self, path))

/* ---- futures, more of them ----------------------------------------------------------------------------- */

/* As tr_gather, and that one of them fails doesn't make it fail: each result says how that one went. */
TR_FN(tr_future, gather_settled, (tr_actor * self, const tr_future *futures, size_t count),
      (self, futures, count))
/* A future that settles, with no message, when the first of them has, well or not. All stay as they are: the one that has
 * settled is found by tr_take_result (TR_EAGAIN from the others), those not wanted any more are to be cancelled. */
TR_FN(tr_future, first_of, (tr_actor * self, const tr_future *futures, size_t count), (self, futures, count))
/* Fibers only: wait for the first of them to settle; *index says which (of several, the first in the array). All stay as
 * they are, for tr_await, another tr_wait_any or tr_cancel. */
TR_FN(tr_err, wait_any_at,
      (tr_actor * self, const tr_future *futures, size_t count, size_t *index, const char *where),
      (self, futures, count, index, where))
/* A group without members; whatever is in it is cancelled when it is closed, or this actor ends. */
TR_FN(tr_group, group_open, (tr_actor * self), (self))
/* Have the group give this future's result. If it can't (the future is none, or is in a gather; TR_ENOMEM), the group gives
 * that error in the place of a result, so that it need not be looked at here. */
TR_FN(tr_err, group_add, (tr_actor * self, tr_group group, tr_future future), (self, group, future))
/* Fibers only: wait for the next of its futures to settle and give its result, as tr_await_msg does. TR_ENOTFOUND: all have
 * given theirs. */
TR_FN(tr_err, group_next_at, (tr_actor * self, tr_group group, const tr_msg **msg, const char *where),
      (self, group, msg, where))
/* The same, and the answer's struct (the macro tr_group_next casts). */
TR_FN(tr_err, group_next_type_at,
      (tr_actor * self, tr_group group, tr_type *type, const void **out, const char *where),
      (self, group, type, out, where))
/* Cancel those whose results were not given; the first error that one of its futures settled with, or TR_OK. */
TR_FN(tr_err, group_close, (tr_actor * self, tr_group group), (self, group))
/* Have the result come as a message, handled in order with this actor's other ones: the answer itself, from who gave it, or
 * a tr_settled. The future is consumed. TR_EINVAL, TR_ENOMEM: it isn't, and nothing comes. */
TR_FN(tr_err, pipe, (tr_actor * self, tr_future future, uint64_t tag), (self, future, tag))
/* The tag that was given to tr_pipe; 0 for all other messages. */
TR_FN(uint64_t, msg_tag, (const tr_msg *msg), (msg))
/* Hand an ask on: the one being handled (a fiber: received last), or a kept one. `to` answers it, straight to who asked;
 * its deadline, a cancel and the end of either go with it. TR_OK: it is gone from here, look at it no more. Else it is still
 * yours to answer: TR_EINVAL (no ask, answered, or items were sent), TR_ECANCELED, and what tr_send says. */
TR_FN(tr_err, forward, (tr_actor * self, const tr_msg *ask, tr_addr to), (self, ask, to))
/* Fibers only: the next message of that type (NULL: any) for which match(msg, context) says true (NULL: any); else as
 * tr_receive. Those that are passed over keep their order and their places. */
TR_FN(const tr_msg *, receive_match_at,
      (tr_actor * self, uint64_t timeout_ns, tr_type *type, tr_match_fn match, void *context,
       const char *where),
      (self, timeout_ns, type, match, context, where))

/* ---- streamed replies (docs/futures.md) ------------------------------------------------------------------ */

/* As tr_ask_body, for an ask that has items before its answer (the macro tr_ask_stream makes it). At most `window` of them,
 * 1 to 255 (0: 16), are under way or wait here at a time; the callee may send so many and then one for each that was taken.
 * Take them by tr_next or tr_each; the answer comes as any ask's. TR_EINVAL besides: the window. */
TR_FN(tr_future, ask_stream_body,
      (tr_actor * self, tr_addr to, uint64_t timeout_ns, uint32_t window, tr_type *type, const void *body),
      (self, to, timeout_ns, window, type, body))
/* Fibers only: wait for the next item. *item (which may be NULL) is borrowed until the next tr_next or await of any future;
 * then its sender may send another. TR_ENOTFOUND: that was all, and the answer is there; or the error that the ask ended
 * with, behind all items that came. In every case the future is still there, to be awaited or cancelled. TR_EINVAL: it is
 * no streamed ask; TR_EKILLED. */
TR_FN(tr_err, next_msg_at, (tr_actor * self, tr_future future, const tr_msg **item, const char *where),
      (self, future, item, where))
/* The same, and the item's struct (the macro tr_next casts): TR_ETYPE if it is of another type; it is taken then, too. */
TR_FN(tr_err, next_type_at,
      (tr_actor * self, tr_future future, tr_type *type, const void **out, const char *where),
      (self, future, type, out, where))
/* Receive actors: have `each` called with every item, in order with this actor's other messages, never from within this
 * call. When it says false the items wait from then on, and the answer behind them, until tr_each is called again or the
 * future cancelled. TR_EINVAL: a fiber, or no streamed ask. */
TR_FN(tr_err, each, (tr_actor * self, tr_future future, tr_each_fn each, void *context),
      (self, future, each, context))
/* Send who asked one item, a copy of `body` (the macro tr_reply_item makes it); the ask is to be answered still. With no
 * demand left, or for a large item no room on the connection, a fiber waits, until the ask's deadline; others hear
 * TR_EAGAIN, and one tr_demand when there is.
 * TR_ECANCELED, TR_EDEADLINE (the ask's); TR_EINVAL: it was answered, or is no streamed ask; TR_EKILLED; TR_ENOMEM,
 * TR_ETOOBIG, TR_EPERM: nothing was sent. `where` as for tr_await. */
TR_FN(tr_err, reply_item_at,
      (tr_actor * self, const tr_msg *ask, tr_type *type, const void *body, const char *where),
      (self, ask, type, body, where))
/* How many items of this ask may be sent now; 0 too if it is answered, given up, or no streamed ask. */
TR_FN(uint32_t, msg_demand, (tr_actor * self, const tr_msg *ask), (self, ask))

/* ---- other nodes --------------------------------------------------------------------------------------- */

/* Let that kind be started here by tr_spawn_at, under that name of 1 to 63 bytes, until the node's end: by actors of this
 * node, and of those whose rights name it (tr_rights.spawn in troupe/node.h; nobody by default). `def` stays as it is; its
 * argument is of its arg_type, without buffers, or NULL. TR_EEXIST: another kind has that name; TR_EINVAL; TR_ENOMEM. */
TR_FN(tr_err, offer, (tr_actor * self, const char *name, const tr_actor_def *def), (self, name, def))
/* Have what node `node` offers by that name started there (this one's name: here), with a copy of `body` as its argument (the
 * macro tr_spawn_at makes it; type NULL: none). The future gives a tr_spawned; it waits for the node to connect. It fails
 * with TR_EPERM (this node has no right to it), TR_ENOTFOUND (it isn't offered), TR_ETYPE (it takes another argument),
 * TR_EFULL (too many run there for this node), TR_ETOOBIG (an argument of more than 64 KiB), TR_EVERSION, TR_ECLOSED,
 * TR_ENOMEM. If it fails with TR_EDEADLINE or TR_ENOCONN, or is cancelled, an actor may have been started all the same: one
 * that was to be linked ends then. `opts` may be NULL. */
TR_FN(tr_future, spawn_at_body,
      (tr_actor * self, const char *node, const char *offer, uint64_t timeout_ns, tr_type *type,
       const void *body, const tr_spawn_at_opts *opts),
      (self, node, offer, timeout_ns, type, body, opts))

/* ---- confirmed sends (docs/connections.md, "Delivery") --------------------------------------------------- */

/* Send a copy of `body` (the macro tr_send_confirmed makes it) until it is in the receiver's mailbox, once, and in order with
 * what else this actor sent to it so; it is sent again when a connection that broke is back, and when a mailbox that was full
 * may have places. The future, an ask's in all else, says by the timeout what became of it: a tr_confirmed, or
 *   not delivered, and it won't be: TR_EFULL (the mailbox stayed full), TR_ENOCONN (it never left this node), TR_ENOACTOR
 *     (the receiver is gone), TR_EVERSION (that node is too old), TR_EPERM (this node has no right to it: docs/security.md),
 *     TR_ETYPE, TR_EPROTO (that node can't read it), TR_ETOOBIG (the receiver takes none so large);
 *   unknown: TR_EDEADLINE, TR_ERESET (the receiver's node was started anew, or forgot; or this node stops).
 * It is delivered or not whether or not somebody waits: tr_cancel, and this actor's end, give up the answer only. What was not
 * delivered by its deadline isn't sent any more. {0}, and nothing was sent: TR_EFULL (await some first: 4,096 an actor, 64
 * MiB a node), TR_ETOOBIG (1 MiB as CBOR), TR_EPERM, TR_ENOACTOR (no address), TR_ENOMEM. */
TR_FN(tr_future, send_confirmed_body,
      (tr_actor * self, tr_addr to, uint64_t timeout_ns, tr_type *type, const void *body),
      (self, to, timeout_ns, type, body))

/* ---- names in the cluster (docs/connections.md) ----------------------------------------------------------- */

/* Have a name in the cluster, until this actor's end: tr_lookup and tr_monitor_name find it on every node that is
 * connected with this one, with "*" in the place of the node before the "/NAME". It is no name on the node. The future gives a tr_found. TR_EEXIST: an
 * actor that this node knows of has it; TR_EFULL: 1,024 names of a node, or as many whose end not all have heard of;
 * TR_EINVAL, TR_ENOMEM. Of two that took it at the same time, or while their nodes had no connection, that of the higher node
 * id loses it; both hear a tr_name_conflict. */
TR_FN(tr_future, claim_name, (tr_actor * self, const char *name), (self, name))
/* Give it up. TR_OK too if this actor hasn't got it. TR_EFULL, TR_ENOMEM: not now. */
TR_FN(tr_err, release_name, (tr_actor * self, const char *name), (self, name))

/* ---- large messages from other nodes (docs/large-messages.md) -------------------------------------------- */

/* The descriptor of the file that a buffer came in, if its receiver had it spooled (tr_actor_def.spool_above): buffer->size
 * bytes from its beginning, to be read by pread, sendfile and the like, which say where. It is the buffer's, as long as
 * somebody holds that: don't close it, write to it or move its position. -1: the bytes are in memory only. buffer->data is
 * good in both cases; but read through the descriptor, a file takes none of the process's memory. Any thread. */
TR_FN(int, buffer_fd, (const tr_buffer *buffer), (buffer))

/* ---- transactions: all that a participant keeps ----------------------------------------------------------- */

/* Within `transact` and `migrate`: `fn` for each key that was there when this was called, in the order of their bytes, with its value of
 * now; not for those that `fn` has deleted meanwhile. It may write. Takes the time of a sort of all keys. TR_ENOMEM: `fn` was
 * not called; else what `fn` returned. */
TR_FN(tr_err, view_each, (tr_txview * v, tr_view_each_fn fn, void *context), (v, fn, context))

/* ---- what transactions emit (docs/outbox.md) ------------------------------------------------------------- */

/* Within `transact`: send a copy of `body` (the macro tr_view_emit makes it) to the actor of that name, "node/actor" (or
 * "actor", of this node), if this transaction commits, and when that is durable: never for one that aborts, and whatever
 * is killed. It is sent until its receiver has it: an actor with `transact` executes it once, as a transaction of its own;
 * another gets it as a message, at least once, with an id (tr_msg_emitted). Those of one node to one receiver come
 * in the order of their commits. A failed one refuses the call, as those of the view do: TR_EPERM: not in a message without TR_WRITES;
 * TR_EINVAL: no such path; TR_ETOOBIG: it counts into the 1 MiB that the call's transaction writes here; TR_ENOMEM. */
TR_FN(tr_err, view_emit_body, (tr_txview * v, const char *to, tr_type *type, const void *body),
      (v, to, type, body))
/* What names an emitted message, the same each time it comes: TRANSACTION/ACTOR/NUMBER. NULL: no transaction emitted it. As
 * long as the message. Any thread. */
TR_FN(const char *, msg_emitted, (const tr_msg *msg), (msg))
