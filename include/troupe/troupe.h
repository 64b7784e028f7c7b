/* Troupe: actors in C. Include this one; <troupe/node.h> besides in programs that run nodes by hand, and the
 * headers of the shipped kinds as they are needed.
 *
 * Actors call what api_list.h lists; the macros below make typed calls of it. */
#ifndef TROUPE_TROUPE_H
#define TROUPE_TROUPE_H

#include <stdarg.h>
#include <string.h>

#include <troupe/actor.h>
#include <troupe/err.h>
#include <troupe/message.h>
#include <troupe/tx.h>

#ifdef TR_PLUGIN
#include <troupe/plugin.h>
#else
#define TR_FN(returns, name, parameters, arguments) returns tr_##name parameters;
#define TR_FNV(returns, name, index, parameters, arguments) \
    returns tr_##name(TR__UNWRAP parameters, ...) __attribute__((format(printf, index, index + 1)));
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV
#endif

/* tr_send(self, to, greet, .name = "ada") */
#define tr_send(self, to, type, ...) tr_send_body((self), (to), &type##_type, &(type){__VA_ARGS__})
/* tr_send_with(self, to, (&(tr_send_opts){.ttl_ns = TR_SECONDS(5)}), price, .cents = 990) */
#define tr_send_with(self, to, opts, type, ...) \
    tr_send_with_body((self), (to), &type##_type, &(type){__VA_ARGS__}, (opts))
/* tr_future f = tr_send_confirmed(self, to, TR_SECONDS(30), order, .item = "tea") */
#define tr_send_confirmed(self, to, timeout_ns, type, ...) \
    tr_send_confirmed_body((self), (to), (timeout_ns), &type##_type, &(type){__VA_ARGS__})
/* tr_future f = tr_ask(self, to, TR_SECONDS(1), greet, .name = "ada") */
#define tr_ask(self, to, timeout_ns, type, ...) \
    tr_ask_body((self), (to), (timeout_ns), &type##_type, &(type){__VA_ARGS__})
/* tr_reply(self, msg, greeting, .text = "hello") */
#define tr_reply(self, msg, type, ...) tr_reply_body((self), (msg), &type##_type, &(type){__VA_ARGS__})
/* tr_after(self, TR_SECONDS(1), tick, .n = 1) */
#define tr_after(self, delay_ns, type, ...) \
    tr_after_body((self), (delay_ns), &type##_type, &(type){__VA_ARGS__})
/* tr_post(node, to, greet, .name = "ada"): from any foreign thread */
#define tr_post(node, to, type, ...) tr_post_body((node), (to), &type##_type, &(type){__VA_ARGS__})
/* The rest is the argument; variadic so that it may be a compound literal with commas in it. */
#define tr_spawn(self, def, ...) tr_spawn_with((self), (def), (__VA_ARGS__), NULL)
/* What waits says where in the source it does: "file:line". */
#define TR__HERE          __FILE__ ":" TR__TEXT(__LINE__)
#define TR__TEXT(number)  TR__TEXT2(number)
#define TR__TEXT2(number) #number
/* const greeting *g; tr_err e = tr_await(self, future, greeting, &g): TR_ETYPE if the answer is of another
 * type. */
#define tr_await(self, future, type, out) \
    tr_await_type_at((self), (future), &type##_type, (const void **)(1 ? (out) : (const type **)0), TR__HERE)
/* const tr_msg *answer; tr_err e = tr_await_msg(self, future, &answer) */
#define tr_await_msg(self, future, msg) tr_await_msg_at((self), (future), (msg), TR__HERE)
/* size_t i; tr_err e = tr_wait_any(self, futures, 3, &i) */
#define tr_wait_any(self, futures, count, index) tr_wait_any_at((self), (futures), (count), (index), TR__HERE)
/* tr_future f = tr_spawn_at(self, "bob", "worker", TR_SECONDS(5), NULL, job, .n = 7) */
#define tr_spawn_at(self, node, offer, timeout_ns, opts, type, ...) \
    tr_spawn_at_body((self), (node), (offer), (timeout_ns), &type##_type, &(type){__VA_ARGS__}, (opts))
/* tr_future f = tr_ask_stream(self, to, TR_SECONDS(5), 16, list, .folder = "docs") */
#define tr_ask_stream(self, to, timeout_ns, window, type, ...) \
    tr_ask_stream_body((self), (to), (timeout_ns), (window), &type##_type, &(type){__VA_ARGS__})
/* const entry *e; while (tr_next(self, future, entry, &e) == TR_OK) ... */
#define tr_next(self, future, type, out) \
    tr_next_type_at((self), (future), &type##_type, (const void **)(1 ? (out) : (const type **)0), TR__HERE)
#define tr_next_msg(self, future, item) tr_next_msg_at((self), (future), (item), TR__HERE)
/* tr_err e = tr_reply_item(self, ask, entry, .name = "a.txt") */
#define tr_reply_item(self, ask, type, ...) \
    tr_reply_item_at((self), (ask), &type##_type, &(type){__VA_ARGS__}, TR__HERE)
/* const page *p; while (tr_group_next(self, group, page, &p) == TR_OK) ... */
#define tr_group_next(self, group, type, out)                                                           \
    tr_group_next_type_at((self), (group), &type##_type, (const void **)(1 ? (out) : (const type **)0), \
                          TR__HERE)
#define tr_group_next_msg(self, group, msg) tr_group_next_at((self), (group), (msg), TR__HERE)
/* const tr_msg *msg = tr_receive(self, TR_SECONDS(1)) */
#define tr_receive(self, timeout_ns) tr_receive_at((self), (timeout_ns), TR__HERE)
/* The next message of one type; the next one that a function wants: bool of_job(const tr_msg *msg, void *context). */
#define tr_receive_type(self, timeout_ns, type) \
    tr_receive_match_at((self), (timeout_ns), &type##_type, NULL, NULL, TR__HERE)
#define tr_receive_match(self, timeout_ns, match, context) \
    tr_receive_match_at((self), (timeout_ns), NULL, (match), (context), TR__HERE)
/* TR_TRY(tr_sleep(self, TR_MILLIS(10))) */
#define tr_sleep(self, duration_ns) tr_sleep_at((self), (duration_ns), TR__HERE)

/* tr_always(self, account.balance >= 0, "no account is overdrawn") */
#define tr_always(self, condition, name)    tr_assert_that((self), TR_ALWAYS, (condition), (name))
#define tr_sometimes(self, condition, name) tr_assert_that((self), TR_SOMETIMES, (condition), (name))

/* tr_future f = tr_tx_call(&tx, "alice/account", debit, .amount = 40) */
#define tr_tx_call(tx, path, type, ...) tr_tx_call_body((tx), (path), &type##_type, &(type){__VA_ARGS__})
/* In a fiber: call, and wait until it was executed; what it replied is not wanted. */
#define tr_tx_await(tx, path, type, ...) \
    tr_await_msg((tx)->self, tr_tx_call(tx, path, type, __VA_ARGS__), NULL)
/* const balance *b; tr_err e = tr_tx_await_reply(&tx, "alice/account", balance, &b, get_balance) */
#define tr_tx_await_reply(tx, path, reply_type, out, type, ...) \
    tr_await((tx)->self, tr_tx_call(tx, path, type, __VA_ARGS__), reply_type, out)
/* return tr_view_reply(v, balance, .amount = 40) */
#define tr_view_reply(v, type, ...) tr_view_reply_body((v), &type##_type, &(type){__VA_ARGS__})
/* return tr_view_emit(v, "alice/mailer", letter, .text = "welcome") */
#define tr_view_emit(v, to, type, ...) tr_view_emit_body((v), (to), &type##_type, &(type){__VA_ARGS__})

/* Run a node until `start`, its first actor, returns; then shut down in order. Takes the common options out
 * of argv
 * (--name --cluster --loops --listen --join --key --allow --plugin --data --log; --help tells them); what is left is handed to `start` as a
 * char ** that ends with NULL if `arg` is NULL. Returns the exit status: 0 if start returned TR_OK, 1 if not,
 * 2 for a bad option; errors are printed. Once a process. At SIGINT and SIGTERM the node stops, in order. A thread waits
 * for these signals, and all others must have them blocked: start yours later, from this thread or from an actor; and
 * unblock them in a program that you start other than by compute. */
int tr_main(int argc, char **argv, tr_err (*start)(tr_actor *self, void *arg), void *arg);

#endif
