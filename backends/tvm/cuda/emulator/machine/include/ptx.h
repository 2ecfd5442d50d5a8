// The PTX instructions that are more than a line of C++; the table of them, in Python, calls these. What touches memory is written here and
// not in the machine, so that sanitizers see it as part of the kernel.
#pragma once
#include "collectives.h"
#include "cuda_bf16.h"
#include "cuda_fp16.h"

inline int emu_thread_number() {
  const emu_place& here = *emu_here;
  return (int)(here.thread.x + here.block_size.x * (here.thread.y + here.block_size.y * here.thread.z));
}
inline int emu_lane() { return emu_thread_number() & 31; }

// Registers of 32 bits, whatever C++ has them as: to be read, and to be written.
template <int N>
struct emu_words {
  uint32_t value[N];
};
template <int N>
struct emu_registers {
  uint32_t* at[N];
  void write(const uint32_t* words) const {
    for (int i = 0; i < N; i++) __builtin_memcpy(at[i], words + i, 4);
  }
};
template <class... T>
inline emu_words<(int)sizeof...(T)> emu_read(T... values) {
  return {{emu_bits<uint32_t>(values)...}};
}
template <class... T>
inline emu_registers<(int)sizeof...(T)> emu_written(T&... registers) {
  static_assert(((sizeof(T) == 4) && ...), "registers of 32 bits");
  return {{(uint32_t*)&registers...}};
}

// An address and bytes beyond it.
template <class T>
inline const char* emu_beyond(T* pointer, long bytes) {
  return (const char*)pointer + bytes;
}
template <class T>
inline std::enable_if_t<std::is_integral<T>::value, T> emu_beyond(T address, long bytes) {
  return (T)(address + bytes);
}

// mov: bits, or where the sizes differ, as of a constant, the number.
template <class To, class From>
inline void emu_move(To& to, From from) {
  if constexpr (sizeof(To) == sizeof(From))
    to = emu_bits<To>(from);
  else
    to = (To)from;
}

inline void emu_perform(const emu_copy& copy) {
  __builtin_memcpy(copy.to, copy.from, (size_t)copy.taken);
  __builtin_memset((char*)copy.to + copy.taken, 0, (size_t)(copy.bytes - copy.taken));
}
inline void emu_cp_async(uint32_t to, const void* from, int bytes, int taken) {
  emu_copy due;
#ifdef EMU_TRAFFIC
  emu_note_copy(to, from, bytes, taken);
#endif
  if (emu_copy_begins(to, from, bytes, taken, &due)) emu_perform(due);
}
inline void emu_cp_async_wait(int groups_left) {
  emu_copy due;
  while (emu_copy_completes(groups_left, &due)) emu_perform(due);
}
inline void emu_cp_async_wait_all() {
  emu_copies_commit();
  emu_cp_async_wait(0);
}

template <int count, bool transposed>
inline void emu_ldmatrix(emu_registers<count> to, uint32_t address) {
  uint16_t row[8];
  uint32_t fragments[count];
  if (emu_lane() < 8 * count) __builtin_memcpy(row, emu_shared_pointer(address, 16, 16), 16);
  emu_load_matrices(row, address, count, transposed, fragments);
  to.write(fragments);
}
template <int count, bool transposed>
inline void emu_stmatrix(uint32_t address, emu_words<count> from) {
  uint16_t row[8];
  emu_store_matrices(from.value, count, transposed, address, row);
  if (emu_lane() < 8 * count) __builtin_memcpy(emu_shared_pointer(address, 16, 16), row, 16);
}

template <int k, int type, int sum_type, int D, int A, int B>
inline void emu_mma(emu_registers<D> d, emu_words<A> a, emu_words<B> b, emu_words<D> c) {
  static_assert(D == (sum_type == EMU_F32 ? 4 : 2), "a fragment of 16x8 sums");
  static_assert(A == k / (type == EMU_TF32 ? 2 : 4) && 2 * B == A, "fragments of 16 rows and of 8 columns");
  uint32_t sums[D];
  emu_multiply(k, type, sum_type, sums, a.value, b.value, c.value);
  d.write(sums);
}

EMU_UNCOUNTED inline void emu_perform(const emu_product& product) {
  int thread = emu_thread_number() & 127;
  uint16_t chunks[EMU_PRODUCT_CHUNKS][8];
  uint32_t address;
  for (int i = 0; i < EMU_PRODUCT_CHUNKS && emu_product_chunk(&product, thread, i, &address); i++)
    __builtin_memcpy(chunks[i], emu_shared_pointer(address, 16, 16), 16);
  emu_product_multiply(&product, chunks[0]);
}
template <int n, int type>
inline void emu_wgmma(emu_registers<n / 2> d, uint64_t a, uint64_t b, bool adds, int a_scale, int b_scale, int a_transposed = 0,
                      int b_transposed = 0) {
  if (a_scale != 1 || b_scale != 1 || a_transposed || b_transposed) emu_fault("wgmma with a negated or transposed operand is not emulated");
  emu_product due;
  if (emu_product_begins(n, type, (float**)d.at, a, b, adds, &due)) emu_perform(due);
}
inline void emu_wgmma_wait(int groups_left) {
  emu_product due;
  while (emu_product_completes(groups_left, &due)) emu_perform(due);
}

// Memory by vectors of registers.
template <class T, int N>
inline void emu_load(emu_registers<N> to, const void* from) {
  static_assert(sizeof(T) == 4, "registers of 32 bits");
  uint32_t words[N];
  __builtin_memcpy(words, from, sizeof words);  // one access
  to.write(words);
}
template <class T, int N>
inline void emu_store(void* to, emu_words<N> from) {
  static_assert(sizeof(T) == 4, "registers of 32 bits");
  __builtin_memcpy(to, from.value, sizeof from.value);
}

// Two floats in a register, the first operand in the upper half.
template <class Small>
inline uint32_t emu_packed(float high, float low) {
  return (uint32_t)Small(high).bits << 16 | Small(low).bits;
}
// To the nearest number with 10 digits, halves away from zero.
inline uint32_t emu_to_tf32(float value) {
  uint32_t bits = emu_bits<uint32_t>(value);
  return std::isfinite(value) ? (bits + 0x1000) & 0xffffe000u : bits;
}
