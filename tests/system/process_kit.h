/* What tests of real nodes share: running a program with what it prints kept, waiting for words of it, sockets that know
 * nothing of Troupe. One thread; what fails fails the test. */
#ifndef TESTS_SYSTEM_PROCESS_KIT_H
#define TESTS_SYSTEM_PROCESS_KIT_H

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAR_MS 60000

typedef struct process {
    pid_t pid;
    int out;          /* what it prints, log included */
    char said[65536]; /* so far */
    size_t length;
} process;

/* argv[0] is run, in that network namespace (a descriptor; -1: in ours), and dies with us. */
static inline void begin_in(process *p, int space, char *const argv[])
{
    int out[2];
    *p = (process){0};
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    p->pid = fork();
    if (p->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], 1);
        dup2(out[1], 2);
        if (space >= 0 && setns(space, CLONE_NEWNET) != 0)
            _exit(126);
        execv(argv[0], argv);
        _exit(127);
    }
    assert_true(p->pid > 0);
    close(out[1]);
    p->out = out[0];
}

static inline void begin(process *p, char *const argv[])
{
    begin_in(p, -1, argv);
}

static inline uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Take what it says for so long; false: it has closed its output. What has no room any more is forgotten. */
static inline bool listen_for(process *p, int ms)
{
    uint64_t until = now_ms() + (uint64_t)ms;
    for (uint64_t now; (now = now_ms()) <= until;) {
        char forgotten[4096];
        size_t room = sizeof(p->said) - 1 - p->length;
        struct pollfd fd = {.fd = p->out, .events = POLLIN};
        if (poll(&fd, 1, (int)(until - now)) <= 0)
            return true;
        ssize_t count = read(p->out, room ? p->said + p->length : forgotten, room ? room : sizeof(forgotten));
        if (count <= 0)
            return false;
        p->length += room ? (size_t)count : 0;
        if (room)
            return true;
    }
    return true;
}

/* Wait until it has said these words (NULL: until it has closed its output), a minute at most. */
static inline void hear(process *p, const char *words)
{
    uint64_t until = now_ms() + HEAR_MS;
    while (!words || !strstr(p->said, words)) {
        bool open = now_ms() < until && listen_for(p, (int)(until - now_ms()));
        if (!open && !words && now_ms() < until)
            return;
        if (!open)
            fail_msg("\"%s\" was never said, but: %s", words ? words : "the end", p->said);
    }
}

/* How often it has said them, with what it has to say by now. */
static inline unsigned times_said(process *p, const char *words)
{
    unsigned count = 0;
    while (listen_for(p, 0) && poll(&(struct pollfd){.fd = p->out, .events = POLLIN}, 1, 0) > 0)
        continue;
    for (const char *at = p->said; (at = strstr(at, words)); at += strlen(words))
        count++;
    return count;
}

/* Its status; one that was ended already: -1. */
static inline int end(process *p, int signal_number)
{
    int status = -1;
    if (p->pid) {
        kill(p->pid, signal_number);
        waitpid(p->pid, &status, 0);
        close(p->out);
    }
    p->pid = 0;
    return status;
}

/* Its exit status, when it has ended by itself. */
static inline int status_of(process *p)
{
    int status;
    hear(p, NULL);
    waitpid(p->pid, &status, 0);
    close(p->out);
    p->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Run $TROUPE_BIN with these words, the last one NULL, to its end, and look for others in what it says. */
static inline int troupe(const char *words, char *a, char *b, char *c, char *d)
{
    static process p;
    char *argv[] = {getenv("TROUPE_BIN"), a, b, c, d, NULL};
    begin(&p, argv);
    int status = status_of(&p);
    if (!strstr(p.said, words))
        fail_msg("'%s' isn't in: %s", words, p.said);
    return status;
}

/* "host:port" as the node says it listens. */
static inline void hear_address(process *p, char *address, size_t room)
{
    hear(p, "listens on ");
    const char *at = strstr(p->said, "listens on ") + strlen("listens on ");
    while (!strchr(at, '\n'))
        assert_true(listen_for(p, HEAR_MS));
    snprintf(address, room, "%.*s", (int)strcspn(at, "\n"), at);
}

static inline struct sockaddr_in socket_address(const char *address)
{
    char host[64];
    snprintf(host, sizeof(host), "%.*s", (int)(strrchr(address, ':') - address), address);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1))};
    assert_int_equal(inet_pton(AF_INET, host, &to.sin_addr), 1);
    return to;
}

static inline int connect_to(const char *address)
{
    struct sockaddr_in to = socket_address(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

static inline size_t resident_kib(pid_t pid)
{
    char path[64], line[256];
    size_t kib = 0;
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        sscanf(line, "VmRSS: %zu", &kib);
    fclose(file);
    return kib;
}

static inline unsigned descriptors(pid_t pid)
{
    char path[64];
    unsigned count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

#endif
