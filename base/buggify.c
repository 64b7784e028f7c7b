/* See buggify.h. Empty in the library of users. */
#include "base/buggify.h"

#ifdef TR_BUGGIFY_POINTS

#include <stddef.h>

bool (*tr__buggify)(tr__buggify_point point);

#define TR__WORD(name, what) #name,
const char *const tr__buggify_names[TR__POINT_COUNT] = {TR__BUGGIFY_POINTS(TR__WORD)};
#undef TR__WORD

#endif
