/* From the API's one list: the printf-like functions over their va_list forms, and the host table. Constant
 * data. */
#include "actors/plugin/host.h"

#include <stdarg.h>

#include <troupe/troupe.h>

#include "actors/send.h"

static void end_args(va_list *args)
{
    va_end(*args);
}

#define TR_FN(returns, name, parameters, arguments)
#define TR_FNV(returns, name, index, parameters, arguments) \
    returns tr_##name(TR__UNWRAP parameters, ...)           \
    {                                                       \
        __attribute__((cleanup(end_args))) va_list args;    \
        va_start(args, format);                             \
        return tr_v##name(TR__UNWRAP arguments, args);      \
    }
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV

const tr_host tr__host_table = {
    .size = sizeof(tr_host),
    .abi_major = TR_ABI_MAJOR,
    .abi_minor = TR_ABI_MINOR,
#define TR_FN(returns, name, parameters, arguments)         .name = tr_##name,
#define TR_FNV(returns, name, index, parameters, arguments) .v##name = tr_v##name,
#include <troupe/api_list.h>
#undef TR_FN
#undef TR_FNV
};
