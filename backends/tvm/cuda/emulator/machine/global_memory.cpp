// Global memory: each allocation ends, up to its alignment, at pages that cannot be touched, and what lies around it is watched. It is full
// of NaN at first.
#include <sys/mman.h>
#include <map>
#include "block.h"

namespace emu {

static const size_t ALIGNMENT = 256;  // what cudaMalloc gives

struct Allocation {
  char* whole;
  size_t whole_bytes, bytes;
};
static std::map<char*, Allocation> allocations;

void* allocate(size_t bytes) {
  size_t inside = (bytes + PAGE - 1) / PAGE * PAGE, whole_bytes = inside + 2 * GUARD;
  char* whole = (char*)mmap(nullptr, whole_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (whole == MAP_FAILED || mprotect(whole + GUARD, inside, PROT_READ | PROT_WRITE)) return nullptr;
  char* at = whole + GUARD + inside - (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  memset(whole + GUARD, UNSET, inside);
  allocations[at] = {whole, whole_bytes, bytes};
  counters.allocations++;
  counters.allocated_bytes += bytes;
  return at;
}

static size_t allocated_now() {
  size_t total = 0;
  for (auto& [at, one] : allocations) total += one.bytes;
  return total;
}

static size_t most = (size_t)70 << 30;  // that may be allocated

size_t free_bytes() { return allocated_now() < most ? most - allocated_now() : 0; }

void leave_free(size_t bytes) { most = allocated_now() + bytes; }

bool release(void* pointer) {
  auto found = allocations.find((char*)pointer);
  if (found == allocations.end()) return pointer == nullptr;
  munmap(found->second.whole, found->second.whole_bytes);
  allocations.erase(found);
  return true;
}

static bool is_unset(const char* from, const char* to) {
  for (; from < to; from++)
    if ((unsigned char)*from != UNSET) return false;
  return true;
}

bool check_global_memory() {
  for (auto& [at, one] : allocations) {
    const char* last = one.whole + one.whole_bytes - GUARD;
    if (is_unset(one.whole + GUARD, at) && is_unset(at + one.bytes, last)) continue;
    note_fault("a thread writes beside an array of %zu bytes in global memory", one.bytes);
    memset(one.whole + GUARD, UNSET, (size_t)(at - one.whole) - GUARD);
    memset(at + one.bytes, UNSET, (size_t)(last - at) - one.bytes);
    return false;
  }
  return true;
}

bool in_global_memory(const void* address) {
  auto after = allocations.upper_bound((char*)address);
  return after != allocations.begin() && (const char*)address < std::prev(after)->first + std::prev(after)->second.bytes;
}

const char* describe_global(const void* address) {
  static char text[120];
  const char* touched = (const char*)address;
  for (auto& [at, one] : allocations) {
    if (touched < one.whole || touched >= one.whole + one.whole_bytes) continue;
    if (touched < at)
      snprintf(text, sizeof text, "%ld bytes before an array of %zu bytes in global memory", (long)(at - touched), one.bytes);
    else
      snprintf(text, sizeof text, "%ld bytes beyond an array of %zu bytes in global memory", (long)(touched - at - (long)one.bytes),
               one.bytes);
    return text;
  }
  return "";
}

}  // namespace emu
