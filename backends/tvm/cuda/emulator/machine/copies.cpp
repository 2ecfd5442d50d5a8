// cp.async. A copy may be done as soon as it is asked for, or as late as its group is waited for: a kernel must be right either way.
#include "block.h"

namespace emu {

void reset_copies(Thread* thread) { thread->copies.first = thread->copies.last = thread->copies.groups = 0; }

void check_copies(Thread* thread) {
  size_t left = thread->copies.last - thread->copies.first;
  if (left) note_fault("a thread ends with %zu copies of cp.async that nobody waited for", left);
}

extern "C" int emu_copy_begins(uint32_t to, const void* from, int bytes, int taken, emu_copy* due) {
  if (bytes != 4 && bytes != 8 && bytes != 16) fault("copies %d bytes by cp.async, which takes 4, 8 or 16", bytes);
  if (taken < 0 || taken > bytes) fault("copies %d of %d bytes by cp.async", taken, bytes);
  if ((uintptr_t)from % (unsigned)bytes) fault("copies %d bytes by cp.async from an address that is no multiple of %d", bytes, bytes);
  *due = {emu_shared_pointer(to, (size_t)bytes, (size_t)bytes), from, bytes, taken};
  counters.copies++;
  counters.copied_bytes += (uint64_t)taken;
  if (!options.late) return 1;
  Copies& copies = current->copies;
  if (copies.last == MOST_COPIES) fault("has more than %zu copies of cp.async in flight", MOST_COPIES);
  copies.begun[copies.last++] = *due;
  return 0;
}

extern "C" void emu_copies_commit() {
  Copies& copies = current->copies;
  if (copies.groups == MOST_GROUPS) fault("has more than %zu groups of cp.async in flight", MOST_GROUPS);
  copies.ends[copies.groups++] = copies.last;
}

extern "C" int emu_copy_completes(int groups_left, emu_copy* due) {
  Copies& copies = current->copies;
  while ((int)copies.groups > groups_left) {
    if (copies.first < copies.ends[0]) {
      *due = copies.begun[copies.first++];
      return 1;
    }
    for (size_t i = 1; i < copies.groups; i++) copies.ends[i - 1] = copies.ends[i];
    copies.groups--;
  }
  if (copies.first == copies.last) {  // from the start again; groups that are left are empty
    copies.first = copies.last = 0;
    for (size_t i = 0; i < copies.groups; i++) copies.ends[i] = 0;
  }
  return 0;
}

}  // namespace emu
