// wgmma: a warpgroup, 128 threads, multiplies what lies in shared memory where descriptors say, K contiguous. The product is there at once;
// on the device it is there when its group was waited for.
#include <algorithm>
#include "block.h"
#include "include/small_floats.h"

namespace emu {

static const int GROUP = 128, ROWS = 64, DEPTH = 16, MOST_COLUMNS = 256, CHUNK = 8;

struct Request {
  int n, type;
  float** d;
  uint64_t a, b;
  int adds;
  const uint16_t* chunks;
};
static Request& request_of(Thread* thread) { return *(Request*)thread->request; }

static std::vector<Thread*> arrived[8];

// Where 8 values of a row lie. Descriptors hold addresses and strides in 16 bytes; swizzles are by 128, 64 and 32 bytes.
static uint32_t address_of(uint64_t descriptor, int row, int chunk) {
  uint32_t start = (uint32_t)(descriptor & 0x3fff) << 4;
  uint32_t leading = (uint32_t)(descriptor >> 16 & 0x3fff) << 4, stride = (uint32_t)(descriptor >> 32 & 0x3fff) << 4;
  int swizzle = (int)(descriptor >> 62);
  uint32_t r = (uint32_t)row, c = (uint32_t)chunk;
  if (!swizzle) return start + r / 8 * stride + c * leading + r % 8 * 16;
  uint32_t pitch = 256u >> swizzle, at = start + r / 8 * stride + r % 8 * pitch + c * 16;
  return at ^ ((at >> 7 & (pitch / 16 - 1)) << 4);
}

static int columns_chunk(int thread, int which) { return thread + GROUP * (which - 1); }  // of those of the second operand

extern "C" int emu_group_chunk(int thread, int which, int n, uint64_t a, uint64_t b, uint32_t* address) {
  int chunk = which ? columns_chunk(thread, which) : thread;
  if (which && chunk >= 2 * n) return 0;
  *address = address_of(which ? b : a, chunk / 2, chunk % 2);
  return 1;
}

static void multiply(const std::vector<Thread*>& group) {
  static float a[ROWS][DEPTH], b[DEPTH][MOST_COLUMNS], d[ROWS][MOST_COLUMNS];
  int n = request_of(group[0]).n, type = request_of(group[0]).type;
  for (Thread* thread : group) {
    const Request& own = request_of(thread);
    int number = thread->index % GROUP, lane = number % 32, r = number / 32 * 16 + lane / 4, c = 2 * (lane % 4);
    for (int e = 0; e < CHUNK; e++) a[number / 2][number % 2 * CHUNK + e] = emu_wide(own.chunks[e], type);
    for (int which = 1; which < EMU_GROUP_CHUNKS && columns_chunk(number, which) < 2 * n; which++)
      for (int e = 0; e < CHUNK; e++) {
        int chunk = columns_chunk(number, which);
        b[chunk % 2 * CHUNK + e][chunk / 2] = emu_wide(own.chunks[which * CHUNK + e], type);
      }
    for (int i = 0; i < n / 2; i++) d[r + 8 * (i / 2 % 2)][c + i / 4 * 8 + i % 2] = own.adds ? *own.d[i] : 0.0f;
  }
  for (int i = 0; i < ROWS; i++)
    for (int q = 0; q < DEPTH; q++)
      for (int j = 0; j < n; j++) d[i][j] += a[i][q] * b[q][j];
  for (Thread* thread : group) {
    int number = thread->index % GROUP, lane = number % 32, r = number / 32 * 16 + lane / 4, c = 2 * (lane % 4);
    for (int i = 0; i < n / 2; i++) *request_of(thread).d[i] = d[r + 8 * (i / 2 % 2)][c + i / 4 * 8 + i % 2];
  }
  counters.mma += (uint64_t)n / 2;  // in units of mma.sync.m16n8k16
  counters.mma_macs += (uint64_t)(ROWS * DEPTH * n);
}

void reset_warpgroups() {
  for (std::vector<Thread*>& group : arrived) {
    group.clear();
    group.reserve(GROUP);
  }
}

extern "C" void emu_group_multiply(int n, int type, float** d, uint64_t a, uint64_t b, int adds, const uint16_t* chunks) {
  Request request{n, type, d, a, b, adds, chunks};
  std::vector<Thread*>& group = arrived[current->index / GROUP];
  current->request = &request;
  current->doing = "wgmma";
  if (!group.empty()) {
    const Request& first = request_of(group[0]);
    if (first.a != a || first.b != b || first.n != n || first.adds != adds) fault("multiplies other operands by wgmma than its warpgroup");
  }
  group.push_back(current);
  if ((int)group.size() == GROUP) {
    multiply(group);
    for (Thread* thread : group) make_ready(thread);
    group.clear();
  }
  let_others_run();
}

}  // namespace emu
