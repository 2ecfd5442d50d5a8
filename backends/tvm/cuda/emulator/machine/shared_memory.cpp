// Shared memory of the block that runs: full of NaN when it starts, with gaps that nobody may touch. Dynamic shared memory begins at a
// multiple of 1024 bytes, as swizzles want it, and pages that cannot be touched follow its last one.
//
//   guard | statics, gaps between them ... | dynamic | gap to the end of its page | guard
#include <sys/mman.h>
#include <algorithm>
#include "block.h"

extern "C" {  // there under AddressSanitizer
__attribute__((weak)) void __asan_poison_memory_region(const volatile void* address, size_t bytes);
__attribute__((weak)) void __asan_unpoison_memory_region(const volatile void* address, size_t bytes);
}

namespace emu {

static const size_t GAP = 64, SWIZZLE = 1024;

struct Static {
  bool is_placed = false;
  size_t at = 0;
};

static char *whole, *arena;
static size_t arena_bytes, whole_bytes, dynamic_at, dynamic_bytes, used;
static const size_t MOST_STATICS = 64;
static std::vector<Static> statics(MOST_STATICS);
static std::vector<std::pair<size_t, size_t>> gaps;

// Who copied there last by cp.async, and after how many of its fences. What reads shared memory by itself, as wgmma does, need not see it
// before that thread's next fence.proxy.async.
struct Copied {
  uint16_t thread_after;  // its number + 1, 0 for nobody
  uint32_t fences;
};
static const size_t CHUNK = 16;  // bytes
static std::vector<Copied> copied;

static size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

static void open(size_t at, size_t bytes) {
  if (__asan_unpoison_memory_region) __asan_unpoison_memory_region(arena + at, bytes);
}

void fresh_shared_memory(size_t fixed, size_t dynamic) {
  size_t needed = rounded(fixed + (GAP + GAP) * 64, SWIZZLE) + rounded(dynamic, SWIZZLE);
  bool is_traced = under_thread_sanitizer();  // which would take the last block's accesses for this one's
  if (!arena || arena_bytes < needed || is_traced) {
    if (whole && !is_traced) munmap(whole, whole_bytes);
    arena_bytes = rounded(needed, PAGE);
    whole_bytes = arena_bytes + 2 * GUARD;
    whole = (char*)mmap(nullptr, whole_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    arena = whole + GUARD;
    mprotect(arena, arena_bytes, PROT_READ | PROT_WRITE);
  }
  open(0, arena_bytes);
  memset(arena, UNSET, arena_bytes);
  dynamic_bytes = dynamic;
  dynamic_at = arena_bytes - rounded(dynamic, SWIZZLE);
  if (__asan_poison_memory_region) __asan_poison_memory_region(arena, arena_bytes);
  open(dynamic_at, dynamic);
  std::fill(statics.begin(), statics.end(), Static());
  copied.assign(arena_bytes / CHUNK, Copied());
  gaps.reserve(MOST_STATICS + 1);
  gaps.assign(1, {dynamic_at + dynamic, arena_bytes - dynamic_at - dynamic});
  used = 0;
  counters.shared_peak = std::max<uint64_t>(counters.shared_peak, fixed + dynamic);
}

bool check_shared_memory() {
  for (auto [at, bytes] : gaps) {
    open(at, bytes);
    for (size_t i = at; i < at + bytes; i++)
      if ((unsigned char)arena[i] != UNSET) {
        note_fault("a thread writes %s", describe_shared(arena + i));
        return false;
      }
  }
  return true;
}

const char* describe_shared(const void* address) {
  static char text[120];
  const char* at = (const char*)address;
  if (!whole || at < whole || at >= whole + whole_bytes) return "";
  long beyond = (long)(at - (arena + dynamic_at + dynamic_bytes));
  if (beyond >= 0 && dynamic_bytes)
    snprintf(text, sizeof text, "%ld bytes beyond the %zu of dynamic shared memory", beyond, dynamic_bytes);
  else if (at < arena)
    snprintf(text, sizeof text, "%ld bytes before shared memory", (long)(arena - at));
  else
    snprintf(text, sizeof text, "beyond a __shared__ array");
  return text;
}

bool in_shared_memory(const void* address) { return (const char*)address >= arena && (const char*)address < arena + arena_bytes; }

extern "C" void* emu_static_shared(int declaration, size_t bytes, size_t alignment) {
  if ((size_t)declaration >= MOST_STATICS) fault("has more than %zu __shared__ arrays", MOST_STATICS);
  Static& one = statics[(size_t)declaration];
  if (!one.is_placed) {
    one = {true, rounded(used, std::max<size_t>(alignment, 16))};
    used = one.at + bytes + GAP;
    if (used > dynamic_at) fault("has more __shared__ memory than it was launched with");
    gaps.push_back({one.at + bytes, GAP});
    open(one.at, bytes);
  }
  return arena + one.at;
}

void note_copied(const void* to) {
  copied[(size_t)((const char*)to - arena) / CHUNK] = {(uint16_t)(current->index + 1), current->proxy_fences};
}

void refuse_unfenced(uint32_t address) {
  if (address >= arena_bytes) return;  // which is told where it is read
  const Copied& last = copied[address / CHUNK];
  if (last.thread_after && threads[(size_t)last.thread_after - 1]->proxy_fences == last.fences)
    fault("multiplies by wgmma what thread %d copied by cp.async, with no fence.proxy.async of that thread after it", last.thread_after - 1);
}

extern "C" void* emu_dynamic_shared() { return arena + dynamic_at; }

extern "C" uint32_t emu_shared_address(const void* pointer) {
  const char* at = (const char*)pointer;
  if (at < arena || at > arena + arena_bytes) fault("takes an address that is not in shared memory for one that is");
  return (uint32_t)(at - arena);
}

extern "C" void* emu_shared_pointer(uint32_t address, size_t bytes, size_t alignment) {
  if (address + bytes > arena_bytes) fault("touches memory %s", describe_shared(arena + address));
  if (address % alignment) fault("takes %zu bytes of shared memory at an address that is no multiple of %zu", bytes, alignment);
  return arena + address;
}

}  // namespace emu
