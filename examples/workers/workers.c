/* A boss on one node has workers started on another, linked to it: of the kind that is offered there, and no more than it may
 * have. Both nodes are in this process, each with a thread; two programs on two machines do the same. */
#include <pthread.h>
#include <stdio.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

TR_MESSAGE(skill, (i32, factor)) /* what a worker is started with */
TR_MESSAGE(job, (i32, n))
TR_MESSAGE(result, (i32, n))

/* ---- the shed: what it offers, and to whom ------------------------------------------------------------- */

static tr_err worker_init(tr_actor *self, void *state, const void *arg)
{
    (void)self;
    *(int32_t *)state = ((const skill *)arg)->factor;
    return TR_OK;
}

static void work(tr_actor *self, void *state, const tr_msg *msg)
{
    const job *j = tr_match(msg, job);
    if (j && j->n == 0)
        tr_exit(self, TR_EAPP, "nothing to work on");
    else if (j)
        tr_reply(self, msg, result, .n = j->n * *(int32_t *)state);
}
TR_ACTOR(worker_def, .state_size = sizeof(int32_t), .arg_type = &skill_type, .init = worker_init,
         .receive = work);

static tr_err run_shed(tr_actor *self, void *arg)
{
    (void)arg;
    TR_TRY(tr_offer(self, "worker", &worker_def));
    tr_receive(self, TR_FOREVER); /* until the node is stopped */
    return TR_OK;
}

static void *shed_thread(void *shed)
{
    tr_error error;
    if (tr_node_run(shed, &error) != TR_OK)
        fprintf(stderr, "shed: %s\n", error.text);
    return NULL;
}

/* ---- the boss ------------------------------------------------------------------------------------------ */

static tr_err hire(tr_actor *self, const char *what, int32_t factor, tr_addr *worker)
{
    tr_spawn_at_opts opts = {.link = true};
    const tr_spawned *spawned;
    tr_err err =
        tr_await(self, tr_spawn_at(self, "shed", what, TR_SECONDS(5), &opts, skill, .factor = factor),
                 tr_spawned, &spawned);
    if (err == TR_OK)
        *worker = spawned->actor;
    else
        printf("no %s: %s\n", what, tr_last_error(self)->text);
    return err;
}

static tr_err run_boss(tr_actor *self, void *arg)
{
    tr_addr workers[3];
    const result *r;
    (void)arg;
    tr_trap_exit(self, true);
    for (int i = 0; i < 2; i++) {
        TR_TRY(hire(self, "worker", 7 + i, &workers[i]));
        TR_TRY(tr_await(self, tr_ask(self, workers[i], TR_SECONDS(5), job, .n = 6), result, &r));
        printf("worker %d says %d\n", i, (int)r->n);
    }
    hire(self, "worker", 9, &workers[2]);
    hire(self, "foreman", 9, &workers[2]);

    TR_TRY(tr_send(self, workers[0], job, .n = 0));
    const tr_msg *msg = tr_receive(self, TR_SECONDS(5));
    const tr_exited *exited = msg ? tr_match(msg, tr_exited) : NULL;
    printf("worker 0 has ended: %s\n", exited ? exited->text : "that is what should have come");
    return TR_OK; /* with which worker 1 ends, too: it is linked to who has ended */
}

int main(void)
{
    static const char *const offered[] = {"work*", NULL};
    static const tr_rights rights[] = {
        {.peer = "boss", .may = TR_MAY_SEND | TR_MAY_LINK, .spawn = offered, .spawn_max = 2}};
    tr_error error;
    tr_node *shed = tr_node_create(
        &(tr_node_opts){
            .name = "shed", .listen = "127.0.0.1:0", .rights = rights, .rights_count = 1, .start = run_shed},
        &error);
    const char *join[] = {shed ? tr_node_listen(shed) : NULL, NULL};
    tr_node *boss =
        shed ? tr_node_create(&(tr_node_opts){.name = "boss", .join = join, .start = run_boss}, &error)
             : NULL;
    pthread_t thread;
    if (!boss || pthread_create(&thread, NULL, shed_thread, shed) != 0) {
        fprintf(stderr, "workers: %s\n", boss ? "no thread" : error.text);
        return 1;
    }
    tr_err err = tr_node_run(boss, &error);
    if (err != TR_OK)
        fprintf(stderr, "boss: %s\n", error.text);
    tr_node_destroy(boss);
    tr_node_stop(shed);
    pthread_join(thread, NULL);
    tr_node_destroy(shed);
    return err == TR_OK ? 0 : 1;
}
