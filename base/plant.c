/* See plant.h. Empty unless built with TR_PLANTS. */
#include "base/plant.h"

#ifdef TR_PLANTS

#include <string.h>

tr__plant_number tr__plant;

#define TR__ROW(name, property, what) {#name, #property, what},
const tr__plant_row tr__plants[TR__PLANT_COUNT] = {{"", "", ""}, TR__PLANTED_BUGS(TR__ROW)};
#undef TR__ROW

bool tr__plant_choose(const char *name)
{
    unsigned found = TR__PLANT_NONE;
    if (name)
        for (found = TR__PLANT_NONE + 1; found < TR__PLANT_COUNT; found++)
            if (strcmp(tr__plants[found].name, name) == 0)
                break;
    if (found == TR__PLANT_COUNT)
        return false;
    tr__plant = (tr__plant_number)found;
    return true;
}

#endif
