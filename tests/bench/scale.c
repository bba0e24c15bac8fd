/* Many rooms, and many members: docs/performance.md, "Scale". */
#include "scale.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int usage(void)
{
    fputs(
        "usage: scale rooms N [--name BYTES] [--log FILE]   what an idle room costs\n"
        "       scale members N                          what a round over a room's members costs\n"
        "       --quick: only what does not depend on the machine; for tests\n",
        stderr);
    return 2;
}

static bool take_options(struct scale_options *o, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            o->quick = true;
        else if (i + 1 == argc)
            return false;
        else if (!strcmp(argv[i], "--name"))
            o->name_length = (uint32_t)strtoul(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--log"))
            o->log = argv[++i];
        else
            return false;
    }
    return o->count && o->count <= 9999999 && o->name_length >= 8 && o->name_length <= 96;
}

int main(int argc, char **argv)
{
    struct scale_options options = {.name_length = 16};
    if (argc < 3)
        return usage();
    options.count = (uint32_t)strtoul(argv[2], NULL, 10);
    if (!take_options(&options, argc - 3, argv + 3))
        return usage();
    if (!strcmp(argv[1], "rooms"))
        return scale_rooms(&options);
    if (!strcmp(argv[1], "members") && !options.log)
        return options.count < 200 ? usage() : scale_members(&options);
    return usage();
}
