// Streams: what is enqueued runs at once, and so in the order of the calls, whatever its stream. One stream at a time may be captured.
#include "device.h"

namespace emu {

std::recursive_mutex device_lock;
static CapturedGraph* capture;
static void* captured_stream;
static bool is_broken;

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
    case CAPTURE_IMPLICIT: return "the default stream is used while another is captured";
    default: return emu_last_fault();
  }
}

static int run(const Step& step) {
  if (!step.kernel) {
    memcpy(step.to, step.from, step.bytes);
    counters.transfers++;
    return SUCCESS;
  }
  std::vector<void*> pointers;
  for (const std::vector<char>& argument : step.arguments) pointers.push_back((void*)argument.data());
  return run_kernel(*step.kernel, pointers.data(), step.grid, step.block, step.dynamic) ? SUCCESS : LAUNCH_FAILED;
}

int enqueue(void* stream, Step step) {
  if (capture && stream == captured_stream) {
    capture->steps.push_back(std::move(step));
    counters.captured++;
    return SUCCESS;
  }
  if (capture && !stream) {
    is_broken = true;
    return CAPTURE_IMPLICIT;
  }
  return run(step);
}

int begin_capture(void* stream) {
  if (capture || !stream) return CAPTURE_UNSUPPORTED;
  capture = new CapturedGraph;
  captured_stream = stream;
  is_broken = false;
  return SUCCESS;
}

int end_capture(void* stream, CapturedGraph** graph) {
  if (!capture || stream != captured_stream) return INVALID_VALUE;
  *graph = is_broken ? nullptr : capture;
  if (is_broken) delete capture;
  capture = nullptr;
  return is_broken ? CAPTURE_INVALIDATED : SUCCESS;
}

int refuse_in_capture() {
  if (!capture) return SUCCESS;
  is_broken = true;
  return CAPTURE_UNSUPPORTED;
}

int replay(const CapturedGraph& graph) {
  counters.graph_launches++;
  for (const Step& step : graph.steps)
    if (int error = run(step)) return error;
  return SUCCESS;
}

}  // namespace emu
