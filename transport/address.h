/* Addresses of nodes as people write them: "host:port", "[::1]:port", either with "tcp://" before it. Pure:
 * parses, prints and judges text; resolves nothing. Any thread. */
#ifndef TR_TRANSPORT_ADDRESS_H
#define TR_TRANSPORT_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <troupe/err.h>

#include "transport/frame.h"

typedef enum tr__host_kind { TR__HOST_NAME, TR__HOST_IPV4, TR__HOST_IPV6 } tr__host_kind;

typedef struct tr__net_address {
    tr__host_kind kind;
    char host[TR__ADDRESS_MAX + 1]; /* IPv6 without brackets */
    uint16_t port;
    bool anywhere; /* to listen on: a name may resolve to what isn't loopback (peers prove a key) */
} tr__net_address;

/* TR_EADDR and a text that shows the form. Port 0 only if any_port. Numbers in a host are a dotted quad or
 * refused
 * ("127.1", "0x7f.0.0.1" and "2130706433" are no addresses here). */
tr_err tr__net_address_parse(const char *text, bool any_port, tr__net_address *address, tr_error *error);
/* As "host:port" or "[host]:port"; text has room for TR__ADDRESS_MAX + 1 bytes. */
void tr__net_address_print(const tr__net_address *address, char *text);
/* 127.0.0.0/8, ::1. A name is not known to be one: false. */
bool tr__net_address_is_loopback(const tr__net_address *address);
/* 0.0.0.0, :: : to listen on, not to be reached at. */
bool tr__net_address_is_any(const tr__net_address *address);
/* The refusal to listen on `text`: TR_EPERM, why, and what to do: another address, or a key. */
tr_err tr__net_address_refuse(const char *text, tr_error *error);

#endif
