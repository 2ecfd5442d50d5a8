// Streams that are captured into graphs, as their modes say, and what may not be done meanwhile.
#include <thread>
#include "device.h"

namespace emu {

struct Capture {
  Stream* stream;
  CaptureMode mode;
  std::thread::id thread;
  CapturedGraph* graph;
  bool is_broken;
  std::vector<const Stream*> joined;  // that wait for something of it; nobody waits for them in turn here
};
static std::vector<Capture> captures;

static Capture* capture_of(const Stream* stream) {
  for (Capture& capture : captures) {
    if (capture.stream == stream) return &capture;
    for (const Stream* joined : capture.joined)
      if (joined == stream) return &capture;
  }
  return nullptr;
}

bool is_captured(const Stream* stream) { return capture_of(stream); }

int add_captured(Stream* stream, Step step) {
  Capture* capture = capture_of(stream);
  if (capture->is_broken) return CAPTURE_INVALIDATED;
  if (step.what == What::record && !step.is_external) step.event->captured = capture->stream;  // no thing of the graph: who waits for it joins
  else capture->graph->steps.push_back(std::move(step));
  counters.captured++;
  return SUCCESS;
}

int join_capture(Stream* stream, const Event& event) {
  Capture *own = capture_of(stream), *other = capture_of(event.captured);
  if (!other) return INVALID_VALUE;
  if (own && own != other) return CAPTURE_ISOLATION;
  if (!own) other->joined.push_back(stream);
  return SUCCESS;
}

int break_capture(const Stream* stream) {
  Capture* capture = capture_of(stream);
  if (!capture) return SUCCESS;
  capture->is_broken = true;
  return CAPTURE_UNSUPPORTED;
}

// The default stream waits for all streams but those that are made not to; so it cannot be used while one that it waits for is captured.
int refuse_default_stream() {
  int error = SUCCESS;
  for (Capture& capture : captures)
    if (!capture.stream->apart) {
      capture.is_broken = true;
      error = CAPTURE_IMPLICIT;
    }
  return error;
}

int begin_capture(Stream* stream, CaptureMode mode) {
  if (!stream || capture_of(stream)) return CAPTURE_UNSUPPORTED;
  captures.push_back({stream, mode, std::this_thread::get_id(), new CapturedGraph, false, {}});
  return SUCCESS;
}

int end_capture(Stream* stream, CapturedGraph** graph) {
  Capture* capture = capture_of(stream);
  if (!capture || capture->stream != stream) return INVALID_VALUE;
  if (capture->mode != CaptureMode::relaxed && capture->thread != std::this_thread::get_id()) return CAPTURE_WRONG_THREAD;
  int error = capture->is_broken ? CAPTURE_INVALIDATED : capture->joined.empty() ? SUCCESS : CAPTURE_UNJOINED;
  *graph = error ? nullptr : capture->graph;
  if (error) delete capture->graph;
  captures.erase(captures.begin() + (capture - captures.data()));
  return error;
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

}  // namespace emu
