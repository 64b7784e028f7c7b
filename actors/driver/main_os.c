/* tr_main: the common options of every program, and a node that runs its first actor. The main thread. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/driver/stopper_os.h"
#include "actors/remote/remote.h"
#include "base/stderr_os.h"
#include "transport/address.h"

#define JOINS_MAX   64
#define PLUGINS_MAX 64

static const char help[] =
    "who this node is, and whom it talks with\n"
    "  --name NAME       its name, unique in the cluster (default: node)\n"
    "  --cluster NAME    the cluster's name; nodes of others are refused (default: troupe)\n"
    "  --listen ADDR     accept other nodes on HOST:PORT (port 0: a free one); beyond loopback with --key "
    "only\n"
    "  --join ADDR       connect to the node that listens there, and stay connected; may be repeated\n"
    "  --advertise ADDR  where others reach this node, if that isn't where it listens\n"
    "  --learn on        connect also to nodes that peers with --learn on tell of (default: off)\n"
    "  --key FILE        talk only with nodes that have this key, encrypted (`troupe key new FILE` makes "
    "one)\n"
    "  --allow FILE      what each peer may do here (default: everything but starting actors)\n"
    "  --heartbeat MS    send each peer something at least this often (default: 500)\n"
    "  --silence S       a peer that isn't heard for S seconds is down (default: 5)\n"
    "  --phi N           or earlier: after a pause so long that it is as rare as 1 in 10^N (default: 8)\n"
    "\n"
    "what it runs and keeps\n"
    "  --loops N         threads that run actors (default: 1)\n"
    "  --plugin FILE.so  run this plugin's actors in the node; may be repeated\n"
    "  --data DIR        keep here what transactions have committed; without it nothing can take part in "
    "one\n"
    "  --outcomes HOURS  how long it remembers what became of a transaction (default: 24)\n"
    "  --message-budget BYTES\n"
    "                    memory for large messages and buffers, e.g. 512M (default: a quarter of all)\n"
    "  --message-max BYTES\n"
    "                    the largest message taken from another node, 1M to 2G (default: 64M)\n"
    "  --spool DIR       where large buffers from other nodes become files, if their receivers want files\n"
    "                    (default: /var/tmp)\n"
    "  --spool-max BYTES\n"
    "                    how much these files may take together (default: 4G)\n"
    "\n"
    "how it is watched, and how it ends\n"
    "  --operator WHAT   socket: `troupe ps` and the like reach this node by its name; none: they don't\n"
    "                    (default: socket if --name is given)\n"
    "  --log LEVEL       error, warn, info or debug (default: warn)\n"
    "  --watchdog MS     log which actor holds its loop for longer than that (default: 50; 0: off)\n"
    "  --overrun MS      stop an actor that holds its loop for that long (default: 0, off)\n"
    "  --stop-timeout S  kill what hasn't stopped S seconds after it was told to (default: 10); a handler "
    "that\n"
    "                    doesn't return for another second ends the process with status 70\n"
    "  --crash-dir DIR   where a crash leaves a report, or none (default: that of --data, else $TMPDIR or "
    "/tmp)\n"
    "  --help            this text\n";

static const struct option options[] = {
    {"name", required_argument, NULL, 'n'},
    {"cluster", required_argument, NULL, 'c'},
    {"loops", required_argument, NULL, 'l'},
    {"listen", required_argument, NULL, 'a'},
    {"join", required_argument, NULL, 'j'},
    {"log", required_argument, NULL, 'g'},
    {"help", no_argument, NULL, 'h'},
    {"plugin", required_argument, NULL, 'p'},
    {"data", required_argument, NULL, 'd'},
    {"outcomes", required_argument, NULL, 'O'},
    {"key", required_argument, NULL, 'k'},
    {"operator", required_argument, NULL, 'o'},
    {"crash-dir", required_argument, NULL, 'C'},
    {"message-budget", required_argument, NULL, 'b'},
    {"message-max", required_argument, NULL, 'm'},
    {"spool", required_argument, NULL, 'z'},
    {"spool-max", required_argument, NULL, 'x'},
    {"stop-timeout", required_argument, NULL, 's'},
    {"watchdog", required_argument, NULL, 'w'},
    {"overrun", required_argument, NULL, 'r'},
    {"allow", required_argument, NULL, 'W'},
    {"advertise", required_argument, NULL, 'A'},
    {"learn", required_argument, NULL, 'L'},
    {"heartbeat", required_argument, NULL, 'H'},
    {"silence", required_argument, NULL, 'S'},
    {"phi", required_argument, NULL, 'P'},
    {NULL, 0, NULL, 0},
};

typedef struct parsed {
    tr_node_opts node;
    const char *joins[JOINS_MAX + 1];
    size_t join_count;
    const char *plugins[PLUGINS_MAX + 1];
    size_t plugin_count;
    bool operator_given;
    const char *crash_dir; /* as given; NULL: not */
    bool help;
} parsed;

static int bad(const char *program, const char *option, const char *value, const char *want)
{
    fprintf(stderr, "%s: --%s %s: %s\n", program, option, value, want);
    return 2;
}

static int parse_log(const char *word, tr_log_level *level)
{
    static const char *const words[] = {"error", "warn", "info", "debug"};
    for (int i = 0; i < 4; i++)
        if (strcmp(word, words[i]) == 0) {
            *level = (tr_log_level)i;
            return 0;
        }
    return 2;
}

/* A number of units of so many seconds each, from `least` to `most`. False: it is none, and *ns is as it was. */
static bool parse_span(const char *value, double unit, double least, double most, uint64_t *ns)
{
    char *end;
    double number = strtod(value, &end);
    if (end == value || *end || !(number >= least && number <= most))
        return false;
    *ns = (uint64_t)(number * unit * 1e9);
    return true;
}

/* "4096", "64K", "512M", "2G"; false: it is none. */
static bool parse_bytes(const char *text, uint64_t *bytes)
{
    static const char units[] = "KMG";
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    uint64_t number = strtoull(text, &end, 10), unit = 1;
    const char *found = *end ? strchr(units, *end) : NULL;
    if (found) {
        unit = UINT64_C(1) << (10 * (found - units + 1));
        end++;
    }
    *bytes = number * unit;
    return *end == '\0' && number > 0 && number <= UINT64_MAX / unit;
}

/* Bad ones are found before a node is made, so that the option is named. */
static int check_address(const char *program, const char *option, const char *value, bool to_listen)
{
    tr__net_address address;
    tr_error error;
    if (tr__net_address_parse(value, to_listen, &address, &error) == TR_OK)
        return 0;
    return bad(program, option, value, error.text);
}

/* Of an address that was checked, when all options are known. */
static int check_listen(const char *program, const tr_node_opts *opts)
{
    tr__net_address address;
    tr_error error;
    if (!opts->listen || opts->key || tr__net_address_parse(opts->listen, true, &address, NULL) != TR_OK ||
        address.kind == TR__HOST_NAME || tr__net_address_is_loopback(&address))
        return 0;
    tr__net_address_refuse(opts->listen, &error);
    return bad(program, "listen", opts->listen, error.text);
}

static int parse_ms(const char *program, const char *option, const char *value, uint64_t zero, uint64_t *ns)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    *ns = number ? TR_MILLIS(number) : zero;
    return *value < '0' || *value > '9' || *end || number > 3600000
               ? bad(program, option, value, "milliseconds, at most an hour of them")
               : 0;
}

/* What is out of range is found by the node, which knows how they belong together. 0 would be "not given". */
static int take_detector(const char *program, int option, const char *value, parsed *p)
{
    char *end;
    double number = strtod(value, &end);
    bool good = *value >= '0' && *value <= '9' && !*end && number >= 0.001 && number <= 1e6;
    switch (option) {
    case 'H':
        p->node.heartbeat_ns = good ? (uint64_t)(number * 1e6) : 0;
        return good ? 0 : bad(program, "heartbeat", value, "milliseconds, 10 to 60000");
    case 'S':
        p->node.silence_ns = good ? (uint64_t)(number * 1e9) : 0;
        return good ? 0 : bad(program, "silence", value, "seconds, at least four heartbeats, at most 3600");
    default:
        good = good && number >= 1 && number <= 16;
        p->node.phi = good ? (uint32_t)number : 0;
        return good && p->node.phi == number ? 0 : bad(program, "phi", value, "a number from 1 to 16");
    }
}

static int take_number(const char *program, int option, const char *value, parsed *p)
{
    char *end = "";
    unsigned long number;
    switch (option) {
    case 'l':
        number = strtoul(value, &end, 10);
        p->node.loops = number < 1 || number > 64 ? 0 : (uint32_t)number;
        return *end || !p->node.loops ? bad(program, "loops", value, "a number from 1 to 64") : 0;
    case 's':
        return parse_span(value, 1, 0.001, 1e6, &p->node.stop_timeout_ns)
                   ? 0
                   : bad(program, "stop-timeout", value, "seconds, from 0.001 on");
    case 'O':
        return parse_span(value, 3600, 1, 1e6, &p->node.outcomes_ns)
                   ? 0
                   : bad(program, "outcomes", value, "hours, from 1 on");
    case 'b':
        return parse_bytes(value, &p->node.message_budget)
                   ? 0
                   : bad(program, "message-budget", value,
                         "a number of bytes from 1 on, as 4096, 64K, 512M, 2G");
    case 'm':
        return parse_bytes(value, &p->node.message_max) && tr__message_max_is_good(p->node.message_max)
                   ? 0
                   : bad(program, "message-max", value, "a number of bytes from 1M to 2G");
    case 'x':
        return parse_bytes(value, &p->node.spool_max)
                   ? 0
                   : bad(program, "spool-max", value, "a number of bytes from 1 on, as 512M, 8G");
    case 'w':
        return parse_ms(program, "watchdog", value, TR_FOREVER, &p->node.watchdog_ns);
    case 'r':
        return parse_ms(program, "overrun", value, 0, &p->node.overrun_ns);
    case 'H':
    case 'S':
    case 'P':
        return take_detector(program, option, value, p);
    default:
        return 2;
    }
}

static int take(const char *program, int option, const char *value, parsed *p)
{
    switch (option) {
    case 'n':
        p->node.name = value;
        if (!p->operator_given)
            p->node.operator_socket = true;
        return 0;
    case 'o':
        p->operator_given = true;
        p->node.operator_socket = strcmp(value, "socket") == 0;
        return p->node.operator_socket || strcmp(value, "none") == 0
                   ? 0
                   : bad(program, "operator", value, "socket or none");
    case 'c':
        p->node.cluster = value;
        return 0;
    case 'a':
        p->node.listen = value;
        return check_address(program, "listen", value, true);
    case 'A':
        p->node.advertise = value;
        return check_address(program, "advertise", value, false);
    case 'L':
        p->node.learn = strcmp(value, "on") == 0;
        return p->node.learn || strcmp(value, "off") == 0 ? 0 : bad(program, "learn", value, "on or off");
    case 'j':
        if (p->join_count == JOINS_MAX)
            return bad(program, "join", value, "at most 64 of these");
        p->joins[p->join_count++] = value;
        return check_address(program, "join", value, false);
    case 'k':
        p->node.key = value;
        return 0;
    case 'W':
        p->node.allow = value;
        return *value ? 0 : bad(program, "allow", "\"\"", "a file is needed");
    case 'p':
        if (p->plugin_count == PLUGINS_MAX)
            return bad(program, "plugin", value, "at most 64 of these");
        p->plugins[p->plugin_count++] = value;
        return 0;
    case 'd':
        p->node.data = value;
        return *value ? 0 : bad(program, "data", "\"\"", "a directory is needed");
    case 'z':
        p->node.spool = value;
        return *value ? 0 : bad(program, "spool", "\"\"", "a directory is needed");
    case 'C':
        p->crash_dir = value;
        return strcmp(value, "none") == 0 || access(value, W_OK | X_OK) == 0
                   ? 0
                   : bad(program, "crash-dir", *value ? value : "\"\"",
                         "a directory that is there and can be written to, or none");
    case 'g':
        return parse_log(value, &p->node.log_level)
                   ? bad(program, "log", value, "one of error, warn, info, debug")
                   : 0;
    case 'h':
        p->help = true;
        return 0;
    case '?':
        fprintf(stderr, "%s: --help tells the options\n", program);
        return 2;
    default:
        return take_number(program, option, value, p);
    }
}

/* To its end, or SIGINT or SIGTERM; one that comes while it is destroyed changes nothing. */
static tr_err run_and_destroy(tr_node *node, tr_error *error)
{
    tr__stopper stopper;
    tr_err err = tr__stopper_open(&stopper, (const int[]){SIGINT, SIGTERM, 0}, error);
    if (err != TR_OK) {
        tr_node_destroy(node);
        return err;
    }
    signal(SIGPIPE, SIG_IGN);
    tr__stopper_node(&stopper, node);
    err = tr_node_run(node, error);
    tr__stopper_node(&stopper, NULL);
    tr_node_destroy(node);
    tr__stopper_close(&stopper);
    return err;
}

static const char *crash_dir_of(const parsed *p)
{
    const char *temporary = getenv("TMPDIR");
    if (p->crash_dir)
        return strcmp(p->crash_dir, "none") == 0 ? NULL : p->crash_dir;
    if (p->node.data)
        return p->node.data;
    return temporary && *temporary ? temporary : "/tmp";
}

int tr_main(int argc, char **argv, tr_err (*start)(tr_actor *self, void *arg), void *arg)
{
    parsed p = {.node = {.log_level = TR_LOG_WARN, .start = start, .exit_if_stuck = true}};
    const char *program = argc > 0 ? argv[0] : "program";
    int option, status = 0;
    optind = 1;
    while (status == 0 && (option = getopt_long(argc, argv, "+", options, NULL)) != -1)
        status = take(program, option, optarg, &p);
    if (status != 0)
        return status;
    if (p.help) {
        printf("usage: %s [options] [arguments]\n\n%s", program, help);
        return 0;
    }
    if (check_listen(program, &p.node) != 0)
        return 2;
    p.node.crash_dir = crash_dir_of(&p);
    p.node.join = p.joins;
    p.node.plugins = p.plugin_count ? p.plugins : NULL;
    p.node.arg = arg ? arg : argv + optind;
    signal(SIGXFSZ, SIG_IGN); /* a limit of the log's size is then like a full disk */
    tr_error error = {0};
    tr_node *node = tr_node_create(&p.node, &error);
    if (!node) {
        tr__stderr_line(program, error.text);
        return error.code == TR_EINVAL ? 2 : 1; /* a bad name */
    }
    tr_err err = run_and_destroy(node, &error);
    if (err != TR_OK) {
        char text[TR_ERROR_TEXT_MAX + 32];
        snprintf(text, sizeof(text), "%s: %s", tr_err_word(err), error.text);
        tr__stderr_line(program, text);
    }
    return err == TR_OK ? 0 : 1;
}
