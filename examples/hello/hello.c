/* Two actors, one question: a greeter, and a fiber that asks it and waits for the answer. */
#include <stdio.h>

#include <troupe/troupe.h>

TR_MESSAGE(greet, (string, name))
TR_MESSAGE(greeting, (string, text))

static void greeter(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)state;
    const greet *g = tr_match(msg, greet); /* NULL if it is another type */
    if (g)
        tr_reply(self, msg, greeting, .text = tr_fmt(self, "hello, %s", g->name));
}
TR_ACTOR(greeter_def, .receive = greeter);

static tr_err start(tr_actor *self, void *arg) /* a fiber: straight-line */
{
    (void)arg;
    tr_addr to = tr_spawn(self, &greeter_def, NULL);
    const greeting *answer;
    TR_TRY(tr_await(self, tr_ask(self, to, TR_SECONDS(1), greet, .name = "world"), greeting, &answer));
    puts(answer->text);
    return TR_OK; /* an error here is this actor's exit reason */
}

int main(int argc, char **argv)
{
    return tr_main(argc, argv, start, NULL);
}
