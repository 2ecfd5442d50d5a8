// cp.async. A copy may be done as soon as it is asked for, or as late as its group is waited for: a kernel must be right either way.
#include "block.h"

namespace emu {

void reset_copies(Thread* thread) {
  thread->copies.begun.clear();
  thread->copies.groups.clear();
}

void check_copies(Thread* thread) {
  if (!thread->copies.begun.empty()) note_fault("a thread ends with %zu copies of cp.async that nobody waited for", thread->copies.begun.size());
}

static size_t in_groups(const Copies& copies) {
  size_t sum = 0;
  for (size_t group : copies.groups) sum += group;
  return sum;
}

extern "C" int emu_copy_begins(uint32_t to, const void* from, int bytes, int taken, emu_copy* due) {
  if (bytes != 4 && bytes != 8 && bytes != 16) fault("copies %d bytes by cp.async, which takes 4, 8 or 16", bytes);
  if (taken < 0 || taken > bytes) fault("copies %d of %d bytes by cp.async", taken, bytes);
  if ((uintptr_t)from % (unsigned)bytes) fault("copies %d bytes by cp.async from an address that is no multiple of %d", bytes, bytes);
  *due = {emu_shared_pointer(to, (size_t)bytes, (size_t)bytes), from, bytes, taken};
  counters.copies++;
  counters.copied_bytes += (uint64_t)taken;
  if (!options.late) return 1;
  current->copies.begun.push_back(*due);
  return 0;
}

extern "C" void emu_copies_commit() {
  Copies& copies = current->copies;
  copies.groups.push_back(copies.begun.size() - in_groups(copies));
}

extern "C" int emu_copy_completes(int groups_left, emu_copy* due) {
  Copies& copies = current->copies;
  while ((int)copies.groups.size() > groups_left) {
    if (copies.groups.front() == 0) {
      copies.groups.erase(copies.groups.begin());
      continue;
    }
    copies.groups.front()--;
    *due = copies.begun.front();
    copies.begun.erase(copies.begun.begin());
    return 1;
  }
  return 0;
}

}  // namespace emu
