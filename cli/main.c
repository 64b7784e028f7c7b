/* The `troupe` program: finds the command and runs it. The main thread. An unknown command is an error that
 * says what there is; exit statuses: cli.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

static cli_run version, help;

static const cli_command commands[] = {
    {"ask", "ask an actor of a running node, in JSON", cli_ask},
    {"bench", "measure this machine: messages, actors, timers, connections", cli_bench},
    {"bench-clients", NULL, cli_bench_clients},
    {"bench-peer", NULL, cli_bench_peer},
    {"demo", "run three nodes, one job, one crash: what Troupe does, in half a minute", cli_demo},
    {"demo-node", NULL, cli_demo_node},
    {"fetch", "download URLs, several at a time, each whole or resumable", cli_fetch},
    {"key", "make and change the key that the nodes of a cluster share", cli_key},
    {"new", "make a folder for a plugin, ready to build and test", cli_new},
    {"node", "run a node, with plugins as its actors, until Ctrl-C", cli_node},
    {"plugin", "check a plugin as a node would", cli_plugin},
    {"ps", "list the nodes that run here, and their actors", cli_ps},
    {"run", "run a command: its output streamed, its deadline kept, its whole group ended", cli_run_command},
    {"send", "send an actor of a running node a message, in JSON", cli_send},
    {"sim", "run a cluster in one thread, in virtual time, and break it on purpose", cli_sim},
    {"tap", "show the messages that an actor gets, as they come", cli_tap},
    {"top", "show the busiest actors: mailboxes, messages a second, handling times", cli_top},
    {"tx", "show what became of transactions, settle what is in doubt, judge histories", cli_tx},
    {"up", "run the nodes of a file, and keep them up", cli_up},
    {"version", "print the version", version},
    {"why", "say why an actor makes no progress: whom it waits for, to the end of the chain", cli_why},
    {"help", "print this table; `help COMMAND` tells the options of one", help},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void print_table(FILE *to)
{
    fprintf(to, "troupe %s: actors in C\n\nusage: troupe COMMAND [options]\n\n", TR_VERSION);
    for (size_t i = 0; i < COMMANDS; i++)
        if (commands[i].help)
            fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    fprintf(to, "\n`troupe COMMAND --help` tells a command's options.\n");
}

static int no_arguments(const char *command, int argc, char **argv)
{
    if (argc == 1)
        return 0;
    fprintf(stderr, "troupe %s: unexpected \"%s\": this command takes no arguments\n", command, argv[1]);
    return 2;
}

static int version(int argc, char **argv)
{
    int status = no_arguments("version", argc, argv);
    if (status == 0)
        printf("troupe %s\n", TR_VERSION);
    return status;
}

static int run(const char *name, int argc, char **argv)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].run(argc, argv);
    fprintf(stderr, "troupe: no %s \"%s\": `troupe help` lists the commands\n",
            name[0] == '-' ? "option" : "command", name);
    return 2;
}

/* `troupe help COMMAND` is `troupe COMMAND --help`. */
static int help(int argc, char **argv)
{
    char option[] = "--help", *of_command[] = {argv[argc - 1], option, NULL};
    if (argc == 2 && strcmp(argv[1], "help") != 0 && strcmp(argv[1], "version") != 0)
        return run(argv[1], 2, of_command);
    if (argc > 2) {
        fprintf(stderr, "troupe help: unexpected \"%s\": one command at a time\n", argv[2]);
        return 2;
    }
    print_table(stdout);
    return 0;
}

/* A full disk isn't to look like success. Who reads a pipe may leave early (`| head`): that is no error. */
static int say_if_not_printed(int status)
{
    struct stat out;
    errno = 0;
    bool whole = fflush(stdout) == 0 && !ferror(stdout);
    if (whole || (fstat(STDOUT_FILENO, &out) == 0 && (S_ISFIFO(out.st_mode) || S_ISSOCK(out.st_mode))))
        return status;
    fprintf(stderr, "troupe: what it printed isn't whole: %s\n", errno ? strerror(errno) : "a write failed");
    return status ? status : 1;
}

/* A standard descriptor that is closed would be taken by the first thing that is opened. */
static void have_standard_three(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)open("/dev/null", O_RDWR); /* takes the lowest that is free */
}

int main(int argc, char **argv)
{
    have_standard_three();
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0)
        name = "version";
    return say_if_not_printed(argc > 1 ? run(name, argc - 1, argv + 1) : help(1, argv));
}
