/* A node inside a program that has a main loop of its own: the loop polls the node's descriptor beside its own, and calls a
 * step when there is something to do. The program's timer posts messages to an actor; the actor ends the node. */
#include <poll.h>
#include <stdio.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#define TICKS 3

TR_MESSAGE(tick, (u64, number))

static tr_addr counter;

static tr_err start(tr_actor *self, void *arg)
{
    (void)arg;
    counter = tr_self(self);
    for (uint64_t n = 0; n < TICKS; n++) {
        const tr_msg *msg = tr_receive(self, TR_FOREVER);
        const tick *t = msg ? tr_match(msg, tick) : NULL;
        if (!t)
            return tr_last_error(self)->code;
        printf("actor:   tick %d\n", (int)t->number);
    }
    return TR_OK; /* its end is the node's */
}

int main(void)
{
    tr_error error;
    tr_node *node = tr_node_create(&(tr_node_opts){.start = start}, &error);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    struct itimerspec every = {.it_interval.tv_nsec = 20000000, .it_value.tv_nsec = 20000000};
    if (!node || timer < 0 || timerfd_settime(timer, 0, &every, NULL) != 0 ||
        tr_node_start(node, &error) != TR_OK) {
        fprintf(stderr, "embedded: %s\n", error.text);
        return 1;
    }
    struct pollfd fds[] = {{.fd = tr_node_fd(node), .events = POLLIN}, {.fd = timer, .events = POLLIN}};
    uint64_t ticks = 0, times;
    for (bool runs = tr_node_step(node, 0); runs;) {
        poll(fds, 2, -1);
        if (fds[0].revents) {
            runs = tr_node_step(node, 0);
        } else if (fds[1].revents && read(timer, &times, sizeof(times)) > 0 && ticks < TICKS) {
            printf("program: tick %d\n", (int)++ticks);
            tr_post(node, counter, tick, .number = ticks);
        }
    }
    tr_err err = tr_node_finish(node, &error);
    tr_node_destroy(node);
    close(timer);
    return err == TR_OK ? 0 : 1;
}
