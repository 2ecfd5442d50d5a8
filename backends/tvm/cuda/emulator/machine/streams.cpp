// Streams: what is enqueued runs at once, and so in the order of the calls, whatever its stream. Each may be captured, as its mode says.
#include <thread>
#include "device.h"

namespace emu {

struct Capture {
  Stream* stream;
  CaptureMode mode;
  std::thread::id thread;
  CapturedGraph* graph;
  bool is_broken;
};

std::recursive_mutex device_lock;
static std::vector<Capture> captures;

static Capture* capture_of(const Stream* stream) {
  for (Capture& capture : captures)
    if (capture.stream == stream) return &capture;
  return nullptr;
}

const char* sentence_of(int error) {
  switch (error) {
    case SUCCESS: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case INVALID_DEVICE: return "there is one emulated device, number 0";
    case INVALID_IMAGE: return "this module is neither source nor machine code";
    case NO_BINARY_FOR_GPU: return "this module is machine code for a GPU, and the emulator takes source";
    case NOT_FOUND: return "the module has no such kernel";
    case NOT_SUPPORTED: return "not emulated";
    case CAPTURE_UNSUPPORTED: return "not allowed while a stream is captured";
    case CAPTURE_INVALIDATED: return "something that is not allowed ended the capture";
    case CAPTURE_WRONG_THREAD: return "another thread began this capture";
    case CAPTURE_IMPLICIT: return "the default stream is used while another is captured";
    default: return emu_last_fault();
  }
}

void happen(Event* event) { event->time = std::chrono::steady_clock::now(); }

static int run(const Step& step) {
  if (step.event) {
    happen(step.event);
    return SUCCESS;
  }
  if (!step.kernel) {
    memcpy(step.to, step.from, step.bytes);
    counters.transfers++;
    return SUCCESS;
  }
  std::vector<void*> pointers;
  for (const std::vector<char>& argument : step.arguments) pointers.push_back((void*)argument.data());
  return run_kernel(*step.kernel, pointers.data(), step.grid, step.block, step.dynamic) ? SUCCESS : LAUNCH_FAILED;
}

// The default stream waits for all streams but those that are made not to; so it cannot be used while one that it waits for is captured.
static int refuse_default_stream() {
  int error = SUCCESS;
  for (Capture& capture : captures)
    if (!capture.stream->apart) {
      capture.is_broken = true;
      error = CAPTURE_IMPLICIT;
    }
  return error;
}

int enqueue(Stream* stream, Step step) {
  if (!stream) {
    if (int error = refuse_default_stream()) return error;
  } else if (Capture* capture = capture_of(stream)) {
    capture->graph->steps.push_back(std::move(step));
    counters.captured++;
    return SUCCESS;
  }
  return run(step);
}

bool is_captured(const Stream* stream) { return capture_of(stream); }

int synchronize(Stream* stream) {
  if (!stream) return refuse_default_stream();
  Capture* capture = capture_of(stream);
  if (!capture) return SUCCESS;
  capture->is_broken = true;
  return CAPTURE_UNSUPPORTED;
}

int begin_capture(Stream* stream, CaptureMode mode) {
  if (!stream || capture_of(stream)) return CAPTURE_UNSUPPORTED;
  captures.push_back({stream, mode, std::this_thread::get_id(), new CapturedGraph, false});
  return SUCCESS;
}

int end_capture(Stream* stream, CapturedGraph** graph) {
  Capture* capture = capture_of(stream);
  if (!capture) return INVALID_VALUE;
  if (capture->mode != CaptureMode::relaxed && capture->thread != std::this_thread::get_id()) return CAPTURE_WRONG_THREAD;
  bool is_broken = capture->is_broken;
  *graph = is_broken ? nullptr : capture->graph;
  if (is_broken) delete capture->graph;
  captures.erase(captures.begin() + (capture - captures.data()));
  return is_broken ? CAPTURE_INVALIDATED : SUCCESS;
}

// A capture of mode global forbids it to every thread, one of mode thread_local to its own.
int refuse_in_capture() {
  int error = SUCCESS;
  for (Capture& capture : captures) {
    bool is_own = capture.thread == std::this_thread::get_id();
    if (capture.mode == CaptureMode::relaxed || (capture.mode == CaptureMode::thread_local_ && !is_own)) continue;
    capture.is_broken = true;
    error = CAPTURE_UNSUPPORTED;
  }
  return error;
}

int replay(const CapturedGraph& graph) {
  counters.graph_launches++;
  for (const Step& step : graph.steps)
    if (int error = run(step)) return error;
  return SUCCESS;
}

}  // namespace emu
