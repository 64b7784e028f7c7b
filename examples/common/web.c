/* The examples' web server: see web.h. What a client sends that is no GET, or is too long, ends its
 * connection. */
#include "examples/common/web.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE_MAX_SERVED 100000000l
#define PIECE           100000l
#define PACE_MS         50

static int send_all(int fd, const char *data, size_t size)
{
    for (ssize_t sent; size; data += sent, size -= (size_t)sent)
        if ((sent = send(fd, data, size, MSG_NOSIGNAL)) <= 0)
            return 0;
    return 1;
}

static int send_head(int fd, const char *status, long size)
{
    char head[160];
    snprintf(head, sizeof(head), "HTTP/1.1 %s\r\nContent-Length: %ld\r\nETag: \"1\"\r\n\r\n", status, size);
    return send_all(fd, head, strlen(head));
}

static int send_bytes(int fd, long size, int slow)
{
    static char piece[PIECE]; /* zeroes, for all of them */
    int good = send_head(fd, "200 OK", size);
    for (long sent = 0; good && sent < size; sent += PIECE) {
        if (slow)
            poll(NULL, 0, PACE_MS);
        good = send_all(fd, piece, (size_t)(size - sent < PIECE ? size - sent : PIECE));
    }
    return good;
}

static int answer(int fd, const char *path, int number)
{
    char text[300];
    long size;
    if (sscanf(path, "/bytes/%ld/", &size) == 1 && size >= 0 && size <= SIZE_MAX_SERVED)
        return send_bytes(fd, size, 0);
    if (sscanf(path, "/slow/%ld/", &size) == 1 && size >= 0 && size <= SIZE_MAX_SERVED)
        return send_bytes(fd, size, 1);
    if (strncmp(path, "/echo/", 6) != 0)
        return send_head(fd, "404 Not Found", 0);
    snprintf(text, sizeof(text), "%s is request %d of this connection", path + 6, number);
    return send_head(fd, "200 OK", (long)strlen(text)) && send_all(fd, text, strlen(text));
}

/* A connection: requests are answered in order, several may have come at once. */
static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg, number = 0;
    char in[8192], path[200], *end;
    size_t used = 0;
    for (ssize_t got; (got = recv(fd, in + used, sizeof(in) - 1 - used, 0)) > 0;) {
        used += (size_t)got;
        in[used] = 0;
        while ((end = strstr(in, "\r\n\r\n")) != NULL) {
            if (sscanf(in, "GET %199s", path) != 1 || !answer(fd, path, ++number))
                goto out;
            used -= (size_t)(end + 4 - in);
            memmove(in, end + 4, used + 1);
        }
    }
out:
    close(fd);
    return NULL;
}

static void *accept_all(void *arg)
{
    int fd, listener = (int)(intptr_t)arg;
    pthread_t thread;
    while ((fd = accept(listener, NULL, NULL)) >= 0)
        if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
        else
            close(fd);
    return NULL;
}

int web_start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0 ||
        pthread_create(&thread, NULL, accept_all, (void *)(intptr_t)fd) != 0)
        return 0;
    pthread_detach(thread);
    return ntohs(address.sin_port);
}
