/* See address.h. Pure functions over text (inet_pton resolves nothing): any thread. */
#include "transport/address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"

static tr_err malformed(const char *text, const char *why, tr_error *error)
{
    return tr__fail(error, TR_EADDR,
                    "'%.100s' is no address: %s; write HOST:PORT, such as 127.0.0.1:7100 or [::1]:7100", text,
                    why);
}

static tr_err parse_port(const char *text, const char *digits, bool any_port, uint16_t *port, tr_error *error)
{
    unsigned value = 0;
    if (!*digits)
        return malformed(text, "the port is missing", error);
    for (const char *c = digits; *c; c++) {
        if (!isdigit((unsigned char)*c) || (value = value * 10 + (unsigned)(*c - '0')) > 65535)
            return malformed(text, "the port must be a number up to 65535", error);
    }
    if (value == 0 && !any_port)
        return malformed(text, "port 0 cannot be dialled", error);
    *port = (uint16_t)value;
    return TR_OK;
}

/* A host that isn't in brackets: a dotted quad, or a name that can't be mistaken for a number. */
static tr_err classify(const char *text, tr__net_address *address, tr_error *error)
{
    struct in_addr ipv4;
    const char *host = address->host;
    if (inet_pton(AF_INET, host, &ipv4) == 1) {
        address->kind = TR__HOST_IPV4;
        return TR_OK;
    }
    for (const char *c = host; *c; c++) {
        if (!isalnum((unsigned char)*c) && *c != '-' && *c != '.' && *c != '_')
            return malformed(text, "the host has a character that no host has (IPv6 goes into brackets)",
                             error);
    }
    /* What resolvers read as a number ("127.1", "0x7f000001") begins its last label with a digit. */
    const char *label = strrchr(host, '.');
    if (isdigit((unsigned char)(label ? label[1] : host[0])) || host[0] == '.' || host[0] == '-')
        return malformed(text, "the host is neither a dotted quad nor a name", error);
    address->kind = TR__HOST_NAME;
    return TR_OK;
}

tr_err tr__net_address_parse(const char *text, bool any_port, tr__net_address *address, tr_error *error)
{
    const char *host = strncmp(text, "tcp://", 6) == 0 ? text + 6 : text;
    const char *end, *digits;
    bool bracketed = *host == '[';
    *address = (tr__net_address){0};
    if (bracketed) {
        end = strchr(++host, ']');
        if (!end || end[1] != ':')
            return malformed(text, "after '[' comes an IPv6 address, then ']:PORT'", error);
        digits = end + 2;
    } else {
        end = strrchr(host, ':');
        if (!end)
            return malformed(text, "the port is missing", error);
        digits = end + 1;
    }
    size_t length = (size_t)(end - host);
    if (length == 0)
        return malformed(text, "the host is missing", error);
    if (length > TR__ADDRESS_MAX - 8) /* brackets and the port go with it when printed */
        return malformed(text, "the host is too long", error);
    memcpy(address->host, host, length);
    TR_TRY(parse_port(text, digits, any_port, &address->port, error));
    if (bracketed) {
        struct in6_addr ipv6;
        if (inet_pton(AF_INET6, address->host, &ipv6) != 1)
            return malformed(text, "what is in the brackets is no IPv6 address", error);
        address->kind = TR__HOST_IPV6;
        return TR_OK;
    }
    return classify(text, address, error);
}

void tr__net_address_print(const tr__net_address *address, char *text)
{
    bool ipv6 = address->kind == TR__HOST_IPV6;
    snprintf(text, TR__ADDRESS_MAX + 1, "%s%.247s%s:%u", ipv6 ? "[" : "", address->host, ipv6 ? "]" : "",
             address->port);
}

bool tr__net_address_is_loopback(const tr__net_address *address)
{
    struct in6_addr ipv6;
    struct in_addr ipv4;
    if (address->kind == TR__HOST_IPV4 && inet_pton(AF_INET, address->host, &ipv4) == 1)
        return ntohl(ipv4.s_addr) >> 24 == 127;
    if (address->kind == TR__HOST_IPV6 && inet_pton(AF_INET6, address->host, &ipv6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&ipv6);
    return false;
}

bool tr__net_address_is_any(const tr__net_address *address)
{
    struct in6_addr ipv6;
    struct in_addr ipv4;
    if (address->kind == TR__HOST_IPV4 && inet_pton(AF_INET, address->host, &ipv4) == 1)
        return ipv4.s_addr == 0;
    if (address->kind == TR__HOST_IPV6 && inet_pton(AF_INET6, address->host, &ipv6) == 1)
        return IN6_IS_ADDR_UNSPECIFIED(&ipv6);
    return false;
}

tr_err tr__net_address_refuse(const char *text, tr_error *error)
{
    return tr__fail(
        error, TR_EPERM,
        "refused to listen on %.80s: it is not loopback, and without a key anybody could join; make one by "
        "`troupe key new FILE`, then --key FILE on every node; or listen on 127.0.0.1:PORT",
        text);
}
