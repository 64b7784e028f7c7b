/* The rows of test_api_memory.c, which includes this: each is one or more calls of the API, in a puppet or (names that end in
 * a fiber's) in a fiber, and the table that says which. */
#ifndef TESTS_UNIT_API_MEMORY_ROWS_H
#define TESTS_UNIT_API_MEMORY_ROWS_H

static tr_err code_of(tr_actor *self)
{
    tr_err err = tr_last_error(self)->code;
    return err ? err : TR_EAPP;
}

static tr_err row_send(tr_actor *self, rig *r)
{
    TR_TRY(tr_send(self, r->peer.address, mark, .n = 1));
    return tr_send(self, r->peer.address, note, .n = 2, .text = "of some length, so that it isn't flat");
}

static tr_err row_send_msg(tr_actor *self, rig *r)
{
    note body = {.n = 1, .text = "made"};
    tr_msg *msg = tr_msg_make(self, &note_type, &body);
    if (!msg)
        return code_of(self);
    tr_err err = tr_send_msg(self, r->peer.address, &msg);
    tr_msg_free(self, &msg);
    return err;
}

static tr_err row_notify(tr_actor *self, rig *r)
{
    return tr_notify_writable(self, r->peer.address);
}

static tr_err row_mailbox(tr_actor *self, rig *r)
{
    tr_send_opts opts = {.ttl_ns = TR_SECONDS(1)};
    TR_TRY(tr_send_with(self, r->peer.address, &opts, mark, .n = 1));
    return tr_notify_level(self, r->peer.address, 50);
}

static void as_another(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    (void)state;
    (void)msg;
}

static tr_err row_become(tr_actor *self, rig *r)
{
    (void)r;
    tr_msg *none = NULL;
    assert_int_equal(tr_defer(self, none), TR_EINVAL);
    TR_TRY(tr_become(self, as_another));
    TR_TRY(tr_become(self, NULL));
    tr_undefer(self);
    return TR_OK;
}

static tr_err row_dead_letters(tr_actor *self, rig *r)
{
    tr_addr nobody = r->peer.address;
    nobody.generation++;
    TR_TRY(tr_watch_dead_letters(self, true));
    return tr_send(self, nobody, mark, .n = 1);
}

static tr_err row_words(tr_actor *self, rig *r)
{
    char text[TR_ADDR_TEXT_MAX];
    tr_addr address;
    note body = {.n = 1, .text = "\xc3\xbc"};
    tr_msg *msg = tr_msg_make(self, &note_type, &body);
    if (!msg)
        return code_of(self);
    char *json = tr_msg_json(msg);
    const char *said = tr_fmt(self, "%s", tr_msg_type_name(msg));
    tr_err err = json && said[0] ? TR_OK : tr_fail(self, TR_ENOMEM, "no text");
    free(json);
    assert_non_null(tr_match(msg, note));
    assert_true(tr_addr_is_none(tr_msg_sender(msg)) && tr_msg_ask_number(msg) == 0 && tr_msg_tag(msg) == 0);
    assert_true(tr_msg_remaining(self, msg) == TR_FOREVER);
    tr_msg_free(self, &msg);
    tr_addr_format(tr_self(self), text);
    TR_TRY(tr_addr_parse(text, &address));
    assert_true(tr_addr_equal(address, tr_self(self)) && tr_node_of(self) == r->b->m->node);
    assert_string_equal("full", tr_err_word(TR_EFULL));
    tr_log(self, TR_LOG_DEBUG, "%s %llu", text, (unsigned long long)(tr_now(self) + tr_random(self)));
    tr_assert_that(self, TR_ALWAYS, tr_state(self) != NULL, "a puppet has a state");
    return err;
}

static tr_err row_spawn(tr_actor *self, rig *r)
{
    (void)r;
    static manual_puppet child[2]; /* ends with the node */
    memset(child, 0, sizeof(child));
    uint64_t monitor;
    tr_spawn_opts opts = {.name = "child", .link = true, .monitor = &monitor, .place = TR_PLACE_SPREAD};
    tr_trap_exit(self, true);
    if (tr_addr_is_none(tr_spawn_with(self, &manual_puppet_def, &child[0], &opts)))
        return code_of(self);
    opts = (tr_spawn_opts){.place = TR_PLACE_LOOP, .loop = 1};
    tr_future f = tr_spawn_ask(self, &manual_puppet_def, &child[1], &opts);
    if (!f.id)
        return code_of(self);
    manual_then(self, f);
    return TR_OK;
}

static tr_err row_watch(tr_actor *self, rig *r)
{
    uint64_t first = tr_monitor(self, r->peer.address), second = tr_monitor(self, r->peer.address);
    tr_demonitor(self, second);
    tr_trap_exit(self, true);
    TR_TRY(tr_link(self, r->peer.address));
    TR_TRY(tr_unlink(self, r->peer.address));
    TR_TRY(tr_watch_nodes(self));
    TR_TRY(tr_stop(self, r->peer.address, TR_EXIT_SHUTDOWN));
    return first && second ? TR_OK : code_of(self);
}

static tr_err row_kill_and_exit(tr_actor *self, rig *r)
{
    tr_exit(self, TR_EAPP, "it has seen enough");
    return tr_stop(self, r->peer.address, TR_EXIT_KILLED);
}

static tr_err row_names(tr_actor *self, rig *r)
{
    (void)r;
    TR_TRY(tr_register_name(self, "whoever"));
    assert_true(tr_addr_equal(tr_whereis(self, "whoever"), tr_self(self)));
    tr_future f = tr_lookup(self, "alice/whoever", TR_SECONDS(1));
    if (!f.id)
        return code_of(self);
    manual_then(self, f);
    return TR_OK;
}

static tr_err row_supervise(tr_actor *self, rig *r)
{
    (void)r;
    static manual_puppet child;
    memset(&child, 0, sizeof(child));
    const tr_child_spec children[] = {
        {.id = "one", .def = &manual_puppet_def, .arg = &child, .restart = TR_TEMPORARY, .named = true}};
    tr_trap_exit(self, true);
    tr_addr top = tr_supervise(self, &(tr_supervisor_spec){.children = children, .count = 1});
    return tr_addr_is_none(top) ? code_of(self) : TR_OK;
}

static tr_err row_children(tr_actor *self, rig *r)
{
    (void)r;
    static manual_puppet child;
    memset(&child, 0, sizeof(child));
    const tr_child_spec one = {
        .id = "one", .def = &manual_puppet_def, .arg = &child, .restart = TR_TEMPORARY};
    tr_trap_exit(self, true);
    tr_trap_stop(self, true);
    tr_trap_stop(self, false);
    tr_addr top = tr_supervise(self, &(tr_supervisor_spec){.tell = true});
    if (tr_addr_is_none(top))
        return code_of(self);
    tr_future f[] = {tr_supervisor_ready(self, top), tr_supervisor_start_child(self, top, &one),
                     tr_supervisor_child(self, top, 0), tr_supervisor_stop_child(self, top, "one")};
    for (size_t i = 0; i < TR_COUNT(f); i++) {
        if (!f[i].id)
            return code_of(self);
        manual_then(self, f[i]);
    }
    return TR_OK;
}

static tr_err row_again(tr_actor *self, rig *r)
{
    (void)r;
    tr_timer every = tr_every(self, TR_SECONDS(5)), idle = tr_idle_after(self, TR_SECONDS(2));
    uint64_t name = tr_monitor_name(self, "whoever"), other = tr_monitor_name(self, "alice/nobody");
    tr_err err = every.id && idle.id && name && other ? tr_register_name(self, "whoever") : code_of(self);
    tr_timer_cancel(self, idle);
    tr_demonitor(self, other);
    return err;
}

static const tr_actor_def far_def = {.name = "far", .arg_type = &mark_type, .receive = as_another};
static tr_err row_spawn_at(tr_actor *self, rig *r)
{
    uint64_t monitor = (uintptr_t)r;
    tr_trap_exit(self, true);
    TR_TRY(tr_offer(self, "far", &far_def));
    tr_spawn_at_opts opts = {.link = true, .monitor = &monitor};
    tr_future here = tr_spawn_at(self, "node", "far", TR_SECONDS(1), &opts, mark, .n = 1);
    tr_future there = tr_spawn_at(self, "bob", "far", TR_SECONDS(1), NULL, mark, .n = 1);
    if (here.id)
        manual_then(self, here);
    tr_cancel(self, there);
    return here.id && there.id ? TR_OK : code_of(self);
}

static tr_err row_claim(tr_actor *self, rig *r)
{
    (void)r;
    tr_future claimed = tr_claim_name(self, "somebody");
    manual_then(self, claimed);
    return claimed.id ? tr_release_name(self, "somebody") : code_of(self);
}

static tr_err row_ask(tr_actor *self, rig *r)
{
    tr_future f[3], g;
    for (int i = 0; i < 3; i++)
        f[i] = tr_ask(self, r->peer.address, TR_SECONDS(1), mark, .n = (uint64_t)i);
    g = tr_gather(self, f, 2);
    if (g.id)
        manual_then(self, g);
    tr_cancel(self, f[2]);
    const tr_msg *msg;
    tr_err early = tr_take_result(self, f[0], &msg);
    assert_true(early == TR_EAGAIN || early == TR_ENOMEM || early == TR_EINVAL);
    return f[0].id && f[1].id && f[2].id && g.id ? TR_OK : code_of(self);
}

static tr_err row_confirmed(tr_actor *self, rig *r)
{
    tr_future future = tr_send_confirmed(self, r->peer.address, TR_SECONDS(1), mark, .n = 1);
    if (!future.id)
        return code_of(self);
    manual_then(self, future);
    return TR_OK;
}

static tr_err row_futures(tr_actor *self, rig *r)
{
    tr_future f[4], settled, first;
    for (int i = 0; i < 4; i++)
        f[i] = tr_ask(self, r->peer.address, TR_SECONDS(1), mark, .n = (uint64_t)i);
    settled = tr_gather_settled(self, f, 2);
    first = tr_first_of(self, f + 2, 1);
    TR_TRY(tr_pipe(self, f[3], 7));
    TR_TRY(tr_pipe(self, settled, 8));
    return first.id ? TR_OK : code_of(self);
}

static tr_err row_group(tr_actor *self, rig *r)
{
    tr_group group = tr_group_open(self);
    tr_future f[2];
    for (int i = 0; i < 2; i++)
        f[i] = tr_ask(self, r->peer.address, TR_SECONDS(1), mark, .n = (uint64_t)i);
    size_t index;
    TR_TRY(tr_wait_any(self, f, 2, &index));
    tr_group_add(self, group, f[0]);
    tr_group_add(self, group, f[1]);
    const mark *m;
    const tr_msg *msg;
    tr_err one = tr_group_next(self, group, mark, &m), two = tr_group_next_msg(self, group, &msg);
    tr_err all = tr_group_close(self, group);
    return one ? one : two ? two : all;
}

static tr_err row_forward(tr_actor *self, rig *r)
{
    tr_future f = tr_ask(self, r->peer.address, TR_SECONDS(1), note, .n = 1, .text = "on, please");
    if (!f.id)
        return code_of(self);
    manual_then(self, f);
    return TR_OK;
}

static tr_err row_stream(tr_actor *self, rig *r)
{
    tr_future f =
        tr_ask_stream(self, r->peer.address, TR_SECONDS(1), 2, note, .n = 6, .text = "stream, please");
    if (!f.id)
        return code_of(self);
    TR_TRY(tr_each(self, f, take_item, NULL));
    manual_then(self, f);
    return TR_OK;
}

static tr_err row_stream_fiber(tr_actor *self, rig *r)
{
    tr_future f =
        tr_ask_stream(self, r->peer.address, TR_SECONDS(1), 2, note, .n = 6, .text = "stream, please");
    const tr_msg *msg;
    const note *n;
    uint64_t came = 0;
    if (!f.id)
        return code_of(self);
    if (tr_next_msg(self, f, &msg) == TR_OK)
        came++;
    while (tr_next(self, f, note, &n) == TR_OK)
        came++;
    tr_err err = tr_await_msg(self, f, NULL);
    return err == TR_OK && came != 6 ? tr_fail(self, TR_EPROTO, "an item is missing") : err;
}

static tr_err row_timer(tr_actor *self, rig *r)
{
    (void)r;
    tr_timer one = tr_after(self, TR_MILLIS(1), note, .n = 1, .text = "later");
    tr_timer two = tr_after(self, TR_MILLIS(2), mark, .n = 2);
    tr_timer_cancel(self, two);
    return one.id && two.id ? TR_OK : code_of(self);
}

static tr_err row_alloc(tr_actor *self, rig *r)
{
    void *one = tr_alloc(self, 100), *two = tr_alloc(self, 100000);
    (void)r;
    tr_free(self, one);
    return one && two ? TR_OK : code_of(self);
}

static tr_err fake_watch(tr__loop *loop, int fd, uint32_t events, uint64_t id, tr_error *error)
{
    (void)loop, (void)fd, (void)events, (void)id, (void)error;
    return TR_OK;
}

static void fake_unwatch(tr__loop *loop, int fd)
{
    (void)loop, (void)fd;
}

static tr_err row_fd(tr_actor *self, rig *r)
{
    static const tr__fd_seam fake = {fake_watch, fake_unwatch};
    (void)r;
    tr__owner(self)->node->seams.kinds.fds = &fake;
    TR_TRY(tr_fd_watch(self, 1, TR_FD_READ));
    tr_err err = tr_fd_watch(self, 2, TR_FD_WRITE);
    tr_fd_unwatch(self, 1);
    return err;
}

static tr_err row_post(tr_actor *self, rig *r)
{
    (void)self;
    tr_err err = tr_post(r->b->m->node, r->peer.address, note, .n = 1, .text = "from outside");
    return err ? tr_fail(self, err, "posting") : TR_OK;
}

static tr_err row_buffer(tr_actor *self, rig *r)
{
    (void)r;
    char *own = malloc(8);
    const tr_buffer *made = tr_buffer_make(self, "abc", 3),
                    *adopted = tr_buffer_adopt(self, own, 8, NULL, NULL);
    if (!adopted)
        free(own);
    tr_err err = made && adopted ? tr_buffer_hold(self, made) : code_of(self);
    assert_int_equal(tr_buffer_fd(made), -1);
    assert_int_equal(tr_buffer_fd(adopted), -1);
    if (err == TR_OK)
        err = tr_buffer_release(self, made);
    if (made)
        tr_buffer_release(self, made);
    return err;
}

static tr_err row_fiber(tr_actor *self, rig *r)
{
    const mark *m;
    TR_TRY(tr_sleep(self, TR_MILLIS(1)));
    TR_TRY(tr_await(self, tr_ask(self, r->peer.address, TR_SECONDS(1), mark, .n = 1), mark, &m));
    const tr_msg *msg = tr_receive(self, TR_MILLIS(1));
    assert_null(msg);
    if (tr_last_error(self)->code != TR_EDEADLINE)
        return code_of(self);
    assert_null(tr_receive_type(self, TR_MILLIS(1), mark));
    return tr_last_error(self)->code == TR_EDEADLINE ? TR_OK : code_of(self);
}

static tr_err pay(tr_actor *self, tr_tx *tx, void *arg)
{
    (void)self;
    (void)arg;
    const balance_is *is;
    TR_TRY(tr_tx_await(tx, "account", credit, .amount = 5));
    TR_TRY(tr_tx_await(tx, "account", set_note, .text = "paid"));
    TR_TRY(tr_tx_await(tx, "account", delete_note));
    return tr_tx_await_reply(tx, "account", balance_is, &is, get_balance);
}

/* An outcome is told in every case; what it can be said to be, depends. */
static tr_err row_transaction_fiber(tr_actor *self, rig *r)
{
    tr_tx tx = tr_tx_begin(self, NULL);
    const tr_tx_ticket_is *ticket;
    TR_TRY(tr_tx_await(&tx, "account", credit, .amount = 1));
    TR_TRY(tr_await(self, tr_tx_ticket(&tx), tr_tx_ticket_is, &ticket));
    char kept[TR_TX_TICKET_MAX];
    snprintf(kept, sizeof(kept), "%s", ticket->ticket);
    tr_tx_outcome out = tr_tx_outcome_of(self, tr_tx_commit(&tx));
    tr_tx_outcome again = tr_tx_outcome_of(self, tr_tx_resolve(self, kept, TR_SECONDS(1)));
    if (out.status != TR_TX_UNKNOWN && again.status != TR_TX_UNKNOWN)
        assert_int_equal(out.status, again.status);
    tr_tx gone = tr_tx_begin(self, NULL);
    tr_future call = tr_tx_call(&gone, "account", credit, .amount = 100);
    tr_tx_abort(&gone);
    tr_cancel(self, call);
    tr_tx_outcome last = tr_tx_run(self, pay, r, NULL);
    if (out.status == TR_TX_COMMITTED && again.status == TR_TX_COMMITTED && last.status == TR_TX_COMMITTED)
        return TR_OK;
    return tr_fail(self, TR_EABORTED, "%s%s%s", out.text, again.text, last.text);
}

/* Of an answered ask; and of one that is answered by an error. The peer does it. */
static tr_err row_reply(tr_actor *self, rig *r)
{
    tr_future f = tr_ask(self, r->peer.address, TR_SECONDS(1), note, .n = 1, .text = "an error, please");
    if (!f.id)
        return code_of(self);
    manual_then(self, f);
    return TR_OK;
}

static const struct {
    const char *name; /* what it calls: names of api_list.h */
    tr_err (*puppet)(tr_actor *self, rig *r);
    tr_err (*fiber)(tr_actor *self, rig *r);
} rows[] = {
    {"send_body", row_send, row_send},
    {"send_msg msg_make msg_free", row_send_msg, row_send_msg},
    {"notify_writable", row_notify, row_notify},
    {"send_with_body notify_level", row_mailbox, row_mailbox},
    {"defer undefer become", row_become, NULL},
    {"watch_dead_letters", row_dead_letters, NULL},
    {"match_type msg_type_name msg_sender msg_ask_number msg_remaining msg_tag msg_json fmt self state now "
     "random "
     "log fail "
     "last_error addr_format addr_parse err_word node_of assert_that",
     row_words, NULL},
    {"spawn_with spawn_ask trap_exit then", row_spawn, NULL},
    {"monitor demonitor link unlink watch_nodes stop", row_watch, row_watch},
    {"exit", row_kill_and_exit, row_kill_and_exit},
    {"register_name whereis lookup", row_names, NULL},
    {"supervise", row_supervise, row_supervise},
    {"trap_stop supervisor_ready supervisor_start_child supervisor_stop_child supervisor_child", row_children,
     NULL},
    {"every idle_after monitor_name", row_again, NULL},
    {"offer spawn_at_body", row_spawn_at, NULL},
    {"claim_name release_name", row_claim, NULL},
    {"ask_body gather cancel take_result", row_ask, NULL},
    {"send_confirmed_body", row_confirmed, NULL},
    {"gather_settled first_of pipe", row_futures, NULL},
    {"wait_any_at group_open group_add group_next_at group_next_type_at group_close", NULL, row_group},
    {"forward", row_forward, NULL},
    {"ask_stream_body each reply_item_at msg_demand", row_stream, NULL},
    {"next_msg_at next_type_at", NULL, row_stream_fiber},
    {"after_body timer_cancel", row_timer, row_timer},
    {"fd_watch fd_unwatch", row_fd, row_fd},
    {"alloc free", row_alloc, row_alloc},
    {"post_body", row_post, NULL},
    {"buffer_make buffer_adopt buffer_hold buffer_release buffer_fd", row_buffer, row_buffer},
    {"await_msg_at await_type_at receive_at receive_match_at sleep_at", NULL, row_fiber},
    {"tx_begin tx_call_body tx_commit tx_abort tx_ticket tx_resolve tx_outcome_of tx_run view_get view_put "
     "view_del "
     "view_i64 view_put_i64 view_text view_put_text view_reply_body refuse view_each",
     NULL, row_transaction_fiber},
    {"reply_body reply_error msg_take", row_reply, NULL},
};

#endif
