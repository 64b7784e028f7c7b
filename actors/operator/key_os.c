/* The operator's request to read the node's key file again. The control thread, whose the endpoint's keys are; the file
 * is small, and a node without it makes no new connections anyway. What is wrong with it is the answer: then the node
 * goes on with the keys that it has. */
#include "transport/key_os.h"
#include "actors/operator/operator.h"
#include "actors/remote/remote.h"
#include "base/err.h"

static tr_err reload(tr_node *node, char *words, tr_error *error)
{
    tr__keys keys;
    if (!node->opts.key)
        return tr__fail(error, TR_EINVAL, "node %s runs without a key; start it with --key FILE", node->name);
    TR_TRY(tr__key_read(node->opts.key, &keys, error));
    tr__remote_set_keys(node->remote, &keys);
    tr__keys_words(&keys, words);
    tr__wipe(&keys, sizeof(keys));
    tr__node_log(node, TR_LOG_INFO, "read %s again: %s", node->opts.key, words);
    return TR_OK;
}

json_t *tr__operator_reload_key(tr_node *node)
{
    char words[TR__KEYS_WORDS];
    tr_error error;
    if (reload(node, words, &error) != TR_OK)
        return tr__operator_error(&error);
    return json_pack("{s:b, s:s}", "ok", 1, "keys", words);
}
