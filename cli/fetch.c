/* `troupe fetch URL...`: downloads, several at a time. The main thread, which is the node's only loop.
 *
 * options -> directory -> the URLs that can't be -> a node with one downloader and the actor below, which
 * keeps `parallel` fetches asked -> the sum. A URL that fails is told and the others go on. At SIGINT and
 * SIGTERM the node stops; what was on its way stays beside its file (NAME.part, NAME.part.info), and the next
 * run goes on from there, if the server still has the same version. */
#include "cli/fetch.h"
#include "base/stderr_os.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <troupe/node.h>
#include <troupe/troupe.h>

#include "actors/driver/stopper_os.h"
#include "actors/kinds/download_rules.h"
#include "base/err.h"
#include "base/mem.h"
#include "cli/await.h"
#include "cli/cli.h"
#include "cli/options.h"

#define URLS_MAX         4096
#define PARALLEL_DEFAULT 8
#define PARALLEL_MAX     64 /* the downloader's */

static void print_help(void)
{
    printf("usage: troupe fetch [options] URL...\n"
           "\n"
           "Downloads http:// and https:// URLs, several at a time, each into a file named\n"
           "like the end of its URL. A file appears when it is whole, and replaces one of that\n"
           "name. What was interrupted stays as NAME.part, with NAME.part.info, and the same\n"
           "command goes on from there. Prints the SHA-256 and the path of each file, as\n"
           "sha256sum does; on a terminal (stderr) it shows what is on its way.\n"
           "\n"
           "  -o, --output DIR  where the files go (default here; made if its parent is there)\n"
           "  --parallel N      at most N at a time, 1 to %d (default %d)\n"
           "  --json            an object a line: url, path, size, sha256, resumed_from,\n"
           "                    elapsed_ms; or url, error, text; the last one is the sum\n"
           "  --help            this text\n"
           "\n"
           "Exit status: 0 if all are there; 1 if not, and each URL that failed is named with\n"
           "its error; 128 + N if signal N ended it; 2 for a bad option.\n",
           PARALLEL_MAX, PARALLEL_DEFAULT);
}

/* -1: go on; else the exit status. */
static int read_options(int argc, char **argv, fetch *f, bool *json)
{
    enum { PARALLEL = 256, JSON, HELP };
    static const struct option options[] = {{"output", required_argument, NULL, 'o'},
                                            {"parallel", required_argument, NULL, PARALLEL},
                                            {"json", no_argument, NULL, JSON},
                                            {"help", no_argument, NULL, HELP},
                                            {NULL, 0, NULL, 0}};
    int option;
    double number = PARALLEL_DEFAULT;
    opterr = 0;
    optind = 1;
    /* Without '+': options may follow the URLs. */
    while ((option = getopt_long(argc, argv, ":o:h", options, NULL)) != -1) {
        if (option == 'o')
            f->directory = optarg;
        else if (option == JSON)
            *json = true;
        else if (option == HELP || option == 'h')
            return print_help(), 0;
        else if (option != PARALLEL)
            return cli_bad_option("fetch", option, argv);
        else if (!cli_number("fetch", "--parallel", optarg, 1, PARALLEL_MAX, true, &number))
            return 2;
    }
    f->parallel = (uint32_t)number;
    f->count = (size_t)(argc - optind);
    if (f->count > 0 && f->count <= URLS_MAX)
        return -1;
    if (f->count == 0)
        fprintf(stderr, "troupe fetch: no URL given: troupe fetch [-o DIR] URL...\n");
    else
        fprintf(stderr, "troupe fetch: %zu URLs, at most %d at once: split them, with xargs -n %d for one\n",
                f->count, URLS_MAX, URLS_MAX);
    return 2;
}

/* False after saying why nothing could be written there: one error, not one a URL. */
static bool prepare_directory(fetch *f)
{
    const char *directory = f->directory ? f->directory : ".";
    size_t length = strlen(directory), room = length + 2;
    f->into = tr__alloc(room);
    if (f->into)
        snprintf(f->into, room, "%s%s", directory, length && directory[length - 1] == '/' ? "" : "/");
    struct stat st;
    errno = ENOMEM;
    if (f->into && (mkdir(directory, 0777) == 0 || errno == EEXIST)) {
        errno = ENOTDIR;
        if (stat(directory, &st) == 0 && S_ISDIR(st.st_mode) && access(directory, W_OK | X_OK) == 0)
            return true;
    }
    fprintf(stderr, "troupe fetch: -o \"%s\": no files can be put there: %s\n", directory, strerror(errno));
    return false;
}

/* ---- the URLs ------------------------------------------------------------------------------------------ */

static void refuse(fetch *f, fetch_task *t, tr_err code, const char *text)
{
    t->state = FETCH_FAILED;
    f->failed++;
    fetch_view_failed(f, t->url, code, text);
}

/* Two of one name would be written over each other. */
static const fetch_task *same_path(const fetch *f, const fetch_task *t)
{
    for (const fetch_task *other = f->tasks; other < t; other++)
        if (other->path && strcmp(other->path, t->path) == 0)
            return other;
    return NULL;
}

static void check_urls(fetch *f, char *const *urls)
{
    tr_error error;
    for (size_t i = 0; i < f->count; i++) {
        fetch_task *t = &f->tasks[i];
        t->url = urls[i];
        if (tr__dl_check_url(t->url, &error) != TR_OK ||
            tr__dl_path(t->url, f->into, &t->path, &error) != TR_OK) {
            /* That text is for who calls the API. */
            refuse(f, t, error.code,
                   error.code == TR_EINVAL && strstr(error.text, "`into`")
                       ? "no file name can be made of the end of this URL"
                       : error.text);
            continue;
        }
        const fetch_task *other = same_path(f, t);
        if (!other)
            continue;
        tr__fail(&error, TR_EEXIST,
                 "%.90s: its file would be %.40s, as that of %.60s; fetch it into another -o", t->url,
                 fetch_shown_path(t->path), other->url);
        tr__free(t->path);
        t->path = NULL;
        refuse(f, t, error.code, error.text);
    }
}

/* ---- the actor ----------------------------------------------------------------------------------------- */

static void ask_more(tr_actor *self, fetch *f);

static void settled(tr_actor *self, void *state, const tr_result *result, void *context)
{
    fetch *f = *(fetch **)state;
    fetch_task *t = context;
    const tr_fetched *fetched = result->msg ? tr_match(result->msg, tr_fetched) : NULL;
    f->running--;
    if (fetched) {
        t->state = FETCH_DONE;
        f->fetched++;
        f->bytes += fetched->size;
        fetch_view_done(f, fetched);
    } else {
        refuse(f, t, result->err, result->error ? result->error->text : tr_err_word(result->err));
    }
    ask_more(self, f);
}

/* Keep as many asked as may run; when there are none any more this actor has done its work. */
static void ask_more(tr_actor *self, fetch *f)
{
    while (f->running < f->parallel && f->next < f->count) {
        fetch_task *t = &f->tasks[f->next++];
        if (t->state == FETCH_FAILED)
            continue;
        t->state = FETCH_RUNNING;
        f->running++;
        tr_future future = tr_ask(self, f->downloader, TR_FOREVER, tr_fetch, .url = t->url, .into = f->into,
                                  .resume = true, .progress = tr_self(self));
        if (tr_then(self, future, settled, t) != TR_OK) {
            f->running--;
            refuse(f, t, tr_last_error(self)->code, tr_last_error(self)->text);
        }
    }
    if (f->running == 0)
        tr_exit(self, TR_OK, "all have ended");
    fetch_view_moved(f);
}

static tr_err fetcher_init(tr_actor *self, void *state, const void *arg)
{
    fetch *f = *(fetch **)state = (fetch *)arg;
    f->downloader = tr_spawn(self, &tr_downloader, &(tr_downloader_opts){.parallel = f->parallel});
    if (tr_addr_is_none(f->downloader))
        return tr_last_error(self)->code;
    ask_more(self, f);
    return TR_OK;
}

static void fetcher_receive(tr_actor *self, void *state, const tr_msg *msg)
{
    (void)self;
    fetch *f = *(fetch **)state;
    const tr_progress *progress = tr_match(msg, tr_progress);
    for (size_t i = 0; progress && i < f->next; i++) {
        fetch_task *t = &f->tasks[i];
        if (t->state != FETCH_RUNNING || strcmp(t->url, progress->url) != 0)
            continue;
        t->done = progress->done;
        t->total = progress->total;
    }
    fetch_view_moved(f);
}
TR_ACTOR(fetcher, .init = fetcher_init, .receive = fetcher_receive, .state_size = sizeof(fetch *));

static tr_err start(tr_actor *self, void *arg)
{
    return cli_await_actor(self, &fetcher, arg);
}

/* ---- the command --------------------------------------------------------------------------------------- */

static tr_err run_node(fetch *f, tr__stopper *stopper)
{
    tr_error error = {0};
    tr_node *node = tr_node_create(&(tr_node_opts){.name = "fetch", .start = start, .arg = f}, &error);
    if (!node) {
        tr__stderr_line("troupe fetch", error.text);
        return error.code;
    }
    tr__stopper_node(stopper, node);
    tr_err err = tr_node_run(node, &error);
    tr__stopper_node(stopper, NULL);
    tr_node_destroy(node);
    if (tr__stopper_number(stopper))
        return TR_OK;
    if (err != TR_OK)
        fprintf(stderr, "troupe fetch: %s: %s\n", tr_err_word(err), error.text);
    return err;
}

static int fetch_all(fetch *f, char *const *urls, bool json, tr__stopper *stopper)
{
    fetch_view_open(f, json);
    check_urls(f, urls);
    tr_err err = f->failed < f->count ? run_node(f, stopper) : TR_OK;
    int stopped = f->fetched + f->failed < f->count ? tr__stopper_number(stopper) : 0;
    fetch_view_close(f, stopped);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "troupe fetch: standard output: not all of it could be written\n");
        return 1;
    }
    if (stopped)
        return 128 + stopped;
    return err == TR_OK && f->fetched == f->count ? 0 : 1;
}

static int fetch_until_stopped(fetch *f, char *const *urls, bool json)
{
    tr__stopper stopper;
    tr_error error;
    if (tr__stopper_open(&stopper, (const int[]){SIGINT, SIGTERM, 0}, &error) != TR_OK) {
        tr__stderr_line("troupe fetch", error.text);
        return 1;
    }
    signal(SIGPIPE, SIG_IGN);
    int status = fetch_all(f, urls, json, &stopper);
    tr__stopper_end(&stopper);
    return status;
}

int cli_fetch(int argc, char **argv)
{
    fetch f = {0};
    bool json = false;
    int status = read_options(argc, argv, &f, &json);
    if (status >= 0)
        return status;
    f.tasks = tr__zalloc(f.count * sizeof(*f.tasks));
    if (!f.tasks) {
        fprintf(stderr, "troupe fetch: no memory for %zu URLs\n", f.count);
        return 1;
    }
    status = prepare_directory(&f) ? fetch_until_stopped(&f, argv + optind, json) : 1;
    for (size_t i = 0; i < f.count; i++)
        tr__free(f.tasks[i].path);
    tr__free(f.tasks);
    tr__free(f.into);
    return status;
}
