// A launch: blocks one after the other, in any order; of each block whichever thread is ready, until all have ended.
#include <algorithm>
#include "block.h"

namespace emu {

Options options;
Counters counters;
std::vector<Thread*> threads;
static std::vector<Thread*> ready;
static const emu_kernel* kernel;
static void** arguments;
static uint64_t random_state = 1;
static char ended;  // what its threads did is known when a launch is over, and not to the blocks after them

unsigned random_below(size_t count) {  // xorshift64
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (unsigned)((random_state >> 33) % count);
}

void make_ready(Thread* thread) {
  thread->state = State::ready;
  ready.push_back(thread);
}

void let_others_run() {
  if (current->state == State::running) current->state = State::waiting;
  switch_to_scheduler();
}

static void thread_body() {
  sanitizer_acquire(start_tag());
  kernel->run(arguments);
  sanitizer_release(&ended);
  current->state = State::done;
  switch_to_scheduler();
}

static void start_threads(int count, emu_index block, emu_index block_size, emu_index grid_size) {
  while ((int)threads.size() < count) threads.push_back(new Thread);
  ready.clear();
  ready.reserve(MOST_THREADS);
  for (int i = count; i-- > 0;) {
    Thread* thread = threads[(size_t)i];
    unsigned at = (unsigned)i;
    thread->place = {{at % block_size.x, at / block_size.x % block_size.y, at / block_size.x / block_size.y}, block, block_size, grid_size};
    thread->index = i;
    thread->warp = i / 32;
    thread->lane = i % 32;
    reset_copies(thread);
    reset_products(thread);
    prepare_fiber(thread, thread_body);
    make_ready(thread);
  }
}

static void tell_deadlock(int count) {
  char text[600];
  int used = 0, told = 0;
  for (int i = 0; i < count && told < 4; i++) {
    const Thread& thread = *threads[(size_t)i];
    if (thread.state == State::done) continue;
    const emu_index& at = thread.place.thread;
    used += snprintf(text + used, sizeof text - (size_t)used, "%s(%u,%u,%u) in %s", told++ ? ", " : "", at.x, at.y, at.z, thread.doing);
  }
  note_fault("threads wait for each other without end: %s", text);
}

static bool run_block(int count) {
  for (int left = count; left;) {
    if (ready.empty()) {
      tell_deadlock(count);
      return false;
    }
    size_t which = options.shuffled ? random_below(ready.size()) : ready.size() - 1;
    Thread* thread = ready[which];
    ready[which] = ready.back();
    ready.pop_back();
    thread->state = State::running;
    switch_to(thread);
    if (!has_fault() && thread->state == State::done) {
      left--;
      check_copies(thread);
      check_products(thread);
      retire_from_warp(thread);
      retire_from_barriers();
    }
    if (has_fault()) return false;
  }
  return true;
}

bool refuses_launch(const emu_kernel& launched, const unsigned* grid, const unsigned* block, size_t dynamic) {
  begin_watch(launched.name);
  uint64_t count = (uint64_t)block[0] * block[1] * block[2], blocks = (uint64_t)grid[0] * grid[1] * grid[2];
  if (!count || count > (uint64_t)launched.most_threads)
    note_fault("is launched with %lu threads a block; it was compiled for 1 to %d", (unsigned long)count, launched.most_threads);
  else if (dynamic + launched.shared_bytes > MOST_SHARED)
    note_fault(TOO_MUCH_SHARED, dynamic + launched.shared_bytes, MOST_SHARED);
  else if (!blocks || grid[1] > 65535 || grid[2] > 65535 || grid[0] > 0x7fffffff || block[2] > 64)
    note_fault("is launched on a grid of %u x %u x %u blocks of %u x %u x %u", grid[0], grid[1], grid[2], block[0], block[1], block[2]);
  return !end_watch();
}

bool run_kernel(const emu_kernel& launched, void** given, const unsigned* grid, const unsigned* block, size_t dynamic) {
  if (refuses_launch(launched, grid, block, dynamic)) return false;
  kernel = &launched;
  arguments = given;
  random_state = options.seed * 2654435761u + 88172645463325252ull;
  begin_watch(launched.name);
  uint64_t count = (uint64_t)block[0] * block[1] * block[2], blocks = (uint64_t)grid[0] * grid[1] * grid[2];
  counters.launches++;
  under_thread_sanitizer();
  std::vector<uint32_t> order(blocks);
  for (size_t i = 0; i < blocks; i++) order[i] = (uint32_t)i;
  if (options.shuffled)
    for (size_t i = blocks; i > 1; i--) std::swap(order[i - 1], order[random_below(i)]);
  for (uint32_t at : order) {
    counters.blocks++;
    fresh_shared_memory(launched.shared_bytes, dynamic);
    reset_barriers((int)count);
    reset_warps((int)count);
    reset_warpgroups();
    start_threads((int)count, {at % grid[0], at / grid[0] % grid[1], at / grid[0] / grid[1]}, {block[0], block[1], block[2]},
                  {grid[0], grid[1], grid[2]});
    sanitizer_release(start_tag());
    if (!run_block((int)count) || !check_shared_memory()) break;
  }
  sanitizer_acquire(&ended);
  if (!has_fault()) check_global_memory();
  return end_watch();
}

}  // namespace emu
