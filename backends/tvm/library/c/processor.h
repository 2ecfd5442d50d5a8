/* Which instruction sets the processor has that this runs on: a part of convc.c. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

/* `has(name)`, by LLVM's names; those that a compiler's __builtin_cpu_supports knows depend on its age. */
#if defined(__x86_64__)
enum { EAX, EBX, ECX, EDX, REGISTERS };
enum { NONE = 0, YMM = 0x6, ZMM = 0xe6, APX = 0x80000 }; /* registers that the system must keep for a thread, as bits of XCR0 */

static const struct {
  const char *name;
  uint32_t leaf, part, at, bit, kept;
} INSTRUCTION_SETS[] = { /* where the processor says so */
    {"sse3", 1, 0, ECX, 0, NONE}, {"pclmul", 1, 0, ECX, 1, NONE}, {"ssse3", 1, 0, ECX, 9, NONE}, {"fma", 1, 0, ECX, 12, YMM},
    {"sse4.1", 1, 0, ECX, 19, NONE}, {"sse4.2", 1, 0, ECX, 20, NONE}, {"movbe", 1, 0, ECX, 22, NONE}, {"popcnt", 1, 0, ECX, 23, NONE},
    {"avx", 1, 0, ECX, 28, YMM}, {"f16c", 1, 0, ECX, 29, YMM}, {"lzcnt", 0x80000001, 0, ECX, 5, NONE},
    {"sse4a", 0x80000001, 0, ECX, 6, NONE}, {"xop", 0x80000001, 0, ECX, 11, YMM}, {"fma4", 0x80000001, 0, ECX, 16, YMM},
    {"tbm", 0x80000001, 0, ECX, 21, NONE}, {"bmi", 7, 0, EBX, 3, NONE}, {"avx2", 7, 0, EBX, 5, YMM}, {"bmi2", 7, 0, EBX, 8, NONE},
    {"avx512f", 7, 0, EBX, 16, ZMM}, {"avx512dq", 7, 0, EBX, 17, ZMM}, {"avx512ifma", 7, 0, EBX, 21, ZMM}, {"avx512cd", 7, 0, EBX, 28, ZMM},
    {"avx512bw", 7, 0, EBX, 30, ZMM}, {"avx512vl", 7, 0, EBX, 31, ZMM}, {"avx512vbmi", 7, 0, ECX, 1, ZMM},
    {"avx512vbmi2", 7, 0, ECX, 6, ZMM}, {"gfni", 7, 0, ECX, 8, NONE}, {"vpclmulqdq", 7, 0, ECX, 10, YMM},
    {"avx512vnni", 7, 0, ECX, 11, ZMM}, {"avx512bitalg", 7, 0, ECX, 12, ZMM}, {"avx512vpopcntdq", 7, 0, ECX, 14, ZMM},
    {"avx512fp16", 7, 0, EDX, 23, ZMM}, {"avxvnni", 7, 1, EAX, 4, YMM}, {"avx512bf16", 7, 1, EAX, 5, ZMM}, {"avxifma", 7, 1, EAX, 23, YMM},
    {"avxvnniint8", 7, 1, EDX, 4, YMM}, {"avxneconvert", 7, 1, EDX, 5, YMM}, {"avxvnniint16", 7, 1, EDX, 10, YMM},
    {"egpr", 7, 1, EDX, 21, APX},
    {"avx10.2", 0x24, 0, EBX, 1, ZMM}, /* a number of which 1 stands for 10.1, 2 and 3 for what has 10.2 */
};

static uint32_t kept_registers(void) {
  uint32_t word[REGISTERS] = {0}, low = 0, high = 0;
  __get_cpuid(1, &word[EAX], &word[EBX], &word[ECX], &word[EDX]);
  if (word[ECX] >> 27 & 1) __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0)); /* OSXSAVE: the system lets us ask */
  return low;
}

static int has(const char *name) {
  for (size_t i = 0; i < sizeof INSTRUCTION_SETS / sizeof *INSTRUCTION_SETS; i++) {
    if (strcmp(name, INSTRUCTION_SETS[i].name)) continue;
    uint32_t word[REGISTERS] = {0}, kept = INSTRUCTION_SETS[i].kept;
    __get_cpuid_count(INSTRUCTION_SETS[i].leaf, INSTRUCTION_SETS[i].part, &word[EAX], &word[EBX], &word[ECX], &word[EDX]);
    return (word[INSTRUCTION_SETS[i].at] >> INSTRUCTION_SETS[i].bit & 1) && (kept_registers() & kept) == kept;
  }
  return 0;
}
#elif defined(__aarch64__) && defined(__linux__)
static const struct {
  const char *name;
  unsigned long word;
  int bit;
} INSTRUCTION_SETS[] = {
    {"neon", AT_HWCAP, 1}, {"fullfp16", AT_HWCAP, 10}, {"rdm", AT_HWCAP, 12}, {"complxnum", AT_HWCAP, 14}, {"dotprod", AT_HWCAP, 20},
    {"sve", AT_HWCAP, 22}, {"sve2", AT_HWCAP2, 1}, {"i8mm", AT_HWCAP2, 13}, {"bf16", AT_HWCAP2, 14},
};

static int has(const char *name) {
  for (size_t i = 0; i < sizeof INSTRUCTION_SETS / sizeof *INSTRUCTION_SETS; i++)
    if (!strcmp(name, INSTRUCTION_SETS[i].name)) return getauxval(INSTRUCTION_SETS[i].word) >> INSTRUCTION_SETS[i].bit & 1;
  return 0;
}
#else
static int has(const char *name) { return !strcmp(name, "neon"); } /* part of AArch64 */
#endif
