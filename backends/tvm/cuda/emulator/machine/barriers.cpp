// Barriers of a block: 16 by number, each for all threads or for as many as it says. Threads that ended are not waited for.
#include "block.h"

namespace emu {

static const int BARRIERS = 16, PHASES = 64;

struct Barrier {
  int count = -1;  // how many it waits for; -1: all that have not ended
  long site = 0;   // the line of its __syncthreads()
  uint64_t phase = 0;
  std::vector<Thread*> waiting;
};

static Barrier barriers[BARRIERS];
static int alive;
static const int TAGS = 1 + BARRIERS * PHASES + 32 * PHASES;
static char* tags;

void* start_tag() { return tags; }
static void* barrier_tag(int id, uint64_t phase) { return tags + 1 + id * PHASES + (int)(phase % PHASES); }
void* warp_tag(int warp, uint64_t phase) { return tags + 1 + (BARRIERS + warp) * PHASES + (int)(phase % PHASES); }

void reset_barriers(int thread_count) {
  alive = thread_count;
  for (Barrier& barrier : barriers) {
    barrier = Barrier();
    barrier.waiting.reserve(MOST_THREADS);
  }
  if (!tags || under_thread_sanitizer()) tags = new char[TAGS];  // others for each block, or one would look to come after the other
}

static void release(Barrier& barrier) {
  counters.barriers++;
  for (Thread* thread : barrier.waiting) make_ready(thread);
  barrier.waiting.clear();
  barrier.phase++;
}

static bool is_complete(const Barrier& barrier) {
  return !barrier.waiting.empty() && (int)barrier.waiting.size() >= (barrier.count < 0 ? alive : barrier.count);
}

void retire_from_barriers() {
  alive--;
  for (Barrier& barrier : barriers)
    if (is_complete(barrier)) release(barrier);
}

extern "C" void emu_barrier(int id, int count, long site) {
  if (id < 0 || id >= BARRIERS) fault("names barrier %d; there are %d", id, BARRIERS);
  if (count % 32 && count > 0) fault("waits at barrier %d for %d threads, which is no multiple of 32", id, count);
  Barrier& barrier = barriers[id];
  if (barrier.waiting.empty()) {
    barrier.count = count;
    barrier.site = site;
  }
  if (barrier.count != count) fault("waits at barrier %d for %d threads, where others wait for %d", id, count, barrier.count);
  if (barrier.site != site)
    fault("is at the __syncthreads() of line %ld of the source while others are at that of line %ld", site, barrier.site);
  void* tag = barrier_tag(id, barrier.phase);
  sanitizer_release(tag);
  barrier.waiting.push_back(current);
  current->doing = "__syncthreads()";
  if (is_complete(barrier)) release(barrier);
  let_others_run();
  sanitizer_acquire(tag);
}

}  // namespace emu
