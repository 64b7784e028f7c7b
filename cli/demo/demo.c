/* `troupe demo`: options, the temporary directory, signals, and the demo's own node. The main thread.
 *
 * The order of things: options -> directory -> node -> script (script.c) -> nodes ended -> directory
 * removed -> report. Whatever happens in between, Ctrl-C included, the last three come: no process and no
 * file is left, but the picture when all went well. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "base/mem.h"
#include "base/stderr_os.h"
#include "cli/cli.h"
#include "cli/demo/demo.h"
#include "cli/demo/directory.h"
#include "cli/demo/files.h"
#include "cli/demo/mandelbrot.h"
#include "cli/demo/node.h"
#include "cli/demo/tx.h"
#include "transport/key_os.h"

#define FILES_DEFAULT 400
#define LOOPS_MOST    16
#define GONE_WITHIN   TR_SECONDS(2)

/* ---- options ------------------------------------------------------------------------------------------- */

static void print_help(void)
{
    printf("usage: troupe demo [options]\n\n"
           "Three nodes on this machine, alice, bob and carol: files are downloaded, digests and a picture "
           "computed,\n"
           "100 requests pipelined; bob is killed at a third and comes back. About half a minute; exit "
           "status 0 only\n"
           "if all of it held.\n\n"
           "  --no-kill     nobody is killed\n"
           "  --netns       each node in a network namespace of its own, as if on a host of its own (root)\n"
           "  --partition   bob is cut off instead of killed, and connected again (with --netns)\n"
           "  --files N     copy at most N files, 1 to %u; fewer make it quicker (default %u)\n"
           "  --dir DIR     whose files are copied (default /usr/share; they are only read)\n"
           "  --image FILE  where the picture goes (default build/mandelbrot.png or ./mandelbrot.png)\n"
           "  --loops N     loops a node, 1 to %u (default 1)\n"
           "  --keep        leave the nodes running and the copies there\n"
           "  --page PORT   serve the page there (default: a free port; its address is told)\n"
           "  --no-page     serve no page\n"
           "  --json        an object a line; the last one is the summary\n"
           "  --help        this text\n\n"
           "Keys, in a terminal: k kills bob (again), p cuts him off and heals (with --netns), q quits.\n"
           "NO_COLOR and TERM=dumb are respected; into a pipe it writes a line an event.\n",
           DEMO_FILES_MOST, FILES_DEFAULT, LOOPS_MOST);
}

static bool number(const char *option, const char *text, uint32_t most, uint32_t *out)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno || end == text || *end || text[0] == '-' || value < 1 || value > most) {
        fprintf(stderr, "troupe demo: --%s \"%s\": a number from 1 to %u is needed\n", option, text, most);
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

static bool fits_together(const demo_opts *opts)
{
    const char *why = NULL;
    if (opts->partition && !opts->netns)
        why = "--partition: without --netns all nodes share one network, so that nobody can be cut off; a "
              "process that "
              "is only stopped would be a pause, not a partition: add --netns (as root)";
    else if (opts->netns && opts->keep)
        why = "--keep: the namespaces of --netns go when the demo ends, and the nodes with them: leave out "
              "one of both";
    if (why)
        fprintf(stderr, "troupe demo: %s\n", why);
    return !why;
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, demo_opts *opts)
{
    enum { NO_KILL = 256, NETNS, PARTITION, FILES, DIR, IMAGE, LOOPS, KEEP, PAGE, NO_PAGE, JSON, HELP };
    static const struct option options[] = {{"no-kill", no_argument, NULL, NO_KILL},
                                            {"netns", no_argument, NULL, NETNS},
                                            {"partition", no_argument, NULL, PARTITION},
                                            {"files", required_argument, NULL, FILES},
                                            {"dir", required_argument, NULL, DIR},
                                            {"image", required_argument, NULL, IMAGE},
                                            {"loops", required_argument, NULL, LOOPS},
                                            {"keep", no_argument, NULL, KEEP},
                                            {"page", required_argument, NULL, PAGE},
                                            {"no-page", no_argument, NULL, NO_PAGE},
                                            {"json", no_argument, NULL, JSON},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    int option;
    uint32_t port = 0;
    opterr = 0;
    *opts =
        (demo_opts){.kill = true, .page = true, .files = FILES_DEFAULT, .loops = 1, .source = "/usr/share"};
    while ((option = getopt_long(argc, argv, "+:h", options, NULL)) != -1) {
        bool good = true;
        if (option == NO_KILL)
            opts->kill = false;
        else if (option == NETNS)
            opts->netns = true;
        else if (option == PARTITION)
            opts->partition = true;
        else if (option == FILES)
            good = number("files", optarg, DEMO_FILES_MOST, &opts->files);
        else if (option == DIR)
            opts->source = optarg;
        else if (option == IMAGE)
            opts->image = optarg;
        else if (option == LOOPS)
            good = number("loops", optarg, LOOPS_MOST, &opts->loops);
        else if (option == KEEP)
            opts->keep = true;
        else if (option == PAGE)
            good = number("page", optarg, UINT16_MAX, &port);
        else if (option == NO_PAGE)
            opts->page = false;
        else if (option == JSON)
            opts->json = true;
        else if (option == HELP || option == 'h')
            return print_help(), 0;
        else
            good = (fprintf(stderr, "troupe demo: %s \"%s\": `troupe demo --help` lists the options\n",
                            option == ':' ? "a value is missing after" : "unknown option", argv[optind - 1]),
                    false);
        if (!good)
            return 2;
    }
    opts->page_port = (uint16_t)port;
    if (optind == argc)
        return fits_together(opts) ? -1 : 2;
    fprintf(stderr, "troupe demo: unexpected \"%s\": `troupe demo --help` lists the options\n", argv[optind]);
    return 2;
}

/* ---- the directory and the picture --------------------------------------------------------------------- */

/* It is the nodes' TMPDIR too: what a library puts there in a node that is killed then goes with it (the sanitizers'
 * has a file there while it starts). Before any thread is started that could be reading the environment. */
static tr_err make_directory(demo *d)
{
    tr_error error;
    tr_err err = demo_directory_make(d->directory, sizeof(d->directory), &error);
    if (err == TR_OK && setenv("TMPDIR", d->directory, 1) != 0)
        err = tr__fail(&error, TR_ENOMEM, "no memory for TMPDIR");
    return err == TR_OK ? TR_OK : demo_trouble_is(d, err, "%s", error.text);
}

static tr_err make_network(demo *d)
{
    tr_error error;
    tr_err err = demo_net_open(&d->net, &error);
    return err == TR_OK ? TR_OK : demo_trouble_is(d, err, "%s", error.text);
}

/* Beyond loopback nodes need a key; this one is for this run only. */
static tr_err make_key(demo *d)
{
    tr_error error;
    if (!d->net.network)
        return TR_OK;
    snprintf(d->key, sizeof(d->key), "%.490s/key", d->directory);
    tr_err err = tr__key_create(d->key, &error);
    return err == TR_OK ? TR_OK : demo_trouble_is(d, err, "%s", error.text);
}

/* A place for the picture, before the work begins: what can't be written should be known at once. */
static tr_err choose_image(demo *d)
{
    struct stat build, there;
    char folder[DEMO_PATH];
    const char *name = d->opts.image;
    if (!name)
        name = stat("build", &build) == 0 && S_ISDIR(build.st_mode) && access("build", W_OK) == 0
                   ? "build/mandelbrot.png"
                   : "mandelbrot.png";
    if (name[0] == '/')
        snprintf(d->image, sizeof(d->image), "%s", name);
    else if (getcwd(folder, sizeof(folder)))
        snprintf(d->image, sizeof(d->image), "%.300s/%.200s", folder, name);
    if (stat(d->image, &there) == 0 && !S_ISREG(there.st_mode))
        return demo_trouble_is(d, TR_EINVAL,
                               "the picture can't be written to %s: it is no plain file; --image "
                               "takes another place",
                               name);
    snprintf(folder, sizeof(folder), "%s", d->image);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    if (!slash || access(folder, W_OK) != 0)
        return demo_trouble_is(d, TR_EPERM,
                               "the picture can't be written to %s: %s; --image takes another place", name,
                               strerror(errno));
    return TR_OK;
}

static bool copy_picture(demo *d)
{
    char from[DEMO_PATH + 32], piece[16384];
    snprintf(from, sizeof(from), "%s/carol/mandelbrot.png", d->directory);
    FILE *in = fopen(from, "re"), *out = in ? fopen(d->image, "we") : NULL;
    size_t got;
    bool good = out != NULL;
    while (good && (got = fread(piece, 1, sizeof(piece), in)) > 0)
        good = fwrite(piece, 1, got, out) == got;
    good = good && !ferror(in);
    if (in)
        fclose(in);
    if (out && fclose(out) != 0)
        good = false;
    if (!good)
        demo_trouble_is(d, TR_EIO, "the picture can't be written to %s; --image takes another place",
                        d->image);
    return good;
}

/* ---- the node ------------------------------------------------------------------------------------------ */

static void log_line(void *context, tr_log_level level, const char *line)
{
    (void)level;
    fprintf(context, "%s\n", line);
}

static void run_node(demo *d)
{
    char path[DEMO_PATH + 16], host[32], listen[40];
    tr_error error = {0};
    demo_net_address(&d->net, DEMO_NODES, host, sizeof(host));
    snprintf(listen, sizeof(listen), "%s:0", host);
    snprintf(path, sizeof(path), "%s/demo.log", d->directory);
    FILE *log = fopen(path, "we");
    tr_node_opts opts = {.name = "demo",
                         .loops = 2,
                         .listen = listen,
                         .key = d->key[0] ? d->key : NULL,
                         .log_level = TR_LOG_INFO,
                         .log = log ? log_line : NULL,
                         .log_context = log,
                         .start = demo_script,
                         .arg = d};
    tr_node *node = tr_node_create(&opts, &error);
    if (!node) {
        demo_trouble_is(d, error.code, "%s", error.text);
    } else {
        tr__stopper_node(&d->stopper, node);
        tr_err err = tr_node_run(node, &error);
        tr__stopper_node(&d->stopper, NULL);
        if (err != TR_OK && !tr__stopper_number(&d->stopper))
            demo_trouble_is(d, err, "%s", error.text);
        tr_node_sums(node, &d->own_sums);
        d->own_sums_known = true;
        tr_node_destroy(node);
    }
    if (log)
        fclose(log);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

/* What the nodes started came to us as they ended (we are the reaper of orphans). True: none runs any more.
 */
static bool nobody_left(void)
{
    uint64_t until = demo_now() + GONE_WITHIN;
    for (;;) {
        pid_t pid = waitpid(-1, NULL, WNOHANG);
        if (pid < 0)
            return errno == ECHILD;
        if (pid == 0 && demo_now() > until)
            return false;
        if (pid == 0)
            poll(NULL, 0, 10);
    }
}

static int finish(demo *d)
{
    tr_error error;
    bool clean = true;
    int stopped_by = tr__stopper_number(&d->stopper);
    bool keep = d->opts.keep && d->checked && !d->trouble.code && !stopped_by;
    if (stopped_by)
        demo_trouble_is(d, TR_ECANCELED, "stopped by %s", strsignal(stopped_by));
    if (!keep)
        clean = demo_children_end(d) && nobody_left();
    clean &= demo_net_close(&d->net);
    d->opts.keep = keep;
    if (keep && demo_directory_keep(d->directory, &error) != TR_OK)
        demo_trouble_is(d, error.code, "%s", error.text);
    if (d->checked && !d->trouble.code)
        copy_picture(d);
    if (!keep && d->directory[0])
        clean &= demo_files_remove(d->directory);
    demo_page_end(d, clean);
    demo_screen_close(d);
    bool ok = demo_report(d, clean);
    demo_page_close(d);
    demo_tx_close(d);
    stopped_by =
        tr__stopper_number(&d->stopper); /* one that came meanwhile had nothing to stop, but is told */
    int status = stopped_by ? 128 + stopped_by : ok ? 0 : 1;
    tr__stopper_end(&d->stopper);
    tr__free(d->results);
    tr__free(d->screen);
    tr__free(d);
    return status;
}

/* False with d->trouble: there was nothing to be had, and nothing is left. */
static bool begin(demo *d)
{
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (tr__stopper_open(&d->stopper, (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, 0}, &d->trouble) !=
        TR_OK)
        return false;
    if (demo_screen_open(d) == TR_OK)
        return true;
    tr__stopper_end(&d->stopper);
    return false;
}

int cli_demo(int argc, char **argv)
{
    demo_opts opts;
    int status = read_options(argc, argv, &opts);
    if (status >= 0)
        return status;
    uint64_t start_ns = demo_now();
    demo *d = tr__zalloc(sizeof(*d));
    if (!d || sodium_init() < 0) {
        fprintf(stderr, "troupe demo: no memory\n");
        return 1;
    }
    static const char *const names[DEMO_NODES] = {"alice", "bob", "carol"};
    for (int i = 0; i < DEMO_NODES; i++)
        d->children[i] = (demo_child){.name = names[i], .out = -1};
    d->opts = opts;
    d->net.wanted = opts.netns;
    d->start_ns = start_ns;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    d->workers = cores > 0 && cores < 64 ? (uint32_t)cores : 2;
    if (readlink("/proc/self/exe", d->program, sizeof(d->program) - 1) < 0)
        snprintf(d->program, sizeof(d->program), "troupe");
    if (!begin(d)) {
        tr__stderr_line("troupe demo", d->trouble.text);
        tr__free(d);
        return 1;
    }
    if (make_network(d) == TR_OK && choose_image(d) == TR_OK && make_directory(d) == TR_OK &&
        demo_page_open(d) == TR_OK && make_key(d) == TR_OK && demo_files_register() == TR_OK &&
        tr__mandelbrot_register() == TR_OK)
        run_node(d);
    return finish(d);
}
