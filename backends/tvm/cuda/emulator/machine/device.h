// What the two libraries that stand in for NVIDIA's share: the device's figures, its errors, streams and their capture into graphs.
#pragma once
#include <chrono>
#include <mutex>
#include <vector>
#include "block.h"

namespace emu {

enum Error {  // the numbers of cudaError_t and CUresult, where these agree
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  NO_BINARY_FOR_GPU = 209,
  INVALID_PTX = 218,
  NOT_FOUND = 500,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_IMPLICIT = 906,
  CAPTURE_WRONG_THREAD = 908,
};
const char* sentence_of(int error);

extern std::recursive_mutex device_lock;  // one thing at a time; a module is compiled, and so kernels are found, while it is held

struct Event {
  std::chrono::steady_clock::time_point time;
};

struct Step {  // of a stream: a kernel with its own copy of the arguments; where there is none, an event or a transfer
  const emu_kernel* kernel;
  std::vector<std::vector<char>> arguments;
  unsigned grid[3], block[3];
  size_t dynamic;
  void* to;
  const void* from;
  size_t bytes;
  Event* event;
};
void happen(Event* event);
struct CapturedGraph {
  std::vector<Step> steps;
};
struct Stream {
  bool apart;  // the default stream does not wait for it
};
enum class CaptureMode { global, thread_local_, relaxed };

int enqueue(Stream* stream, Step step);  // runs it at once, or adds it to the graph that the stream is captured into
int synchronize(Stream* stream);
bool is_captured(const Stream* stream);
int begin_capture(Stream* stream, CaptureMode mode);
int end_capture(Stream* stream, CapturedGraph** graph);
int refuse_in_capture();  // for what a capture does not allow, which breaks it
int replay(const CapturedGraph& graph);

}  // namespace emu
