// ldmatrix, stmatrix and mma.sync, with fragments as the PTX ISA lays them over the lanes: of a matrix of 8x8, lane 4r + c has the two
// values in columns 2c and 2c + 1 of row r.
#include <algorithm>
#include "block.h"
#include "include/small_floats.h"

namespace emu {

struct Rows {
  uint16_t row[8];
  uint32_t fragments[4];
  uint32_t address;
  int count, transposed;
};

static Rows& rows_of(Thread* lane) { return *(Rows*)lane->request; }

// Eight rows of 16 bytes are read at once if they lie in different banks; the device reads as often as one has to be.
static void count_conflicts(Thread** lanes, int matrix) {
  uint32_t rows[8];
  int in_banks[8] = {};
  for (int r = 0; r < 8; r++) rows[r] = rows_of(lanes[8 * matrix + r]).address / 16;
  std::sort(rows, rows + 8);
  for (int r = 0; r < 8; r++)
    if (!r || rows[r] != rows[r - 1]) in_banks[rows[r] % 8]++;
  counters.ldmatrix_matrices++;
  counters.ldmatrix_cycles += (uint64_t)*std::max_element(in_banks, in_banks + 8);
}

static void do_load(Thread** lanes) {
  int count = rows_of(lanes[0]).count;
  bool transposed = rows_of(lanes[0]).transposed;
  counters.ldmatrix++;
  for (int matrix = 0; matrix < count; matrix++) {
    count_conflicts(lanes, matrix);
    for (int lane = 0; lane < 32; lane++) {
      int r = lane / 4, c = lane % 4 * 2;
      uint32_t pair[2];
      for (int e = 0; e < 2; e++) pair[e] = transposed ? rows_of(lanes[8 * matrix + c + e]).row[r] : rows_of(lanes[8 * matrix + r]).row[c + e];
      rows_of(lanes[lane]).fragments[matrix] = pair[0] | pair[1] << 16;
    }
  }
}

extern "C" void emu_load_matrices(const uint16_t* row, uint32_t address, int count, int transposed, uint32_t* fragments) {
  Rows rows{{}, {}, address, count, transposed};
  if (current->lane < 8 * count) memcpy(rows.row, row, 16);
  collective("ldmatrix", 0xffffffffu, true, &rows, do_load);
  for (int i = 0; i < count; i++) fragments[i] = rows.fragments[i];
}

static void do_store(Thread** lanes) {
  int count = rows_of(lanes[0]).count;
  bool transposed = rows_of(lanes[0]).transposed;
  for (int matrix = 0; matrix < count; matrix++)
    for (int lane = 0; lane < 32; lane++) {
      int r = lane / 4, c = lane % 4 * 2;
      uint32_t pair = rows_of(lanes[lane]).fragments[matrix];
      for (int e = 0; e < 2; e++)
        (transposed ? rows_of(lanes[8 * matrix + c + e]).row[r] : rows_of(lanes[8 * matrix + r]).row[c + e]) = (uint16_t)(pair >> 16 * e);
    }
}

extern "C" void emu_store_matrices(const uint32_t* fragments, int count, int transposed, uint32_t address, uint16_t* row) {
  Rows rows{{}, {}, address, count, transposed};
  for (int i = 0; i < count; i++) rows.fragments[i] = fragments[i];
  collective("stmatrix", 0xffffffffu, true, &rows, do_store);
  if (current->lane < 8 * count) memcpy(row, rows.row, 16);
}

struct Product {
  const uint32_t *a, *b, *c;
  uint32_t* d;
  int k, type, sum_type;
};

static Product& product_of(Thread* lane) { return *(Product*)lane->request; }

// One product at a time, in float: the order of the device, and how it rounds within a step, are its own.
static void do_multiply(Thread** lanes) {
  static float a[16][16], b[16][8], d[16][8];
  int k = product_of(lanes[0]).k, type = product_of(lanes[0]).type, sum_type = product_of(lanes[0]).sum_type;
  int each = type == EMU_TF32 ? 1 : 2;  // values in a register
  for (int lane = 0; lane < 32; lane++) {
    const Product& own = product_of(lanes[lane]);
    int r = lane / 4, c = lane % 4;
    for (int part = 0; part < k / (4 * each); part++)
      for (int e = 0; e < each; e++) {
        int column = part * 4 * each + c * each + e;
        for (int half = 0; half < 2; half++) {
          uint32_t word = own.a[2 * part + half];
          a[r + 8 * half][column] = each == 1 ? emu_bits<float>(word & 0xffffe000u) : emu_wide(word >> 16 * e, type);
        }
        b[column][r] = each == 1 ? emu_bits<float>(own.b[part] & 0xffffe000u) : emu_wide(own.b[part] >> 16 * e, type);
      }
    for (int i = 0; i < 4; i++) {
      float& sum = d[r + 8 * (i / 2)][2 * c + i % 2];
      sum = sum_type == EMU_F32 ? emu_bits<float>(own.c[i]) : emu_half_format::wide((uint16_t)(own.c[i / 2] >> 16 * (i % 2)));
    }
  }
  for (int i = 0; i < 16; i++)
    for (int q = 0; q < k; q++)
      for (int j = 0; j < 8; j++) d[i][j] += a[i][q] * b[q][j];
  for (int lane = 0; lane < 32; lane++) {
    uint32_t* to = product_of(lanes[lane]).d;
    int r = lane / 4, c = lane % 4;
    for (int half = 0; half < 2; half++) {
      const float* pair = &d[r + 8 * half][2 * c];
      if (sum_type == EMU_F32)
        memcpy(to + 2 * half, pair, 8);
      else
        to[half] = (uint32_t)emu_half_format::narrow(pair[0]) | (uint32_t)emu_half_format::narrow(pair[1]) << 16;
    }
  }
  counters.mma++;
  counters.mma_macs += 16 * 8 * (uint64_t)k;
}

extern "C" void emu_multiply(int k, int type, int sum_type, uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c) {
  Product product{a, b, c, d, k, type, sum_type};
  collective("mma.sync", 0xffffffffu, true, &product, do_multiply);
}

}  // namespace emu
