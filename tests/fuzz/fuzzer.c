/* libFuzzer's side of one target: FUZZ_TARGET is its name. */
#include "tests/fuzz/fuzz.h"

#define JOIN(a, b)   a##b
#define TARGET(name) JOIN(fuzz_, name)

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    fuzz_begin(&TARGET(FUZZ_TARGET));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    fuzz_run(&TARGET(FUZZ_TARGET), bytes, length);
    return 0;
}
