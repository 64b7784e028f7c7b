/* A small YAML file as a document, for who looks at it by libyaml's nodes.
 *
 * libyaml's time grows with the square of how deep lists are nested, and of how many anchors there are; so a file is looked
 * through first, and one beyond these bounds is refused at the place that is too much. */
#ifndef TR_BASE_YAML_OS_H
#define TR_BASE_YAML_OS_H

#include <stddef.h>
#include <yaml.h>

#include <troupe/err.h>

#define TR__YAML_MAX         (1u << 20) /* bytes of a file */
#define TR__YAML_DEPTH_MAX   32         /* lists and mappings within each other */
#define TR__YAML_ANCHORS_MAX 1000       /* and aliases */

/* The whole file; yours to tr__free(). NULL and *error: it can't be read, or TR_ETOOBIG, TR_ENOMEM. Blocks. */
char *tr__yaml_bytes(const char *path, size_t *length, tr_error *error);
/* Make a document of it, which is yours to yaml_document_delete() after TR_OK only; one without a root if nothing is in it.
 * TR_EINVAL, with "path:line:column: what": it isn't YAML, has a second document, or is beyond a bound. TR_ENOMEM. */
tr_err tr__yaml_load(const char *path, const char *bytes, size_t length, yaml_document_t *document,
                     tr_error *error);
/* The like for who finds something wrong: TR_EINVAL with that place. */
tr_err tr__yaml_wrong(const char *path, yaml_mark_t at, const char *what, tr_error *error);

#endif
