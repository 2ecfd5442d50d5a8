// nvcuda::wmma for tiles of 16x16x16. Fragments lie in the lanes as those of mma.sync.m16n8k16 do, which the device leaves open.
#pragma once
#include "ptx.h"

namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert(M == 16 && N == 16 && K == 16, "wmma is emulated for tiles of 16x16x16");
  static constexpr int num_elements = 8;
  T x[8];
};

// Row and column, in a tile of 16x16, of element i of the calling lane.
struct emu_cell {
  int row, column;
};
inline emu_cell emu_cell_of(int i) {
  int lane = emu_lane();
  return {(lane >> 2) + 8 * (i >> 1 & 1), (lane & 3) * 2 + (i & 1) + 8 * (i >> 2)};
}
inline void emu_together() { emu_ballot(0xffffffffu, 1); }

template <class Use, int M, int N, int K, class T, class L>
inline void fill_fragment(fragment<Use, M, N, K, T, L>& f, T value) {
  for (T& x : f.x) x = value;
}

template <int M, int N, int K, class T, class L>
inline void load_matrix_sync(fragment<matrix_a, M, N, K, T, L>& f, const T* from, unsigned stride) {
  for (int i = 0; i < 8; i++) {
    emu_cell at = emu_cell_of(i);
    f.x[i] = std::is_same<L, row_major>::value ? from[at.row * stride + at.column] : from[at.column * stride + at.row];
  }
  emu_together();
}
template <int M, int N, int K, class T, class L>  // held as its columns
inline void load_matrix_sync(fragment<matrix_b, M, N, K, T, L>& f, const T* from, unsigned stride) {
  for (int i = 0; i < 8; i++) {
    emu_cell at = emu_cell_of(i);
    f.x[i] = std::is_same<L, row_major>::value ? from[at.column * stride + at.row] : from[at.row * stride + at.column];
  }
  emu_together();
}
template <int M, int N, int K, class T>
inline void load_matrix_sync(fragment<accumulator, M, N, K, T>& f, const T* from, unsigned stride, layout_t layout) {
  for (int i = 0; i < 8; i++) {
    emu_cell at = emu_cell_of(i);
    f.x[i] = layout == mem_row_major ? from[at.row * stride + at.column] : from[at.column * stride + at.row];
  }
  emu_together();
}
template <int M, int N, int K, class T>
inline void store_matrix_sync(T* to, const fragment<accumulator, M, N, K, T>& f, unsigned stride, layout_t layout) {
  for (int i = 0; i < 8; i++) {
    emu_cell at = emu_cell_of(i);
    (layout == mem_row_major ? to[at.row * stride + at.column] : to[at.column * stride + at.row]) = f.x[i];
  }
  emu_together();
}

template <class T>
struct emu_type_of;
template <>
struct emu_type_of<half> {
  static constexpr int value = EMU_F16;
};
template <>
struct emu_type_of<nv_bfloat16> {
  static constexpr int value = EMU_BF16;
};

template <class D, int M, int N, int K, class T, class LA, class LB>
inline void mma_sync(fragment<accumulator, M, N, K, D>& d, const fragment<matrix_a, M, N, K, T, LA>& a,
                     const fragment<matrix_b, M, N, K, T, LB>& b, const fragment<accumulator, M, N, K, D>& c) {
  uint32_t a_words[4], b_words[4];
  __builtin_memcpy(a_words, a.x, 16);
  __builtin_memcpy(b_words, b.x, 16);
  for (int side = 0; side < 2; side++) {  // columns 0 to 7, and 8 to 15
    uint32_t b_side[2] = {b_words[side], b_words[2 + side]};
    float sums[4];
    for (int i = 0; i < 4; i++) sums[i] = (float)c.x[4 * side + i];
    emu_multiply(16, emu_type_of<T>::value, EMU_F32, (uint32_t*)sums, a_words, b_side, (const uint32_t*)sums);
    for (int i = 0; i < 4; i++) d.x[4 * side + i] = D(sums[i]);
  }
}

}  // namespace wmma
}  // namespace nvcuda
