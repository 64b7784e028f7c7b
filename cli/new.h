/* What `troupe new` writes. */
#ifndef TR_CLI_NEW_H
#define TR_CLI_NEW_H

typedef struct cli_template {
    const char *name; /* of the file; NULL: the last */
    const char *text;
} cli_template;

extern const cli_template cli_plugin_templates[];

#endif
