/* The message types of the inputs: every kind of field, versions of one name, what nests and what is small on the wire and
 * large in memory. */
#include <troupe/message.h>

#include "mailbox/type.h"
#include "tests/fuzz/fuzz.h"

TR_STRUCT(fuzz_part, (string, name), (u32, price), (optional, f64, tax))
TR_MESSAGE(fuzz_flat, (bool, flag), (i8, a), (i32, b), (i64, c), (u8, d), (u16, e), (u32, f), (u64, g),
           (f64, ratio), (f32, half), (addr, who))
TR_MESSAGE(fuzz_texts, (string, name), (bytes, blob), (string, last))
TR_MESSAGE(fuzz_bill, (u32, n), (list, fuzz_part, parts), (fuzz_part, whole), (optional, string, note),
           (optional, list, u64, codes))
TR_STRUCT(fuzz_nothing, (optional, u64, a), (optional, u64, b), (optional, u64, c), (optional, u64, d))
TR_MESSAGE(fuzz_nothings, (list, fuzz_nothing, all))
TR_MESSAGE(fuzz_buffers, (buffer, one), (list, string, names), (optional, buffer, two))
TR_STRUCT(fuzz_leaf, (list, u8, small), (optional, addr, who))
TR_STRUCT(fuzz_branch, (list, fuzz_leaf, leaves), (optional, fuzz_leaf, leaf))
TR_MESSAGE(fuzz_tree, (list, fuzz_branch, branches), (fuzz_branch, trunk))
TR_MESSAGE(fuzz_none)

const tr_typeinfo *fuzz_type(unsigned number)
{
    tr_type *const types[FUZZ_TYPES] = {&fuzz_flat_type,     &fuzz_texts_type,   &fuzz_bill_type,
                                        &fuzz_nothings_type, &fuzz_buffers_type, &fuzz_tree_type,
                                        &fuzz_none_type};
    return tr__type_of(types[number % FUZZ_TYPES]);
}
