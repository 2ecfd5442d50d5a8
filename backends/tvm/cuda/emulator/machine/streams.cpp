// Streams: each does its things in their order, and as late as it may, when somebody waits for one of them. So what nobody made wait comes
// too late for whoever should have. The default stream and those that are not apart from it do theirs in the order of the calls.
#include <map>
#include "device.h"

namespace emu {

std::recursive_mutex device_lock;
thread_local int current_device = 0;
static Stream of_default{false, 0};
static std::map<uint64_t, Stream*> streams{{0, &of_default}};  // by their numbers
static std::map<const char*, size_t> pinned;                   // memory of the host, and its bytes
static uint64_t last_number;

const char* sentence_of(int error) {
  switch (error) {
    case SUCCESS: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case INVALID_DEVICE: return "there are two emulated devices, 0 and 1";
    case INVALID_IMAGE: return "this module is neither source nor machine code";
    case NO_BINARY_FOR_GPU: return "this module is machine code for a GPU, and the emulator takes source";
    case INVALID_HANDLE: return "a stream of another device than the current one";
    case NOT_FOUND: return "the module has no such kernel";
    case NOT_READY: return "an event has not happened yet";
    case NOT_SUPPORTED: return "not emulated";
    case CAPTURE_UNSUPPORTED: return "not allowed while a stream is captured";
    case CAPTURE_INVALIDATED: return "something that is not allowed ended the capture";
    case CAPTURE_UNJOINED: return "a stream joined the capture, and nobody waits for it";
    case CAPTURE_ISOLATION: return "a stream that is captured waits for what is not";
    case CAPTURE_WRONG_THREAD: return "another thread began this capture";
    case CAPTURE_IMPLICIT: return "the default stream is used while another is captured";
    case CAPTURED_EVENT: return "an event that was recorded in a capture";
    default: return emu_last_fault();
  }
}

static int drain(Stream& stream, uint64_t moment = UINT64_MAX);

static int run(const Step& step) {
  switch (step.what) {
    case What::record: step.event->time = std::chrono::steady_clock::now(); return SUCCESS;
    case What::wait: return streams.count(step.stream) ? drain(*streams[step.stream], step.moment) : SUCCESS;
    case What::transfer:
      memcpy(step.to, step.staged ? step.staged->data() : step.from, step.bytes);
      counters.transfers++;
      return SUCCESS;
    default: break;
  }
  std::vector<void*> pointers;
  for (const std::vector<char>& argument : step.arguments) pointers.push_back((void*)argument.data());
  return run_kernel(*step.kernel, pointers.data(), step.grid, step.block, step.dynamic) ? SUCCESS : LAUNCH_FAILED;
}

static int drain(Stream& stream, uint64_t moment) {  // what follows a failure is not done
  int error = SUCCESS;
  while (!stream.waiting.empty() && stream.done < moment) {
    Step step = std::move(stream.waiting.front());
    stream.waiting.pop_front();
    stream.done++;
    if (!error) error = run(step);
  }
  return error;
}

static int drain_blocking() {
  int error = SUCCESS;
  for (auto& [number, stream] : streams)
    if (!stream->apart)
      if (int found = drain(*stream)) error = found;
  return error;
}

int drain_all() {
  int error = SUCCESS;
  for (auto& [number, stream] : streams)
    if (int found = drain(*stream)) error = found;
  return error;
}

static void put(Stream& stream, Step step) {
  stream.taken++;
  if (step.what == What::record) step.event->stream = stream.number, step.event->moment = stream.taken, step.event->captured = nullptr;
  stream.waiting.push_back(std::move(step));
}

int enqueue(Stream* stream, Step step) {
  if (stream && is_captured(stream)) return add_captured(stream, std::move(step));
  if (!stream)
    if (int error = refuse_default_stream()) return error;
  if (!stream || !stream->apart)
    if (int error = drain_blocking()) return error;
  put(stream ? *stream : of_default, std::move(step));
  return SUCCESS;
}

int synchronize(Stream* stream) {
  if (!stream) {
    int error = refuse_default_stream();
    return error ? error : drain_blocking();
  }
  int error = break_capture(stream);
  return error ? error : drain(*stream);
}

Stream* new_stream(bool apart) {
  Stream* made = new Stream{apart, current_device, ++last_number};
  streams[made->number] = made;
  return made;
}

void destroy(Stream* stream) {
  drain(*stream);
  streams.erase(stream->number);
  delete stream;
}

// Copies. Memory of the host that is not pinned is read before the call returns, and is written before it returns.

void pin(void* memory, size_t bytes) { pinned[(const char*)memory] = bytes; }
void unpin(void* memory) { pinned.erase((const char*)memory); }

static bool is_pageable(const void* at) {
  auto after = pinned.upper_bound((const char*)at);
  if (after != pinned.begin() && std::prev(after)->first + std::prev(after)->second > (const char*)at) return false;
  return !*describe_global(at);
}

int copy(Stream* stream, void* to, const void* from, size_t bytes) {
  Step step{What::transfer};
  step.to = to, step.from = from, step.bytes = bytes;
  bool is_graph = stream && is_captured(stream);
  if (!is_graph && is_pageable(from)) step.staged = std::make_shared<std::vector<char>>((const char*)from, (const char*)from + bytes);
  int error = enqueue(stream, std::move(step));
  return error || is_graph || !is_pageable(to) ? error : synchronize(stream);
}

// Events

int record(Stream* stream, const EventHandle& event, bool is_external) {
  Step step{What::record};
  step.event = event, step.is_external = is_external;
  return enqueue(stream, std::move(step));
}

int wait_for(Stream* stream, const EventHandle& event) {
  if (event->captured) return stream ? join_capture(stream, *event) : CAPTURE_IMPLICIT;
  if (stream && is_captured(stream)) return CAPTURE_ISOLATION;
  Step step{What::wait};
  step.stream = event->stream, step.moment = event->moment;
  return enqueue(stream, std::move(step));
}

bool has_happened(const Event& event) { return !streams.count(event.stream) || streams[event.stream]->done >= event.moment; }

int synchronize(const EventHandle& event) {
  if (event->captured) return CAPTURED_EVENT;
  if (int error = refuse_in_capture()) return error;
  return streams.count(event->stream) ? drain(*streams[event->stream], event->moment) : SUCCESS;
}

int replay(const CapturedGraph& graph, Stream* stream) {
  counters.graph_launches++;
  for (const Step& step : graph.steps)
    if (int error = enqueue(stream, step)) return error;
  return SUCCESS;
}

}  // namespace emu
