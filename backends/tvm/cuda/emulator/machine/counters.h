// What is counted while kernels run. A conflict-free ldmatrix takes a cycle a matrix of 8 rows, one whose rows share banks takes more.
#pragma once
#include <cstdint>

#define EMU_COUNTERS(X)                                                                               \
  X(launches) X(blocks) X(barriers) X(shuffles) X(ldmatrix) X(ldmatrix_matrices) X(ldmatrix_cycles)   \
  X(mma) X(mma_macs) X(wgmma) X(copies) X(copied_bytes) X(shared_peak) X(graph_launches) X(captured)           \
  X(allocations) X(allocated_bytes) X(transfers) X(synchronizations)

namespace emu {

struct Counters {
#define EMU_FIELD(name) uint64_t name;
  EMU_COUNTERS(EMU_FIELD)
#undef EMU_FIELD
};
extern Counters counters;

}  // namespace emu
