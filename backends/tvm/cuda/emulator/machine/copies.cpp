// cp.async. A copy may be done as soon as it is asked for, or as late as its group is waited for: a kernel must be right either way.
#include "block.h"

namespace emu {

void reset_copies(Thread* thread) {
  thread->copies.reset();
  thread->proxy_fences = 0;
}

void check_copies(Thread* thread) {
  if (size_t left = thread->copies.left()) note_fault("a thread ends with %zu copies of cp.async that nobody waited for", left);
}

extern "C" int emu_copy_begins(uint32_t to, const void* from, int bytes, int taken, emu_copy* due) {
  if (bytes != 4 && bytes != 8 && bytes != 16) fault("copies %d bytes by cp.async, which takes 4, 8 or 16", bytes);
  if (taken < 0 || taken > bytes) fault("copies %d of %d bytes by cp.async", taken, bytes);
  if ((uintptr_t)from % (unsigned)bytes) fault("copies %d bytes by cp.async from an address that is no multiple of %d", bytes, bytes);
  *due = {emu_shared_pointer(to, (size_t)bytes, (size_t)bytes), from, bytes, taken};
  counters.copies++;
  counters.copied_bytes += (uint64_t)taken;
  if (options.late)
    current->copies.add(*due, "copies of cp.async");
  else
    note_copied(due->to);
  return !options.late;
}

extern "C" void emu_copies_commit() { current->copies.commit("cp.async"); }

extern "C" int emu_copy_completes(int groups_left, emu_copy* due) {
  bool is_due = current->copies.take(groups_left, due);
  if (is_due) note_copied(due->to);
  return is_due;
}

extern "C" void emu_proxy_fence() { current->proxy_fences++; }

}  // namespace emu
