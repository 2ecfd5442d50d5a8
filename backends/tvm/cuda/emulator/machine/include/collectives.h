// What the threads of a warp or of a block do together, and atomics.
#pragma once
#include "machine.h"

#define __syncthreads() emu_barrier(0, -1, __LINE__)
inline void __syncwarp(unsigned mask = 0xffffffffu) { emu_warp_barrier(mask); }
inline unsigned __activemask() { return emu_active_lanes(); }
inline unsigned __ballot_sync(unsigned mask, int predicate) { return emu_ballot(mask, predicate); }
inline int __any_sync(unsigned mask, int predicate) { return emu_ballot(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) { return emu_ballot(mask, !predicate) == 0; }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline uint32_t __cvta_generic_to_shared(const void* p) { return emu_shared_address(p); }

template <class T>
inline T emu_shuffled(unsigned mask, T value, int lane, int kind, int width) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  uint64_t bits = 0;
  __builtin_memcpy(&bits, &value, sizeof value);
  bits = emu_shuffle(mask, bits, lane, kind, width);
  __builtin_memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
inline T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return emu_shuffled(mask, value, lane, EMU_FROM_LANE, width);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  return emu_shuffled(mask, value, (int)lanes, EMU_UP, width);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned lanes, int width = 32) {
  return emu_shuffled(mask, value, (int)lanes, EMU_DOWN, width);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return emu_shuffled(mask, value, lanes, EMU_XOR, width);
}

// One by one already: what is said here is said to the sanitizers.
template <class T, class Change>
inline T emu_atomic(T* at, Change change) {
  T old, changed;
  __atomic_load(at, &old, __ATOMIC_RELAXED);
  do changed = change(old);
  while (!__atomic_compare_exchange(at, &old, &changed, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
template <class T>
inline T atomicAdd(T* at, T value) {
  return emu_atomic(at, [value](T old) { return T(old + value); });
}
template <class T>
inline T atomicSub(T* at, T value) {
  return emu_atomic(at, [value](T old) { return T(old - value); });
}
template <class T>
inline T atomicMax(T* at, T value) {
  return emu_atomic(at, [value](T old) { return old > value ? old : value; });
}
template <class T>
inline T atomicMin(T* at, T value) {
  return emu_atomic(at, [value](T old) { return old < value ? old : value; });
}
template <class T>
inline T atomicOr(T* at, T value) {
  return emu_atomic(at, [value](T old) { return T(old | value); });
}
template <class T>
inline T atomicExch(T* at, T value) {
  return emu_atomic(at, [value](T) { return value; });
}
template <class T>
inline T atomicCAS(T* at, T expected, T value) {
  return emu_atomic(at, [expected, value](T old) { return old == expected ? value : old; });
}
