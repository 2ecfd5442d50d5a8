// What the lanes of a warp do together. Lanes named by one mask meet in one place; the last to come does the work for all.
#include "block.h"

namespace emu {

struct Meeting {
  const char* name;
  unsigned mask, arrived;
  bool needs_all;  // of 32 lanes
  Work work;
};
struct Warp {
  unsigned alive = 0;
  uint64_t phase = 0;
  std::vector<Meeting> meetings;
};

static std::vector<Warp> warps;

void reset_warps(int thread_count) {
  warps.assign((size_t)(thread_count + 31) / 32, Warp());
  for (Warp& warp : warps) warp.meetings.reserve(32);
  for (int i = 0; i < thread_count; i++) warps[(size_t)i / 32].alive |= 1u << i % 32;
}

extern "C" unsigned emu_active_lanes() { return warps[(size_t)current->warp].alive; }

static void complete(int at, size_t which, Thread* last) {
  Warp& warp = warps[(size_t)at];
  Meeting meeting = warp.meetings[which];
  warp.meetings[which] = warp.meetings.back();
  warp.meetings.pop_back();
  warp.phase++;
  Thread* lanes[32] = {};
  for (int lane = 0; lane < 32; lane++)
    if (meeting.arrived >> lane & 1) lanes[lane] = threads[(size_t)(32 * at + lane)];
  if (meeting.work) meeting.work(lanes);
  for (Thread* lane : lanes)
    if (lane && lane != last) make_ready(lane);
}

void retire_from_warp(Thread* thread) {
  Warp& warp = warps[(size_t)thread->warp];
  warp.alive &= ~(1u << thread->lane);
  for (size_t i = warp.meetings.size(); i-- > 0;) {
    const Meeting& each = warp.meetings[i];
    if (!(each.mask >> thread->lane & 1)) continue;
    if (each.needs_all) return note_fault("a lane ends while others of its warp wait for it in %s", each.name);
    if (!(each.mask & warp.alive & ~each.arrived)) complete(thread->warp, i, nullptr);
  }
}

static size_t meeting_of(Warp& warp, const char* name, unsigned mask) {
  for (size_t i = 0; i < warp.meetings.size(); i++) {
    const Meeting& each = warp.meetings[i];
    if (!(each.mask & mask)) continue;
    if (strcmp(each.name, name)) fault("calls %s while lanes of its mask are in %s", name, each.name);
    if (each.mask != mask) fault("calls %s with the mask %08x, where other lanes say %08x", name, mask, each.mask);
    return i;
  }
  return warp.meetings.size();
}

void collective(const char* name, unsigned mask, bool needs_all, void* request, Work work) {
  Thread* me = current;
  Warp& warp = warps[(size_t)me->warp];
  unsigned own = 1u << me->lane;
  if (!(mask & own)) fault("calls %s with the mask %08x, in which it is not", name, mask);
  if (needs_all && warp.alive != 0xffffffffu) fault("calls %s, which needs 32 lanes, in a warp without some of them", name);
  size_t which = meeting_of(warp, name, mask);
  if (which == warp.meetings.size()) warp.meetings.push_back({name, mask, 0, needs_all, work});
  Meeting& meeting = warp.meetings[which];
  if (meeting.arrived & own) fault("comes to %s again before the other lanes of its mask", name);
  meeting.arrived |= own;
  me->request = request;
  me->doing = name;
  if (!(mask & warp.alive & ~meeting.arrived)) {
    complete(me->warp, which, me);
    make_ready(me);
  }
  let_others_run();
}

struct Shuffle {
  uint64_t value, result;
  int lane, kind, width;
};

static int source_lane(const Shuffle& shuffle, int lane) {
  int first = lane / shuffle.width * shuffle.width, last = first + shuffle.width - 1, from = lane;
  if (shuffle.kind == EMU_FROM_LANE) return first + (shuffle.lane & (shuffle.width - 1));
  if (shuffle.kind == EMU_UP) from = lane - shuffle.lane;
  if (shuffle.kind == EMU_DOWN) from = lane + shuffle.lane;
  if (shuffle.kind == EMU_XOR) from = lane ^ shuffle.lane;
  bool is_beyond = shuffle.kind == EMU_UP ? from < first : from > last;
  return is_beyond ? lane : from;
}

static void do_shuffle(Thread** lanes) {
  counters.shuffles++;
  for (int lane = 0; lane < 32; lane++) {
    if (!lanes[lane]) continue;
    Shuffle& shuffle = *(Shuffle*)lanes[lane]->request;
    int from = source_lane(shuffle, lane);
    bool is_there = from >= 0 && from < 32 && lanes[from];
    shuffle.result = is_there ? ((Shuffle*)lanes[from]->request)->value : ~(uint64_t)0;  // undefined on the device: a NaN here
  }
}

extern "C" uint64_t emu_shuffle(unsigned mask, uint64_t value, int lane, int kind, int width) {
  if (width <= 0 || width > 32 || (width & (width - 1))) fault("shuffles by a width of %d, which is no power of two up to 32", width);
  Shuffle shuffle{value, 0, lane, kind, width};
  collective("a shuffle", mask, false, &shuffle, do_shuffle);
  return shuffle.result;
}

struct Vote {
  int predicate;
  unsigned result;
};

static void do_vote(Thread** lanes) {
  unsigned holds = 0;
  for (int lane = 0; lane < 32; lane++)
    if (lanes[lane] && ((Vote*)lanes[lane]->request)->predicate) holds |= 1u << lane;
  for (int lane = 0; lane < 32; lane++)
    if (lanes[lane]) ((Vote*)lanes[lane]->request)->result = holds;
}

extern "C" unsigned emu_ballot(unsigned mask, int predicate) {
  Vote vote{predicate, 0};
  collective("a vote", mask, false, &vote, do_vote);
  return vote.result;
}

extern "C" void emu_warp_barrier(unsigned mask) {
  void* tag = warp_tag(current->warp, warps[(size_t)current->warp].phase);
  sanitizer_release(tag);
  collective("__syncwarp()", mask, false, nullptr, nullptr);
  sanitizer_acquire(tag);
}

}  // namespace emu
