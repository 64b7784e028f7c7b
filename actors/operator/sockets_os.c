/* Where operator sockets are, and who may use them: files and sockets of the operating system. Blocking, any thread. Each
 * failure's text says what to do. */
#include "actors/operator/operator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

_Static_assert(TR__OPERATOR_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path),
               "a path fits an address");

tr_err tr__operator_directory(char out[TR__OPERATOR_PATH_MAX], tr_error *error)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int length = runtime && *runtime
                     ? snprintf(out, TR__OPERATOR_PATH_MAX, "%s/troupe", runtime)
                     : snprintf(out, TR__OPERATOR_PATH_MAX, "/tmp/troupe-%lu", (unsigned long)geteuid());
    if (length >= TR__OPERATOR_PATH_MAX)
        return tr__fail(error, TR_ETOOBIG, "XDG_RUNTIME_DIR is too long for the path of a socket (%d bytes)",
                        TR__OPERATOR_PATH_MAX - 1);
    return TR_OK;
}

tr_err tr__operator_path(const char *node, char out[TR__OPERATOR_PATH_MAX], tr_error *error)
{
    char directory[TR__OPERATOR_PATH_MAX];
    TR_TRY(tr__operator_directory(directory, error));
    if (snprintf(out, TR__OPERATOR_PATH_MAX, "%s/%s.sock", directory, node) >= TR__OPERATOR_PATH_MAX)
        return tr__fail(error, TR_ETOOBIG, "%s/%s.sock is too long for a socket (%d bytes)", directory, node,
                        TR__OPERATOR_PATH_MAX - 1);
    return TR_OK;
}

tr_err tr__operator_directory_check(const char *directory, tr_error *error)
{
    struct stat st;
    if (lstat(directory, &st) != 0)
        return tr__fail(error, tr__err_from_errno(errno), "%s: %s", directory, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return tr__fail(error, TR_EPERM, "%s is no directory (a link?): remove it", directory);
    if (st.st_uid != geteuid())
        return tr__fail(error, TR_EPERM, "%s belongs to user %lu: have it removed, or set XDG_RUNTIME_DIR",
                        directory, (unsigned long)st.st_uid);
    if (st.st_mode & 077)
        return tr__fail(error, TR_EPERM, "others may enter %s: chmod 700 it", directory);
    return TR_OK;
}

int tr__operator_directory_lock(tr_error *error)
{
    char directory[TR__OPERATOR_PATH_MAX];
    if (tr__operator_directory(directory, error) != TR_OK)
        return -1;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST) {
        tr__fail(error, tr__err_from_errno(errno), "making %s: %s", directory, strerror(errno));
        return -1;
    }
    if (tr__operator_directory_check(directory, error) != TR_OK)
        return -1;
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX) == 0)
        return fd;
    tr__fail(error, tr__err_from_errno(errno), "locking %s: %s", directory, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

int tr__operator_dial(const char *path, tr_error *error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    tr__fail(error, tr__err_from_errno(errno), "connecting to %s: %s", path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

bool tr__operator_peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}
