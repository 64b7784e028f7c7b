/* See sp_address.h. */
#include "actors/kinds/sp_address.h"

#include <stdio.h>
#include <string.h>

#include "actors/kinds/sp.h"
#include "base/err.h"
#include "transport/address.h"

#define FORMS \
    "write tcp://127.0.0.1:5555, ws://127.0.0.1:80/path, ipc:///path, abstract://name or inproc://name"

typedef enum scheme { TCP, WS, LOCAL, UNKNOWN } scheme;

static scheme scheme_of(const char *url, const char **rest)
{
    static const struct {
        const char *begin;
        scheme is;
    } all[] = {
        {"tcp://", TCP}, {"ws://", WS}, {"ipc://", LOCAL}, {"abstract://", LOCAL}, {"inproc://", LOCAL}};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        size_t length = strlen(all[i].begin);
        if (strncmp(url, all[i].begin, length) == 0) {
            *rest = url + length;
            return all[i].is;
        }
    }
    return UNKNOWN;
}

/* All but the host; *host is "host:port" of a network's, "" of others. */
static tr_err check(const char *url, char *host, tr_error *error)
{
    const char *rest = NULL;
    scheme is = scheme_of(url, &rest);
    host[0] = '\0';
    if (strlen(url) >= TR__SP_URL_MAX)
        return tr__fail(error, TR_EADDR, "'%.60s...' is longer than the %d bytes of a URL", url,
                        TR__SP_URL_MAX - 1);
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return tr__fail(error, TR_EADDR, "'%.100s' has a blank or a control character", url);
    if (is == UNKNOWN)
        return tr__fail(error, TR_EADDR, "'%.60s' is no URL of a socket: " FORMS, url);
    if (!*rest)
        return tr__fail(error, TR_EADDR, "'%.60s' names nothing: " FORMS, url);
    if (is == LOCAL)
        return TR_OK;
    size_t length = strcspn(rest, "/?#");
    if (is == TCP && rest[length])
        return tr__fail(error, TR_EADDR, "'%.100s': nothing follows the port of a tcp URL", url);
    snprintf(host, TR__SP_URL_MAX, "%.*s", (int)length, rest);
    return TR_OK;
}

tr_err tr__sp_check_dial(const char *url, tr_error *error)
{
    char host[TR__SP_URL_MAX];
    tr__net_address address;
    TR_TRY(check(url, host, error));
    return *host ? tr__net_address_parse(host, false, &address, error) : TR_OK;
}

tr_err tr__sp_check_listen(const char *url, bool anywhere, tr_error *error)
{
    char host[TR__SP_URL_MAX];
    tr__net_address address;
    TR_TRY(check(url, host, error));
    if (!*host)
        return TR_OK;
    TR_TRY(tr__net_address_parse(host, true, &address, error));
    if (address.kind == TR__HOST_NAME)
        return tr__fail(error, TR_EADDR,
                        "cannot listen on %.80s: write the host as a number, such as 127.0.0.1", url);
    if (anywhere || tr__net_address_is_loopback(&address))
        return TR_OK;
    /* Short: as the reason of an actor's end it has 127 bytes. */
    return tr__fail(error, TR_EPERM, "%.60s isn't loopback; listen_anywhere allows it, to everybody", url);
}
