/* nginx over the files of the work directory, for tests of downloads: what is in work_dir/files is served at
 * web_root, and again, slowly, at web_root/slow. Included by one file a program. */
#ifndef TESTS_SYSTEM_NGINX_H
#define TESTS_SYSTEM_NGINX_H

#include "downloads.h"

#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>

static pid_t nginx;
static int free_port; /* nobody listens there */

static const char config[] =
    "daemon off; worker_processes 1; pid nginx.pid; error_log error.log; user root;\n"
    "events { worker_connections 512; }\n"
    "http { access_log access.log; keepalive_requests 10; client_body_temp_path t1; proxy_temp_path t2;\n"
    " fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;\n"
    " server { listen 127.0.0.1:%d; root %s/files;\n"
    "  location = /moved { return 302 /small; }\n"
    "  location = /round { return 302 /round; }\n"
    "  location = /away { return 302 ftp://127.0.0.1/small; }\n"
    "  location = /secret { return 403; }\n"
    "  location = /busy { return 503; }\n"
    "  location /slow/ { alias %s/files/; limit_rate 2m; }\n"
    " } }\n";

/* A socket with a port of its own, on which nobody listens yet. */
static inline int bind_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static inline void start_nginx(const char *program)
{
    char path[ROOM], text[2048], inherited[32];
    int port, fd = bind_somewhere(&port);
    assert_int_equal(listen(fd, 64), 0); /* nginx inherits it, so there is no moment without a server */
    snprintf(path, sizeof(path), "%s/nginx.conf", work_dir);
    FILE *file = fopen(path, "w");
    snprintf(text, sizeof(text), config, port, work_dir, work_dir);
    assert_true(file && fputs(text, file) >= 0 && fclose(file) == 0);
    snprintf(web_root, sizeof(web_root), "http://127.0.0.1:%d", port);
    snprintf(inherited, sizeof(inherited), "%d;", fd);
    nginx = fork();
    if (nginx == 0) {
        setenv("NGINX", inherited, 1);
        int quiet = open("/dev/null", O_WRONLY);
        dup2(quiet, 2);
        execl(program, program, "-p", work_dir, "-c", path, "-e", "error.log", (char *)NULL);
        _exit(127);
    }
    close(fd);
    bind_somewhere(&free_port); /* it stays so, and nobody else gets the port */
}

static inline void stop_nginx(void)
{
    if (nginx <= 0)
        return;
    kill(nginx, SIGTERM);
    waitpid(nginx, NULL, 0);
}

/* The program that ./dev unpacked; NULL after saying that there is none. */
static inline const char *find_nginx(void)
{
    const char *program = getenv("TROUPE_NGINX");
    if (program && access(program, X_OK) == 0)
        return program;
    print_error("no nginx that runs at TROUPE_NGINX=%s: use ./dev test, which unpacks one there\n",
                program ? program : "");
    return NULL;
}

#endif
