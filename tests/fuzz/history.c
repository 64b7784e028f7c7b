/* Histories of transactions: files of JSON lines, up to three with a NUL between them; read, judged, and written as EDN. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/tx/history.h"
#include "tests/fuzz/fuzz.h"

#define FILES 3

static long read_some(void *context, void *bytes, size_t size)
{
    fuzz_bytes *in = context;
    size_t got;
    const uint8_t *some = fuzz_some(in, size, &got);
    memcpy(bytes, some, got);
    return (long)got;
}

static void found(void *context, const judge_finding *finding)
{
    uint64_t *told = context;
    tr__check(finding->kind && finding->text[0], "a finding without a text");
    tr__check(finding->steps_told <= finding->steps_count, "more steps than there are");
    for (uint32_t i = 0; i < finding->steps_told; i++)
        tr__check(finding->steps[i].edge && finding->steps[i].text[0], "a step without a text");
    ++*told;
}

static void judge(const history_read *read)
{
    tr_error error = {0};
    judge_counts counts;
    uint64_t told = 0;
    tr_err err = judge_run(read->history, found, &told, &counts, &error);
    tr__check(err == TR_OK, "what was read isn't judged: %s", error.text);
    tr__check(told <= counts.findings && (told > 0) == (counts.findings > 0), "findings that aren't told");
    tr__check(counts.committed + counts.aborted + counts.unknown == counts.operations, "the counts differ");
    judge_close(read->history);
}

static void one(const uint8_t *bytes, size_t length)
{
    static const char *const names[FILES] = {"a", "b", "c"};
    static FILE *edn;
    fuzz_bytes files[FILES];
    history_source sources[FILES];
    history_read read;
    tr_error error = {0};
    uint32_t count = 0;
    const uint8_t *at = bytes, *end = bytes + length;
    if (!edn)
        edn = fopen("/dev/null", "w");
    do {
        const uint8_t *nul = count < FILES - 1 && at < end ? memchr(at, 0, (size_t)(end - at)) : NULL;
        files[count] = (fuzz_bytes){at, nul ? nul : end};
        sources[count] = (history_source){names[count], read_some, &files[count]};
        count++;
        at = nul ? nul + 1 : end;
    } while (at < end);
    tr_err err = history_load(sources, names, count, edn, &read, &error);
    tr__check(err == TR_OK || (error.code == err && error.text[0]), "an error without a text");
    if (err == TR_OK)
        judge(&read);
}

const fuzz_target fuzz_history = {"history", 512u << 10, 1024, one};
