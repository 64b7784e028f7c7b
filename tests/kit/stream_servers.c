/* Test servers, see stream_servers.h. The raw server's thread touches its struct alone, but for the atomics.
 */
#include "tests/kit/stream_servers.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_TRIES 1000 /* of 10 ms */

static void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

/* ---- ports --------------------------------------------------------------------------------------------- */

/* -1: it can't be. */
static int try_listen(uint16_t port, uint16_t *bound)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, 64) != 0) {
        close(fd);
        return -1;
    }
    getsockname(fd, (struct sockaddr *)&address, &size);
    *bound = ntohs(address.sin_port);
    return fd;
}

static int listen_on(uint16_t port, uint16_t *bound)
{
    int fd = try_listen(port, bound);
    if (fd < 0)
        die("cannot listen on 127.0.0.1:%u: %s", port, strerror(errno));
    return fd;
}

/* Below those that the kernel gives to whoever connects: a server that is started again finds it free. */
uint16_t test_free_port(void)
{
    static unsigned asked;
    uint16_t port;
    int fd;
    do
        fd = try_listen((uint16_t)(20000 + ((unsigned)getpid() * 61 + asked++ * 17) % 12000), &port);
    while (fd < 0 && asked < 12000);
    if (fd < 0)
        die("no port from 20000 to 31999 is free on 127.0.0.1");
    close(fd);
    return port;
}

static bool accepts(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool up = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return up;
}

/* ---- Redis and nginx ----------------------------------------------------------------------------------- */

static const char *program(const char *variable)
{
    const char *path = getenv(variable);
    if (!path || access(path, X_OK) != 0)
        die("%s names no program: run this through ./dev test, which unpacks the test servers and sets it",
            variable);
    return path;
}

static void spawn(test_server *server, const char *path, char *const argv[])
{
    server->pid = fork();
    if (server->pid < 0)
        die("cannot fork: %s", strerror(errno));
    if (server->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execv(path, argv);
        _exit(127);
    }
    struct pollfd death = {.fd = (int)syscall(SYS_pidfd_open, server->pid, 0), .events = POLLIN};
    for (int i = 0; !accepts(server->port); i++)
        if (i == READY_TRIES || poll(&death, 1, 10) != 0)
            die("%s did not start on port %u; its files are in %s", path, server->port, server->directory);
    close(death.fd);
}

static void make_directory(test_server *server)
{
    snprintf(server->directory, sizeof(server->directory), "/tmp/troupe-test-XXXXXX");
    if (!mkdtemp(server->directory) || chmod(server->directory, 0755) != 0)
        die("cannot make %s: %s", server->directory, strerror(errno));
}

void test_redis_start(test_server *server, uint16_t port)
{
    char number[8];
    const char *path = program("TROUPE_REDIS");
    *server = (test_server){.port = port ? port : test_free_port()};
    make_directory(server);
    snprintf(number, sizeof(number), "%u", server->port);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", server->port);
    char log[96];
    snprintf(log, sizeof(log), "%s/log", server->directory);
    char *argv[] = {"redis-server", "--port", number,  "--bind",          "127.0.0.1", "--save", "",
                    "--appendonly", "no",     "--dir", server->directory, "--logfile", log,      NULL};
    spawn(server, path, argv);
}

static void write_nginx_files(test_server *server, const char *config, size_t large)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/large", server->directory);
    FILE *file = fopen(path, "w");
    for (size_t i = 0; file && i < large; i++)
        fputc((int)(i * 7 % 251), file);
    if (!file || fclose(file) != 0 || !(file = fopen(config, "w")))
        die("cannot write into %s: %s", server->directory, strerror(errno));
    const char *d = server->directory;
    fprintf(file,
            "daemon off;\nmaster_process off;\npid %s/pid;\nerror_log %s/log;\nevents {}\nhttp {\naccess_log "
            "off;\n"
            "client_body_temp_path %s/t1;\nproxy_temp_path %s/t2;\nfastcgi_temp_path %s/t3;\nuwsgi_temp_path "
            "%s/t4;\n"
            "scgi_temp_path %s/t5;\n",
            d, d, d, d, d, d, d);
    for (int ten = 0; ten < 2; ten++)
        fprintf(file,
                "server {\nlisten 127.0.0.1:%u;\nkeepalive_requests %d;\nroot %s;\n"
                "location /echo { return 200 $request_uri; }\n}\n",
                ten ? server->port_ten : server->port, ten ? 10 : 1000000, d);
    fprintf(file, "}\n");
    fclose(file);
}

void test_nginx_start(test_server *server, size_t large)
{
    const char *path = program("TROUPE_NGINX");
    *server = (test_server){.port = test_free_port(), .port_ten = test_free_port()};
    make_directory(server);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", server->port);
    snprintf(server->address_ten, sizeof(server->address_ten), "127.0.0.1:%u", server->port_ten);
    char config[96], log[96];
    snprintf(config, sizeof(config), "%s/nginx.conf", server->directory);
    snprintf(log, sizeof(log), "%s/log", server->directory);
    write_nginx_files(server, config, large);
    char *argv[] = {"nginx", "-p", server->directory, "-c", config, "-e", log, NULL};
    spawn(server, path, argv);
}

void test_server_stop(test_server *server)
{
    char command[128];
    if (server->pid <= 0)
        return;
    kill(server->pid, SIGKILL);
    waitpid(server->pid, NULL, 0);
    server->pid = 0;
    snprintf(command, sizeof(command), "rm -r '%s'", server->directory);
    if (system(command) != 0)
        fprintf(stderr, "%s is left over\n", server->directory);
}

/* ---- the raw server ------------------------------------------------------------------------------------ */

static bool wait_readable(raw_server *server, int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&server->stopping))
        if (poll(&poller, 1, 20) > 0)
            return true;
    return false;
}

static void *raw_main(void *arg)
{
    raw_server *server = arg;
    for (unsigned nth = 0; wait_readable(server, server->listener); nth++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        server->count = 0;
        server->unread_size = 0;
        server->serve(server, fd, nth);
        close(fd);
    }
    return NULL;
}

void raw_start(raw_server *server, uint16_t port, raw_serve_fn serve)
{
    *server = (raw_server){.serve = serve};
    server->listener = listen_on(port, &server->port);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", server->port);
    server->go = eventfd(0, EFD_CLOEXEC);
    if (server->go < 0 || pthread_create(&server->thread, NULL, raw_main, server) != 0)
        die("cannot start a raw server");
}

void raw_stop(raw_server *server)
{
    atomic_store(&server->stopping, true);
    pthread_join(server->thread, NULL);
    close(server->listener);
    close(server->go);
}

/* Take the whole requests out of what was read. */
static void parse(raw_server *server)
{
    char *end;
    server->unread[server->unread_size] = '\0';
    while ((end = strstr(server->unread, "\r\n\r\n"))) {
        if (server->count == 256)
            server->count = 0; /* tests that send more don't look at the paths */
        if (sscanf(server->unread, "%*s %63s", server->paths[server->count]) == 1)
            server->count++;
        atomic_fetch_add(&server->seen, 1);
        size_t used = (size_t)(end + 4 - server->unread);
        server->unread_size -= used;
        memmove(server->unread, server->unread + used, server->unread_size + 1);
    }
}

static bool read_some(raw_server *server, int fd)
{
    size_t room = sizeof(server->unread) - 1 - server->unread_size;
    ssize_t count = recv(fd, server->unread + server->unread_size, room, 0);
    if (count <= 0)
        return false;
    server->unread_size += (size_t)count;
    parse(server);
    return true;
}

bool raw_read(raw_server *server, int fd, unsigned count)
{
    while (server->count < count)
        if (!wait_readable(server, fd) || !read_some(server, fd))
            return false;
    return true;
}

bool raw_read_within(raw_server *server, int fd, unsigned count, int wait_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (server->count < count)
        if (atomic_load(&server->stopping) || poll(&poller, 1, wait_ms) <= 0 || !read_some(server, fd))
            return false;
    return true;
}

bool raw_read_until_quiet(raw_server *server, int fd, int quiet_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&server->stopping) && poll(&poller, 1, quiet_ms) > 0)
        if (!read_some(server, fd))
            return false;
    return !atomic_load(&server->stopping);
}

void raw_write(int fd, const char *text)
{
    for (size_t size = strlen(text); size > 0;) {
        ssize_t count = send(fd, text, size, MSG_NOSIGNAL);
        if (count <= 0)
            return;
        text += count;
        size -= (size_t)count;
    }
}

void raw_echo(raw_server *server, int fd, unsigned index)
{
    char answer[256];
    const char *path = server->paths[index];
    snprintf(answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(path), path);
    raw_write(fd, answer);
}

void raw_reset_at_close(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
}

void raw_go(raw_server *server)
{
    if (eventfd_write(server->go, 1) != 0)
        die("cannot write to an eventfd");
}

void raw_wait_go(raw_server *server)
{
    (void)wait_readable(server, server->go);
}
