// The machine inside: the threads of the block that runs, each a fiber, and what they wait for.
//
// What fibers call neither allocates nor calls memcpy and its like with sizes that vary: ThreadSanitizer watches these, and would take the
// machine's memory for the kernel's. Room is made between blocks.
#pragma once
#include <vector>
#include "counters.h"
#include "include/machine.h"

namespace emu {

const size_t PAGE = 4096, GUARD = 1 << 20;  // bytes; a guard takes addresses and no memory
const unsigned char UNSET = 0xff;  // memory that nobody has written: NaN in every format

enum class State { running, ready, waiting, done };

const size_t MOST_THREADS = 1024;

[[noreturn]] void fault(const char* format, ...) __attribute__((format(printf, 1, 2)));  // faults.cpp

const size_t MOST_COPIES = 2048, MOST_PRODUCTS = 64, MOST_GROUPS = 64;  // of a thread, in flight
const size_t MOST_SUMS = 4, MOST_REGISTERS = 128;  // that wgmma adds up in

// What a thread has begun and not waited for, in that order: a ring. `ends` says where each committed group ends.
template <class T, size_t most>
struct InFlight {
  T* begun = new T[most];
  size_t ends[MOST_GROUPS];
  size_t first, last, groups;
  void reset() { first = last = groups = 0; }
  size_t left() const { return last - first; }
  void add(const T& one, const char* what) {
    if (left() == most) fault("has more than %zu %s in flight", most, what);
    begun[last++ % most] = one;
  }
  void commit(const char* what) {
    if (groups == MOST_GROUPS) fault("has more than %zu groups of %s in flight", MOST_GROUPS, what);
    ends[groups++] = last;
  }
  bool take(int groups_left, T* due) {  // the next of those that are due when so many groups may be left
    while ((int)groups > groups_left) {
      if (first < ends[0]) {
        *due = begun[first++ % most];
        return true;
      }
      for (size_t i = 1; i < groups; i++) ends[i - 1] = ends[i];
      groups--;
    }
    return false;
  }
};

struct Sums {  // registers that wgmma adds up in, and what it left in them: only after a fence they may hold something else
  float* at[MOST_REGISTERS];
  int count;
  bool is_fenced;
  uint64_t left;
};
struct Products {  // wgmma of a thread
  InFlight<emu_product, MOST_PRODUCTS> begun;
  Sums* sums = new Sums[MOST_SUMS];
  int used;
  bool has_fence;
};

struct Thread {
  emu_place place{};
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  void* sanitizer = nullptr;  // what ThreadSanitizer knows it by
  State state = State::done;
  int index = 0, warp = 0, lane = 0;
  const char* doing = "";
  void* request = nullptr;  // of the collective that it waits in
  InFlight<emu_copy, MOST_COPIES> copies;
  Products products;
  uint32_t proxy_fences = 0;  // how often it told what it wrote to what reads shared memory by itself
};

struct Options {
  uint64_t seed = 1;
  bool shuffled = true;  // else threads and blocks run in order
  bool late = true;      // cp.async copies when its group is waited for, else at once
  bool late_products = true;  // so wgmma multiplies
};
extern Options options;

unsigned random_below(size_t count);

extern Thread* current;  // null outside of kernels
extern std::vector<Thread*> threads;

void make_ready(Thread* thread);
void let_others_run();  // until somebody makes the current thread ready, if nobody has

// fibers.cpp
void prepare_fiber(Thread* thread, void (*body)());
void switch_to(Thread* thread);
void switch_to_scheduler();
extern void* sanitizer_of_scheduler;
void sanitizer_release(void* tag);
void sanitizer_acquire(void* tag);
bool under_thread_sanitizer();

// faults.cpp
void note_fault(const char* format, ...) __attribute__((format(printf, 1, 2)));
void begin_watch(const char* kernel);
bool end_watch();  // whether no fault was met
bool has_fault();
extern "C" const char* emu_last_fault(void);

// barriers.cpp
void reset_barriers(int thread_count);
void retire_from_barriers();
void* start_tag();  // addresses by which sanitizers tell apart what orders threads
void* warp_tag(int warp, uint64_t phase);

// collectives.cpp
void reset_warps(int thread_count);
void retire_from_warp(Thread* thread);
using Work = void (*)(Thread** lanes);  // 32 of them, null where none takes part
void collective(const char* name, unsigned mask, bool needs_all, void* request, Work work);

// warpgroups.cpp
void reset_warpgroups();
void reset_products(Thread* thread);
void check_products(Thread* thread);

// shared_memory.cpp
const size_t MOST_SHARED = 227 << 10;  // of a kernel that no module holds
const char TOO_MUCH_SHARED[] = "needs %zu bytes of shared memory; a block has at most %zu";
void fresh_shared_memory(size_t fixed, size_t dynamic);
bool check_shared_memory();
const char* describe_shared(const void* address);
bool in_shared_memory(const void* address);
void note_copied(const void* to);  // by the thread that runs
void refuse_unfenced(uint32_t address);

// copies.cpp
void reset_copies(Thread* thread);
void check_copies(Thread* thread);

// global_memory.cpp
void* allocate(size_t bytes);
bool release(void* pointer);
size_t free_bytes();
void leave_free(size_t bytes);
bool check_global_memory();
const char* describe_global(const void* address);
bool in_global_memory(const void* address);

// launch.cpp
bool refuses_launch(const emu_kernel& kernel, const unsigned* grid, const unsigned* block, size_t dynamic);
bool run_kernel(const emu_kernel& kernel, void** arguments, const unsigned* grid, const unsigned* block, size_t dynamic);

}  // namespace emu
