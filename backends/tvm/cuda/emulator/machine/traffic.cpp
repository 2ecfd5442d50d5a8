// Counts what the memory accesses of each warp cost. Kernels are compiled as for ThreadSanitizer, whose functions are here: each access calls
// one. Lanes never run in step, so accesses are joined when their block is over: what lanes of a warp do at one place of the code, in the
// same round of each loop around it, for the n-th time there, is one access of the warp.
//
// To global memory an access costs the sectors of 32 bytes that it touches, to shared memory the cycles in which its 32 banks of 4 bytes
// give a word each: 8 bytes a lane by half warps, 16 by quarters. The least is what so many bytes, each counted once, would cost at best.
// Of sectors those are moved that the block has not loaded before, as if its cache held all of them, and those that it stores, each time.
#include <dlfcn.h>
#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include "block.h"
#include "include/rounds.h"

namespace emu {

static const uint64_t SECTOR = 32, BANKS = 32, WORD = 4;  // bytes, banks, bytes
static const uint64_t NOWHERE = ~(uint64_t)0;

struct Place {  // of the code; calls around it, the innermost first
  std::vector<const void*> frames;
  int bytes;
  bool is_shared, is_store;
  uint64_t times, cost, least, moved;
};
struct Note {
  uint32_t place, thread;
  uint64_t rounds, address;
  uint32_t bytes;
};
struct Lane {  // a thread, as far as it was followed
  std::vector<const void*> calls;
  emu_rounds* innermost = nullptr;
};

static std::vector<Place> places;
static std::unordered_map<uint64_t, uint32_t> numbers;  // of places, by the hash of what they are
static std::vector<Note> notes;                         // of the block that runs, or ran last
static std::vector<Lane> lanes(MOST_THREADS);
static uint64_t block_noted = NOWHERE;
static std::unordered_set<uint64_t> loaded;                // sectors, by this block
static std::unordered_map<uint64_t, uint32_t> touched[2];  // bytes of sectors, loaded and stored, by all

static uint64_t mixed(uint64_t hash, uint64_t with) { return (hash ^ with) * 0x9e3779b97f4a7c15ull ^ hash >> 29; }

// Sectors, or words: from first to last of each range, once each.
static size_t distinct(const Note* const* of, size_t count, uint64_t each, std::vector<uint64_t>& found) {
  found.clear();
  for (size_t i = 0; i < count; i++)
    for (uint64_t at = of[i]->address / each; at <= (of[i]->address + of[i]->bytes - 1) / each; at++) found.push_back(at);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found.size();
}

static void count_sectors(Place& place, std::vector<const Note*>& of) {
  static std::vector<uint64_t> found;
  std::sort(of.begin(), of.end(), [](const Note* a, const Note* b) { return a->address < b->address; });
  uint64_t bytes = 0, end = 0;
  for (const Note* each : of) {
    uint64_t last = each->address + each->bytes, first = std::max(end, each->address);
    if (last > first) bytes += last - first;
    end = std::max(end, last);
  }
  place.cost += distinct(of.data(), of.size(), SECTOR, found);
  place.least += (bytes + SECTOR - 1) / SECTOR;
  for (uint64_t sector : found) place.moved += place.is_store || loaded.insert(sector).second;
  for (const Note* each : of)
    for (uint64_t at = each->address; at < each->address + each->bytes; at++) touched[place.is_store][at / SECTOR] |= 1u << at % SECTOR;
}

static void count_cycles(Place& place, const std::vector<const Note*>& of) {
  static std::vector<uint64_t> found;
  uint32_t at_once = place.bytes <= 4 ? 32 : place.bytes <= 8 ? 16 : 8;  // lanes
  for (size_t first = 0; first < of.size();) {
    size_t last = first;
    while (last < of.size() && of[last]->thread / at_once == of[first]->thread / at_once) last++;
    size_t words = distinct(&of[first], last - first, WORD, found);
    uint64_t in_banks[BANKS] = {};
    for (uint64_t word : found) in_banks[word % BANKS]++;
    place.cost += *std::max_element(in_banks, in_banks + BANKS);
    place.least += (words + BANKS - 1) / BANKS;
    first = last;
  }
}

// Of one place and round: the notes of a warp by thread, each thread's in order.
static void count_warp(const Note* first, const Note* last) {
  static std::vector<std::vector<const Note*>> each_time;
  size_t times = 0, number = 0;
  for (const Note* note = first; note < last; note++) {
    number = note > first && note[-1].thread == note->thread ? number + 1 : 0;
    if (number == times && ++times > each_time.size()) each_time.emplace_back();
    each_time[number].push_back(note);
  }
  Place& place = places[first->place];
  for (size_t i = 0; i < times; i++) {
    place.times++;
    place.is_shared ? count_cycles(place, each_time[i]) : count_sectors(place, each_time[i]);
    each_time[i].clear();
  }
}

static void count_block() {
  std::stable_sort(notes.begin(), notes.end(), [](const Note& a, const Note& b) {
    return std::make_tuple(a.place, a.rounds, a.thread) < std::make_tuple(b.place, b.rounds, b.thread);
  });
  const Note *first = notes.data(), *end = first + notes.size();
  while (first < end) {
    const Note* last = first;
    while (last < end && last->place == first->place && last->rounds == first->rounds && last->thread / 32 == first->thread / 32) last++;
    count_warp(first, last);
    first = last;
  }
  notes.clear();
  loaded.clear();
}

static Lane& follow() {  // the lane that runs, of a block that was begun
  if (block_noted != counters.blocks) {
    count_block();
    for (Lane& lane : lanes) lane = Lane();
    block_noted = counters.blocks;
  }
  return lanes[(size_t)current->index];
}

static uint32_t place_of(const Lane& lane, const void* at, int bytes, bool is_shared, bool is_store) {
  uint64_t hash = mixed((uint64_t)at, (uint64_t)bytes << 2 | is_shared << 1 | is_store);
  for (const void* call : lane.calls) hash = mixed(hash, (uint64_t)call);
  auto [found, is_new] = numbers.try_emplace(hash, (uint32_t)places.size());
  if (is_new) {
    places.push_back({{at}, bytes, is_shared, is_store, 0, 0, 0, 0});
    places.back().frames.insert(places.back().frames.end(), lane.calls.rbegin(), lane.calls.rend());
  }
  return found->second;
}

static void note(const void* at, uint64_t address, int bytes, int taken, bool is_store) {
  if (!current || taken <= 0) return;
  bool is_shared = in_shared_memory((void*)address);
  if (!is_shared && !in_global_memory((void*)address)) return;  // registers
  const Lane& lane = follow();
  uint64_t rounds = 0;
  for (const emu_rounds* loop = lane.innermost; loop; loop = loop->around) rounds = mixed(rounds, loop->number + 1);
  notes.push_back({place_of(lane, at, bytes, is_shared, is_store), (uint32_t)current->index, rounds, address, (uint32_t)taken});
}

extern "C" {

emu_rounds* emu_rounds_begin(emu_rounds* loop) {
  Lane& lane = follow();
  emu_rounds* around = lane.innermost;
  lane.innermost = loop;
  return around;
}
void emu_rounds_end(emu_rounds* around) { follow().innermost = around; }

void emu_note_copy(uint32_t to, const void* from, int bytes, int taken) {
  const void* at = __builtin_return_address(0);
  note(at, (uint64_t)from, bytes, taken, false);
  note(at, (uint64_t)emu_shared_pointer(to, (size_t)bytes, 1), bytes, bytes, true);
}

static uint64_t sectors_needed(const std::unordered_map<uint64_t, uint32_t>& bytes_of) {
  uint64_t bytes = 0;
  for (auto [sector, mask] : bytes_of) bytes += (uint64_t)__builtin_popcount(mask);
  return (bytes + SECTOR - 1) / SECTOR;
}

// The sectors that all bytes loaded fill, and all stored. Then a line for each place: S(hared) or G(lobal), R(ead) or W(rite), bytes of a
// lane, times, cost, least, moved, and calls around it by where they are in the library. What was counted is gone then.
const char* emu_take_traffic() {
  static std::string text;
  count_block();
  text = std::to_string(sectors_needed(touched[0]) + sectors_needed(touched[1])) + "\n";
  Dl_info here{};
  dladdr((void*)emu_take_traffic, &here);
  for (const Place& place : places) {
    if (!place.times) continue;
    text += place.is_shared ? "S " : "G ";
    text += place.is_store ? "W" : "R";
    for (uint64_t value : {(uint64_t)place.bytes, place.times, place.cost, place.least, place.moved}) text += " " + std::to_string(value);
    for (const void* frame : place.frames) text += " " + std::to_string((const char*)frame - (const char*)here.dli_fbase);
    text += "\n";
  }
  places.clear();
  numbers.clear();
  for (auto& each : touched) each.clear();
  block_noted = NOWHERE;
  return text.c_str();
}

// What the compiler calls for ThreadSanitizer.

void __tsan_init() {}
void __tsan_func_entry(const void* caller) {
  if (current) follow().calls.push_back(caller);
}
void __tsan_func_exit() {
  if (current && !follow().calls.empty()) follow().calls.pop_back();
}
void __tsan_read_range(uint64_t at, size_t bytes) { note(__builtin_return_address(0), at, (int)bytes, (int)bytes, false); }
void __tsan_write_range(uint64_t at, size_t bytes) { note(__builtin_return_address(0), at, (int)bytes, (int)bytes, true); }

#define EMU_PLAIN(name, bytes, is_store) \
  void name(uint64_t at) { note(__builtin_return_address(0), at, bytes, bytes, is_store); }
#define EMU_ACCESSES(bytes)                                \
  EMU_PLAIN(__tsan_read##bytes, bytes, false)              \
  EMU_PLAIN(__tsan_write##bytes, bytes, true)              \
  EMU_PLAIN(__tsan_unaligned_read##bytes, bytes, false)    \
  EMU_PLAIN(__tsan_unaligned_write##bytes, bytes, true)    \
  EMU_PLAIN(__tsan_volatile_read##bytes, bytes, false)     \
  EMU_PLAIN(__tsan_volatile_write##bytes, bytes, true)
EMU_ACCESSES(1)
EMU_ACCESSES(2)
EMU_ACCESSES(4)
EMU_ACCESSES(8)
EMU_ACCESSES(16)

// An atomic, which the headers make of a load and of an exchange if nothing changed, is one access: the exchange.
#define EMU_ATOMICS(bits, type)                                                                                                   \
  type __tsan_atomic##bits##_load(const type* at, int) { return *at; }                                                            \
  bool __tsan_atomic##bits##_compare_exchange_strong(type* at, type* expected, type changed, int, int) {                          \
    note(__builtin_return_address(0), (uint64_t)at, bits / 8, bits / 8, true);                                                    \
    if (*at != *expected) return *expected = *at, false;                                                                          \
    return *at = changed, true;                                                                                                   \
  }
EMU_ATOMICS(8, uint8_t)
EMU_ATOMICS(16, uint16_t)
EMU_ATOMICS(32, uint32_t)
EMU_ATOMICS(64, uint64_t)
}

}  // namespace emu
