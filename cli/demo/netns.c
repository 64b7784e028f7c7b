/* Namespaces, veth pairs and a bridge, made by `ip` (iproute2), which is run without a shell; see netns.h. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/demo/demo.h"
#include "cli/demo/netns.h"

#define NAMESPACES  "/run/netns" /* where `ip netns` has them */
#define PREFIX      "trd-"
#define WORDS_MAX   20
#define SAID_MAX    200
#define FIRST_HOST  1 /* of the demo's own node */
#define OTHER_HOSTS 2 /* of alice; the others follow */

static const char *const members[DEMO_NODES + 1] = {"alice", "bob", "carol", "lan"};
#define LAN DEMO_NODES

/* ---- running ip ---------------------------------------------------------------------------------------- */

/* In a process group of its own: Ctrl-C is for the demo, which then needs `ip` to clean up. */
static int spawn_ip(char *const *argv, int said, pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, said, 1);
    posix_spawn_file_actions_adddup2(&files, said, 2);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
    int result = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return result;
}

/* The first line of what it said; all is read, so that it doesn't wait for a reader. */
static void listen_to(int from, char said[SAID_MAX])
{
    char piece[256];
    size_t used = 0;
    ssize_t got;
    while ((got = read(from, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR)) {
        size_t size = got < 0 ? 0 : (size_t)got, room = SAID_MAX - 1 - used;
        memcpy(said + used, piece, size < room ? size : room);
        used += size < room ? size : room;
    }
    said[used] = 0;
    said[strcspn(said, "\n")] = 0;
}

static tr_err wait_for_ip(pid_t pid, const char *command, const char *said, tr_error *error)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return tr__fail(error, TR_EIO, "`ip %s`: %s", command, strerror(errno));
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return TR_OK;
    return tr__fail(error, TR_EIO,
                    "`ip %.100s` failed (%s %d): %s; --netns needs a kernel with namespaces, veth and bridge "
                    "and the right to make them",
                    command, WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), said);
}

/* Run `ip` with these words, which are separated by one blank each: our names have none. */
__attribute__((format(printf, 2, 3))) static tr_err ip(tr_error *error, const char *format, ...)
{
    char command[256], words[256], said[SAID_MAX] = "", *argv[WORDS_MAX + 2] = {"ip"}, *rest = words;
    int pipes[2], count = 1;
    pid_t pid;
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    memcpy(words, command, sizeof(words));
    while (rest && count <= WORDS_MAX)
        argv[count++] = strsep(&rest, " ");
    if (pipe2(pipes, O_CLOEXEC) != 0)
        return tr__fail(error, TR_EIO, "`ip %s`: %s", command, strerror(errno));
    int result = spawn_ip(argv, pipes[1], &pid);
    close(pipes[1]);
    if (result == 0)
        listen_to(pipes[0], said);
    close(pipes[0]);
    if (result == ENOENT)
        return tr__fail(error, TR_ENOTFOUND,
                        "--netns needs the program `ip`, which is not here: install the package iproute2 "
                        "(apt-get install iproute2)");
    return result == 0 ? wait_for_ip(pid, command, said, error)
                       : tr__fail(error, TR_EIO, "`ip %s`: %s", command, strerror(result));
}

/* ---- names --------------------------------------------------------------------------------------------- */

/* On this host; at most 15 bytes, so a process id of 7 digits fits. */
static void interface_name(long pid, char out[IF_NAMESIZE])
{
    snprintf(out, IF_NAMESIZE, PREFIX "%ld", pid % 10000000);
}

static void namespace_name(long pid, int member, char out[DEMO_NET_NAME])
{
    snprintf(out, DEMO_NET_NAME, PREFIX "%ld-%s", pid % 10000000, members[member]);
}

static bool namespace_is_there(const char *name)
{
    char path[DEMO_NET_NAME + sizeof(NAMESPACES) + 1];
    snprintf(path, sizeof(path), NAMESPACES "/%s", name);
    return access(path, F_OK) == 0;
}

/* All that the demo of that process made; false: something stays. */
static bool remove_all_of(long pid)
{
    char name[DEMO_NET_NAME];
    tr_error ignored;
    bool gone = true;
    interface_name(pid, name);
    if (if_nametoindex(name))
        ip(&ignored, "link del dev %s", name);
    gone &= if_nametoindex(name) == 0;
    for (int i = LAN; i >= 0; i--) {
        namespace_name(pid, i, name);
        if (namespace_is_there(name))
            ip(&ignored, "netns del %s", name);
        gone &= !namespace_is_there(name);
    }
    return gone;
}

/* The process id in a name of ours; 0: it is none. */
static long pid_in(const char *name)
{
    long pid;
    return sscanf(name, PREFIX "%ld", &pid) == 1 && pid > 0 ? pid : 0;
}

/* A process that has our id today can't be the one that made them either. */
static void remove_if_dead(long pid)
{
    if (pid && (pid == (long)getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH)))
        remove_all_of(pid);
}

static void remove_leftovers(void)
{
    DIR *directory = opendir(NAMESPACES);
    for (struct dirent *entry; directory && (entry = readdir(directory));)
        remove_if_dead(pid_in(entry->d_name));
    if (directory)
        closedir(directory);
    struct if_nameindex *all = if_nameindex();
    for (size_t i = 0; all && all[i].if_index; i++)
        remove_if_dead(pid_in(all[i].if_name));
    if (all)
        if_freenameindex(all);
}

/* ---- addresses ----------------------------------------------------------------------------------------- */

#define MASK     0xffffff00u /* /24 */
#define TEN_88   0x0a580000u /* 10.88.0.0 to 10.127.255.0, and 198.18.0.0/15, which is meant for tests */
#define TEN_NETS (40u * 256)
#define TESTING  0xc6120000u
#define TESTS    (2u * 256)
#define ROUTES   256

typedef struct route {
    uint32_t network, mask;
} route;

/* Default routes, in one or in two halves, cover everything and don't count. */
static size_t read_routes(route routes[ROUTES])
{
    char line[256];
    size_t count = 0;
    FILE *file = fopen("/proc/net/route", "re");
    while (file && count < ROUTES && fgets(line, sizeof(line), file)) {
        unsigned network, mask;
        if (sscanf(line, "%*s %x %*s %*s %*s %*s %*s %x", &network, &mask) != 2)
            continue;
        routes[count] = (route){ntohl(network), ntohl(mask)};
        count += routes[count].mask >= 0xff000000u;
    }
    if (file)
        fclose(file);
    return count;
}

static bool is_free(uint32_t network, const route *routes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t common = routes[i].mask & MASK;
        if ((routes[i].network & common) == (network & common))
            return false;
    }
    return true;
}

/* Two demos that start at once begin at different ones. */
static uint32_t choose_network(void)
{
    route routes[ROUTES];
    size_t count = read_routes(routes);
    for (uint32_t i = 0; i < TEN_NETS + TESTS; i++) {
        uint32_t n = ((uint32_t)getpid() + i) % TEN_NETS;
        uint32_t network = i < TEN_NETS ? TEN_88 + (n << 8) : TESTING + ((i - TEN_NETS) << 8);
        if (is_free(network, routes, count))
            return network;
    }
    return 0;
}

void demo_net_address(const demo_net *net, int index, char *out, size_t room)
{
    uint32_t n = net->network + (index == DEMO_NODES ? FIRST_HOST : OTHER_HOSTS + (uint32_t)index);
    if (!net->network)
        snprintf(out, room, "127.0.0.1");
    else
        snprintf(out, room, "%u.%u.%u.%u", n >> 24, n >> 16 & 255, n >> 8 & 255, n & 255);
}

/* ---- making -------------------------------------------------------------------------------------------- */

static tr_err make_lan(const demo_net *net, tr_error *error)
{
    char lan[DEMO_NET_NAME], own[IF_NAMESIZE], address[32];
    long pid = (long)getpid();
    namespace_name(pid, LAN, lan);
    interface_name(pid, own);
    demo_net_address(net, DEMO_NODES, address, sizeof(address));
    TR_TRY(ip(error, "netns add %s", lan));
    TR_TRY(ip(error, "-n %s link add name br0 type bridge", lan));
    TR_TRY(ip(error, "-n %s link set dev br0 up", lan));
    TR_TRY(ip(error, "link add name %s type veth peer name demo netns %s", own, lan));
    TR_TRY(ip(error, "-n %s link set dev demo master br0 up", lan));
    TR_TRY(ip(error, "addr add %s/24 dev %s", address, own));
    return ip(error, "link set dev %s up", own);
}

static tr_err make_host(const demo_net *net, int index, tr_error *error)
{
    char lan[DEMO_NET_NAME], own[DEMO_NET_NAME], address[32];
    long pid = (long)getpid();
    namespace_name(pid, LAN, lan);
    namespace_name(pid, index, own);
    demo_net_address(net, index, address, sizeof(address));
    TR_TRY(ip(error, "netns add %s", own));
    TR_TRY(ip(error, "-n %s link add name eth0 type veth peer name %s netns %s", own, members[index], lan));
    TR_TRY(ip(error, "-n %s link set dev %s master br0 up", lan, members[index]));
    TR_TRY(ip(error, "-n %s addr add %s/24 dev eth0", own, address));
    TR_TRY(ip(error, "-n %s link set dev eth0 up", own));
    return ip(error, "-n %s link set dev lo up", own);
}

tr_err demo_net_open(demo_net *net, tr_error *error)
{
    if (!net->wanted)
        return TR_OK;
    if (geteuid() != 0)
        return tr__fail(
            error, TR_EPERM,
            "--netns makes network namespaces, and only root may: run it as root (sudo %s demo --netns), "
            "or without --netns, which needs no rights",
            program_invocation_name);
    remove_leftovers();
    net->network = choose_network();
    if (!net->network)
        return tr__fail(
            error, TR_EADDRINUSE,
            "--netns found no free /24 in 10.88.0.0 to 10.127.255.0 nor in 198.18.0.0/15: this host has "
            "routes to all of them (`ip route`)");
    TR_TRY(make_lan(net, error));
    for (int i = 0; i < DEMO_NODES; i++)
        TR_TRY(make_host(net, i, error));
    return TR_OK;
}

bool demo_net_close(demo_net *net)
{
    bool gone = !net->network || remove_all_of((long)getpid());
    net->network = 0;
    return gone;
}

int demo_net_namespace(const demo_net *net, int index)
{
    char name[DEMO_NET_NAME], path[DEMO_NET_NAME + sizeof(NAMESPACES) + 1];
    errno = 0;
    if (!net->network)
        return -1;
    namespace_name((long)getpid(), index, name);
    snprintf(path, sizeof(path), NAMESPACES "/%s", name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

tr_err demo_net_cut(int index, bool cut, tr_error *error)
{
    char lan[DEMO_NET_NAME];
    namespace_name((long)getpid(), LAN, lan);
    return ip(error, "-n %s link set dev %s %s", lan, members[index], cut ? "down" : "up");
}
