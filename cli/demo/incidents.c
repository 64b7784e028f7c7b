/* See incidents.h. An incident waits by the script's steps, and a step looks at the keys: `under_way` keeps it from
 * beginning within another. How it can fail: nobody notices, or bob doesn't come back in time; each has a text. */
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/demo/incidents.h"
#include "cli/demo/keys.h"
#include "cli/demo/node.h"
#include "cli/demo/screen.h"
#include "cli/demo/tx.h"

#define SILENCE_WITHIN TR_SECONDS(30) /* it is noticed after 4 to 5 s */
#define HEALED_WITHIN  TR_SECONDS(30) /* dialled again with a back-off of 5 s at most */
#define CUT_MOST       TR_SECONDS(60) /* by a key; then it is healed without one */
#define HALT_WITHIN    TR_SECONDS(3)  /* for a transaction to come */
#define LOOK           TR_MILLIS(600) /* bob stays dead that long */
#define PHASE_MORE     TR_SECONDS(1)  /* after it has healed: what it cost is measured */

tr_err demo_set_phase(demo *d, demo_phase_kind phase)
{
    d->phase = phase;
    return demo_told(d, tr_send(d->self, d->probe, demo_phase, .phase = phase), "telling the probe");
}

/* ---- what all have in common --------------------------------------------------------------------------- */

static bool asks_held(demo *d)
{
    return d->armed;
}

static bool death_noticed(demo *d)
{
    return d->asks_failed && d->down_ns;
}

static bool bob_up(demo *d)
{
    return d->children[DEMO_BOB].up;
}

static bool bob_back(demo *d)
{
    return d->healed_ns != 0 && bob_up(d);
}

static tr_err begin(demo *d, bool with_asks)
{
    d->incidents.under_way = true;
    d->incidents.began_ns = demo_now();
    d->armed = d->asks_failed = false;
    d->failed_asks = d->failed_no_connection = 0;
    d->down_ns = d->healed_ns = d->detected_ns = 0;
    if (with_asks) {
        TR_TRY(demo_told(d, tr_send(d->self, d->children[DEMO_ALICE].role, demo_arm, .asks = DEMO_ASKS),
                         "telling alice"));
        TR_TRY(demo_wait_until(d, asks_held, DEMO_START_WITHIN, "asks of alice that bob holds"));
    }
    d->killed_ns = demo_now();
    return demo_set_phase(d, DEMO_KILL);
}

static tr_err end(demo *d, bool good)
{
    demo_incidents *all = &d->incidents;
    uint64_t now = demo_now();
    all->healed += good;
    all->spent_ns += now - all->began_ns;
    all->phase_until_ns = now + PHASE_MORE;
    all->under_way = false;
    return d->download_began_ns ? demo_begin_download(d) : TR_OK;
}

static bool asks_failed_by_name(const demo *d)
{
    return d->failed_asks == DEMO_ASKS && d->failed_no_connection == DEMO_ASKS;
}

/* ---- killed -------------------------------------------------------------------------------------------- */

/* What a dead bob left half done. What his next life resumes is told from 0 on. */
static void count_parts(demo *d)
{
    d->resumed_earlier += d->resumed;
    d->resumed_bytes_earlier += d->resumed_bytes;
    d->resumed = 0;
    d->resumed_bytes = 0;
    for (uint32_t i = 0; i < d->files; i++) {
        char path[DEMO_PATH + 32];
        struct stat part;
        snprintf(path, sizeof(path), "%s/bob/%u.part", d->directory, i);
        d->parts += stat(path, &part) == 0 && part.st_size > 0;
    }
}

static bool bob_halted(demo *d)
{
    int status;
    if (waitpid(d->children[DEMO_BOB].pid, &status, WNOHANG | WUNTRACED) > 0 && WIFSTOPPED(status))
        d->incidents.halted = true;
    return d->incidents.halted || demo_now() - d->killed_ns > HALT_WITHIN;
}

static tr_err halt_in_transaction(demo *d)
{
    d->incidents.halted = false;
    TR_TRY(demo_told(d, tr_send(d->self, d->children[DEMO_BOB].role, demo_halt, .point = "commit-forced"),
                     "telling bob where to halt"));
    return demo_wait_until(d, bob_halted, DEMO_START_WITHIN, "bob to halt");
}

tr_err demo_kill_bob(demo *d, bool in_transaction)
{
    int status;
    demo_child *bob = &d->children[DEMO_BOB];
    TR_TRY(begin(d, true));
    d->incidents.kills++;
    if (in_transaction)
        TR_TRY(halt_in_transaction(d));
    demo_screen_event(d, "kill -9 bob (process %ld)%s; %u/%u files there, %u asks open", (long)bob->pid,
                      in_transaction && d->incidents.halted ? ": he has decided a tx, told nobody" : "",
                      d->fetched, d->files, DEMO_ASKS);
    d->incidents.halts += in_transaction && d->incidents.halted;
    d->killed_ns = demo_now();
    kill(bob->pid, SIGKILL);
    waitpid(bob->pid, &status, 0);
    bob->pid = 0;
    demo_tx_killed(d);
    bob->up = false;
    close(bob->out);
    bob->out = -1;
    count_parts(d);
    demo_screen_draw(d, true);
    TR_TRY(demo_wait_until(d, death_noticed, DEMO_START_WITHIN, "somebody to notice that bob is dead"));
    if (in_transaction)
        TR_TRY(demo_watch_for(d, LOOK)); /* so that it is seen what waits for him */
    TR_TRY(demo_start_bob(d));
    TR_TRY(demo_wait_until(d, bob_back, DEMO_START_WITHIN, "bob to come back"));
    return end(d, asks_failed_by_name(d) && bob->was != bob->incarnation);
}

/* ---- cut off ------------------------------------------------------------------------------------------- */

static tr_err set_interface(demo *d, bool cut)
{
    tr_error error;
    if (demo_net_cut(DEMO_BOB, cut, &error) != TR_OK)
        return demo_trouble_is(d, error.code, "%s", error.text);
    d->incidents.cut = cut;
    return TR_OK;
}

static bool heal_asked_for(demo *d)
{
    return d->incidents.heal || demo_now() - d->killed_ns > CUT_MOST;
}

/* If he was cut off for less than it takes to notice, TCP goes on by itself, and nothing was lost. */
static tr_err heal(demo *d)
{
    bool noticed = d->down_ns != 0;
    uint64_t cut_ns = demo_now() - d->killed_ns;
    TR_TRY(set_interface(d, false));
    demo_screen_event(d, "bob's interface is up again after %.1f s%s", (double)cut_ns / 1e9,
                      noticed ? ": he is dialled again" : ", nobody had noticed yet");
    TR_TRY(demo_wait_until(d, bob_up, HEALED_WITHIN, "bob to be connected again"));
    if (!d->healed_ns)
        d->healed_ns = demo_now();
    if (noticed)
        demo_screen_event(d, "bob is connected again, the same incarnation %04x, %.1f s after that",
                          (unsigned)(d->children[DEMO_BOB].incarnation & 0xffff),
                          (double)(d->healed_ns - d->killed_ns - cut_ns) / 1e9);
    return TR_OK;
}

static tr_err cut(demo *d, bool by_key)
{
    TR_TRY(begin(d, !by_key));
    d->incidents.cuts++;
    d->incidents.heal = false;
    demo_screen_event(d, "bob is cut off: his interface is down, nobody is told%s",
                      by_key ? "; p heals" : ", 3 asks of alice open");
    TR_TRY(set_interface(d, true));
    if (by_key) {
        TR_TRY(demo_wait_until(d, heal_asked_for, 2 * CUT_MOST, "the end of the cut"));
    } else {
        TR_TRY(demo_wait_until(d, death_noticed, SILENCE_WITHIN, "somebody to notice that bob is cut off"));
        TR_TRY(demo_watch_for(d, TR_SECONDS(1)));
    }
    TR_TRY(heal(d));
    return end(d, by_key || asks_failed_by_name(d));
}

tr_err demo_cut_bob(demo *d)
{
    return cut(d, false);
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

static tr_err refuse(demo *d, char key, const char *why)
{
    demo_screen_event(d, "%c: %s", key, why);
    return TR_OK;
}

static tr_err press_k(demo *d)
{
    if (d->incidents.under_way || !bob_up(d))
        return refuse(d, 'k', d->incidents.cut ? "bob is cut off, p heals him first" : "bob isn't up");
    return d->incidents.allowed ? demo_kill_bob(d, false) : refuse(d, 'k', "not now, the work has to run");
}

static tr_err press_p(demo *d)
{
    if (!d->net.network)
        return refuse(d, 'p', "without --netns all nodes share one network: nobody can be cut off");
    if (d->incidents.cut) {
        d->incidents.heal = true;
        return TR_OK;
    }
    if (d->incidents.under_way || !bob_up(d))
        return refuse(d, 'p', "bob isn't up");
    return d->incidents.allowed ? cut(d, true) : refuse(d, 'p', "not now, the work has to run");
}

static tr_err press(demo *d, char key)
{
    if (key == 'q')
        return demo_trouble_is(d, TR_ECANCELED, "stopped by the key q");
    if (key == 'k')
        return press_k(d);
    return key == 'p' ? press_p(d) : TR_OK;
}

tr_err demo_incident_keys(demo *d)
{
    demo_incidents *all = &d->incidents;
    if (d->phase == DEMO_KILL && all->allowed && !all->under_way && demo_now() > all->phase_until_ns)
        TR_TRY(demo_set_phase(d, d->download_began_ns ? DEMO_BUSY : DEMO_QUIET));
    char key = d->screen->keys ? demo_keys_next() : 0;
    return key ? press(d, key) : TR_OK;
}
