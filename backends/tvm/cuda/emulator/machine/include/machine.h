// What emitted CUDA source sees of the machine: words of the language, built-in variables, and the functions that the machine has.
// Each CUDA thread is a fiber of one CPU thread. Functions here are called by fibers, and may let others run before they return.
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0
#define __global__
#define __device__
#define __host__
#define __constant__ static const
#define __forceinline__ inline
#define __noinline__
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

#ifdef EMU_TRAFFIC
#define EMU_UNCOUNTED __attribute__((no_sanitize_thread))  // what tensor cores read by themselves is no access of a lane
#else
#define EMU_UNCOUNTED
#endif

struct emu_index {
  unsigned x, y, z;
};
struct emu_place {
  emu_index thread, block, block_size, grid_size;
};

// How a kernel is launched. `most_threads` are those of __launch_bounds__, or 1024; `shared_bytes` those of __shared__ arrays; `sizes`
// are the bytes of each of `count` parameters.
struct emu_kernel {
  const char* name;
  void (*run)(void** arguments);
  int most_threads;
  size_t shared_bytes;
  int count;
  const int* sizes;
};

enum emu_shuffle_kind { EMU_FROM_LANE, EMU_UP, EMU_DOWN, EMU_XOR };
enum emu_type { EMU_F16, EMU_BF16, EMU_TF32, EMU_F32 };

extern "C" {
extern emu_place* emu_here;  // of the thread that runs

[[noreturn]] void emu_fault(const char* sentence);  // ends the launch

void emu_barrier(int id, int count, long site);  // count < 0: all threads of the block
void emu_warp_barrier(unsigned mask);
unsigned emu_active_lanes(void);  // that have not ended: the most that the device may answer
uint64_t emu_shuffle(unsigned mask, uint64_t value, int lane, int kind, int width);
unsigned emu_ballot(unsigned mask, int predicate);  // the lanes of the mask whose predicate holds

void* emu_static_shared(int declaration, size_t bytes, size_t alignment);
void* emu_dynamic_shared(void);
uint32_t emu_shared_address(const void* pointer);
void* emu_shared_pointer(uint32_t address, size_t bytes, size_t alignment);

// cp.async: a copy is either due at once, or kept for the wait of its group. What is due is asked for until there is no more.
struct emu_copy {
  void* to;
  const void* from;
  int bytes, taken;  // the rest is filled with zeros
};
int emu_copy_begins(uint32_t to, const void* from, int bytes, int taken, emu_copy* due);
void emu_copies_commit(void);
int emu_copy_completes(int groups_left, emu_copy* due);
void emu_note_copy(uint32_t to, const void* from, int bytes, int taken);  // where traffic is counted

// Matrices of 8x8 values of 16 bits: a row is the calling lane's, fragments are the warp's.
void emu_load_matrices(const uint16_t* row, uint32_t address, int count, int transposed, uint32_t* fragments);
void emu_store_matrices(const uint32_t* fragments, int count, int transposed, uint32_t address, uint16_t* row);
void emu_multiply(int k, int type, int sum_type, uint32_t* d, const uint32_t* a, const uint32_t* b, const uint32_t* c);

// wgmma: 128 threads multiply 64 rows by n columns that lie in shared memory as descriptors say, of each 32 bytes. Due as a copy is. Each
// thread reads some of it, 16 bytes at once, and tells of them: EMU_PRODUCT_CHUNKS at most.
#define EMU_PRODUCT_CHUNKS 5
struct emu_product {
  uint64_t a, b;
  int n, type, adds;
  int sums;  // which of the thread's registers
};
void emu_products_fence(void);
int emu_product_begins(int n, int type, float** d, uint64_t a, uint64_t b, int adds, emu_product* due);
void emu_products_commit(void);
int emu_product_completes(int groups_left, emu_product* due);
int emu_product_chunk(const emu_product* due, int thread, int which, uint32_t* address);  // 0: there are no more
void emu_product_multiply(const emu_product* due, const uint16_t* chunks);
void emu_proxy_fence(void);
}

#define threadIdx (emu_here->thread)
#define blockIdx (emu_here->block)
#define blockDim (emu_here->block_size)
#define gridDim (emu_here->grid_size)
