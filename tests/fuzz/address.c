/* Texts that people write: addresses of nodes and of actors, names, ids and tickets of transactions. What is read and
 * printed is read again, as the same. */
#include <stdlib.h>
#include <string.h>

#include "actors/tx/frame.h"
#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"
#include "transport/address.h"

static void node_address(const char *text, bool any_port)
{
    tr__net_address address, back;
    tr_error error = {0};
    char out[TR__ADDRESS_MAX + 1], again[TR__ADDRESS_MAX + 1];
    if (tr__net_address_parse(text, any_port, &address, &error) != TR_OK) {
        tr__check(error.text[0], "an error without a text");
        tr__net_address_refuse(text, &error);
        return;
    }
    tr__net_address_print(&address, out);
    tr__check(tr__net_address_parse(out, any_port, &back, &error) == TR_OK, "'%s' isn't read: %s", out,
              error.text);
    tr__net_address_print(&back, again);
    tr__check(strcmp(out, again) == 0 && back.kind == address.kind && back.port == address.port,
              "'%s' comes back as '%s'", out, again);
    tr__check(tr__net_address_is_loopback(&address) == tr__net_address_is_loopback(&back),
              "loopback, and not");
}

static void one(const uint8_t *bytes, size_t length)
{
    char *text = (char *)fuzz_copy(bytes, length, true);
    node_address(text, true);
    node_address(text, false);
    tr_addr address, back;
    tr_error error = {0};
    char out[TR_ADDR_TEXT_MAX];
    if (tr__addr_parse(text, &address, &error) == TR_OK) {
        tr__addr_format(address, out);
        tr__check(tr__addr_parse(out, &back, NULL) == TR_OK && tr_addr_equal(address, back),
                  "'%s' isn't read", out);
    } else {
        tr__check(error.text[0], "an error without a text");
    }
    tr__check(tr__name_check("node", text, &error) == TR_OK || error.text[0], "an error without a text");
    tr_tx_id id, id_back;
    char id_text[TR_TX_ID_TEXT], node[TR_NAME_MAX], ticket[TR_TX_TICKET_MAX];
    uint8_t log[TR__LOG_ID_BYTES];
    if (tr__tx_id_parse(text, &id))
        tr__check(tr__tx_id_parse(tr__tx_id_format(&id, id_text), &id_back) &&
                      memcmp(&id, &id_back, sizeof(id)) == 0,
                  "an id comes back as another: %s", id_text);
    if (tr__tx_ticket_parse(text, &id, node, log)) {
        tr__tx_ticket_format(&id, node, log, ticket);
        tr__check(tr__tx_ticket_parse(ticket, &id_back, node, log) && memcmp(&id, &id_back, sizeof(id)) == 0,
                  "a ticket comes back as another: %s", ticket);
    }
    free(text);
}

const fuzz_target fuzz_address = {"address", 64u << 10, 8, one};
