/* The page with a state from a file, for its tests: page_server STATE.json [PICTURE.png] writes its address
 * and serves until standard input ends. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/nng_page.h"

static char *content_of(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    char *bytes = file ? malloc(16 << 20) : NULL;
    if (!bytes) {
        perror(path);
        exit(1);
    }
    *size = fread(bytes, 1, (16 << 20) - 1, file);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

int main(int argc, char **argv)
{
    tr_error error;
    size_t size;
    tr__page *page = argc > 1 ? tr__page_open(0, &error) : NULL;
    if (!page) {
        fprintf(stderr, "page_server: %s\n", argc > 1 ? error.text : "page_server STATE.json [PICTURE.png]");
        return 1;
    }
    tr__page_set_state(page, content_of(argv[1], &size));
    if (argc > 2) {
        char *picture = content_of(argv[2], &size);
        tr__page_set_picture(page, picture, size);
        free(picture);
    }
    printf("http://127.0.0.1:%u\n", (unsigned)tr__page_port(page));
    fflush(stdout);
    while (getchar() != EOF)
        ;
    tr__page_close(page);
    return 0;
}
