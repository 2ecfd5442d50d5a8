// wgmma: a warpgroup, 128 threads, multiplies what lies in shared memory where descriptors say, K contiguous. A product may be computed as
// soon as it is asked for, or as late as its group is waited for: a kernel must be right either way.
#include "block.h"
#include "include/small_floats.h"

namespace emu {

static const int GROUP = 128, ROWS = 64, MOST_DEPTH = 16, MOST_COLUMNS = 256;
static const uint64_t UNUSED = 0x3fffc000c000c000;  // bits of a descriptor that are 0, with those of a base offset, which is not emulated

struct Request {
  const emu_product* product;
  const uint16_t* chunks;
};
static const Request& request_of(const Thread* thread) { return *(const Request*)thread->request; }

static std::vector<Thread*> arrived[8];

void reset_warpgroups() {
  for (std::vector<Thread*>& group : arrived) {
    group.clear();
    group.reserve(GROUP);
  }
}

// registers

void reset_products(Thread* thread) {
  thread->products.begun.reset();
  thread->products.used = 0;
  thread->products.has_fence = false;
}

void check_products(Thread* thread) {
  if (size_t left = thread->products.begun.left()) note_fault("a thread ends with %zu products of wgmma that nobody waited for", left);
}

static uint64_t content_of(const Sums& sums) {  // in 64 bits (FNV)
  uint64_t found = 14695981039346656037ull;
  for (int i = 0; i < sums.count; i++) found = (found ^ emu_bits<uint32_t>(*sums.at[i])) * 1099511628211ull;
  return found;
}

static int number_of(Products& products, float** d, int count) {
  for (int i = 0; i < products.used; i++) {
    const Sums& one = products.sums[i];
    bool is_same = one.count == count;
    for (int k = 0; is_same && k < count; k++) is_same = one.at[k] == d[k];
    if (is_same) return i;
  }
  if (products.used == (int)MOST_SUMS) {
    if (products.begun.left()) fault("adds up in more than %zu sets of registers by wgmma", MOST_SUMS);
    products.used = 0;
  }
  Sums& one = products.sums[products.used];
  for (int k = 0; k < count; k++) one.at[k] = d[k];
  one.count = count;
  one.is_fenced = products.has_fence;
  return products.used++;
}

static void refuse_unfenced_registers(Products& products, Sums& sums) {
  if (!products.has_fence) fault("multiplies by wgmma without a wgmma.fence before");
  uint64_t now = content_of(sums);
  if (!sums.is_fenced && now != sums.left) fault("changes registers that wgmma adds up in, without a wgmma.fence before the next wgmma");
  sums.left = now;
  sums.is_fenced = false;
}

extern "C" void emu_products_fence() {
  Products& products = current->products;
  products.has_fence = true;
  for (int i = 0; i < products.used; i++) products.sums[i].is_fenced = true;
}

// products in flight

extern "C" int emu_product_begins(int n, int type, float** d, uint64_t a, uint64_t b, int adds, emu_product* due) {
  if ((a | b) & UNUSED) fault("multiplies by wgmma with the descriptors %016lx and %016lx, which are not emulated", (long)a, (long)b);
  Products& products = current->products;
  *due = {a, b, n, type, adds, number_of(products, d, n / 2)};
  refuse_unfenced_registers(products, products.sums[due->sums]);
  if (options.late_products) products.begun.add(*due, "products of wgmma");
  return !options.late_products;
}

extern "C" void emu_products_commit() { current->products.begun.commit("wgmma"); }

extern "C" int emu_product_completes(int groups_left, emu_product* due) { return current->products.begun.take(groups_left, due); }

// what lies where

// Where 16 bytes of a row lie. Descriptors hold addresses and strides in 16 bytes; swizzles are by 128, 64 and 32 bytes.
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

extern "C" int emu_product_chunk(const emu_product* due, int thread, int which, uint32_t* address) {
  int chunk = which ? columns_chunk(thread, which) : thread;
  if (which && chunk >= 2 * due->n) return 0;
  *address = address_of(which ? due->b : due->a, chunk / 2, chunk % 2);
  refuse_unfenced(*address);
  return 1;
}

// A chunk has 8 values of 16 bits, or 4 of 32, of which tf32 takes the upper 19 bits.
static float value_of(const uint16_t* chunk, int e, int type) {
  if (type != EMU_TF32) return emu_wide(chunk[e], type);
  return emu_bits<float>(((uint32_t)chunk[2 * e + 1] << 16 | chunk[2 * e]) & 0xffffe000u);
}

// One product at a time, in float: the order of the device, and how it rounds within a step, are its own.
static void multiply(const std::vector<Thread*>& group) {
  static float a[ROWS][MOST_DEPTH], b[MOST_DEPTH][MOST_COLUMNS], d[ROWS][MOST_COLUMNS];
  const emu_product& whole = *request_of(group[0]).product;
  int n = whole.n, type = whole.type, each = type == EMU_TF32 ? 4 : 8;
  for (Thread* thread : group) {
    const Request& own = request_of(thread);
    float** sums = thread->products.sums[own.product->sums].at;
    int number = thread->index % GROUP, lane = number % 32, r = number / 32 * 16 + lane / 4, c = 2 * (lane % 4);
    for (int e = 0; e < each; e++) a[number / 2][number % 2 * each + e] = value_of(own.chunks, e, type);
    for (int which = 1; which < EMU_PRODUCT_CHUNKS && columns_chunk(number, which) < 2 * n; which++)
      for (int e = 0; e < each; e++) {
        int chunk = columns_chunk(number, which);
        b[chunk % 2 * each + e][chunk / 2] = value_of(own.chunks + which * 8, e, type);
      }
    for (int i = 0; i < n / 2; i++) d[r + 8 * (i / 2 % 2)][c + i / 4 * 8 + i % 2] = whole.adds ? *sums[i] : 0.0f;
  }
  for (int i = 0; i < ROWS; i++)
    for (int q = 0; q < 2 * each; q++)
      for (int j = 0; j < n; j++) d[i][j] += a[i][q] * b[q][j];
  for (Thread* thread : group) {
    Sums& sums = thread->products.sums[request_of(thread).product->sums];
    int number = thread->index % GROUP, lane = number % 32, r = number / 32 * 16 + lane / 4, c = 2 * (lane % 4);
    for (int i = 0; i < n / 2; i++) *sums.at[i] = d[r + 8 * (i / 2 % 2)][c + i / 4 * 8 + i % 2];
    sums.left = content_of(sums);
  }
  counters.wgmma++;
  counters.mma += (uint64_t)n / 2;  // in units of mma.sync.m16n8k16, or k8 of tf32
  counters.mma_macs += (uint64_t)(ROWS * 2 * each * n);
}

extern "C" void emu_product_multiply(const emu_product* due, const uint16_t* chunks) {
  Request request{due, chunks};
  std::vector<Thread*>& group = arrived[current->index / GROUP];
  current->request = &request;
  current->doing = "wgmma";
  if (!group.empty()) {
    const emu_product& first = *request_of(group[0]).product;
    bool is_same = first.a == due->a && first.b == due->b && first.n == due->n && first.type == due->type && first.adds == due->adds;
    if (!is_same) fault("multiplies other operands by wgmma than its warpgroup");
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
