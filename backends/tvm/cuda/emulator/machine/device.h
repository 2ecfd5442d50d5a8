// What the two libraries that stand in for NVIDIA's share: the device's figures, its errors, streams and their capture into graphs.
#pragma once
#include <chrono>
#include <deque>
#include <memory>
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
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  NOT_READY = 600,
  LAUNCH_FAILED = 719,
  NOT_SUPPORTED = 801,
  CAPTURE_UNSUPPORTED = 900,
  CAPTURE_INVALIDATED = 901,
  CAPTURE_UNJOINED = 904,
  CAPTURE_ISOLATION = 905,
  CAPTURE_IMPLICIT = 906,
  CAPTURED_EVENT = 907,
  CAPTURE_WRONG_THREAD = 908,
};
const char* sentence_of(int error);

extern std::recursive_mutex device_lock;  // one thing at a time; a module is compiled, and so kernels are found, while it is held

struct Stream;
struct Event {  // the `moment`-th thing of a stream; 0 before it is recorded
  std::chrono::steady_clock::time_point time;
  uint64_t stream = 0, moment = 0;
  const Stream* captured = nullptr;  // in the capture of this stream, and so no moment at all
};
using EventHandle = std::shared_ptr<Event>;  // what is enqueued outlives its being destroyed

enum class What { kernel, transfer, record, wait };
struct Step {  // of a stream: a kernel with its own copy of the arguments, or one of the others
  What what;
  const emu_kernel* kernel = nullptr;
  std::vector<std::vector<char>> arguments = {};
  unsigned grid[3] = {}, block[3] = {};
  size_t dynamic = 0;
  void* to = nullptr;
  const void* from = nullptr;
  size_t bytes = 0;
  std::shared_ptr<std::vector<char>> staged = nullptr;  // what `from` held, where that is the host's own again
  EventHandle event = nullptr;
  bool is_external = false;  // of a capture: recorded with each launch
  uint64_t stream = 0, moment = 0;  // that are waited for
};
struct CapturedGraph {
  std::vector<Step> steps;
};
struct Stream {
  bool apart;  // the default stream does not wait for it
  int device;
  uint64_t number = 0, taken = 0, done = 0;
  std::deque<Step> waiting = {};
};
enum class CaptureMode { global, thread_local_, relaxed };

int enqueue(Stream* stream, Step step);  // to be done as late as may be, or added to the graph that the stream is captured into
int drain_all();                          // whatever is waiting, as where memory is freed; its first error
int synchronize(Stream* stream);
Stream* new_stream(bool apart);
void destroy(Stream* stream);
int copy(Stream* stream, void* to, const void* from, size_t bytes);
int record(Stream* stream, const EventHandle& event, bool is_external);
int wait_for(Stream* stream, const EventHandle& event);
int synchronize(const EventHandle& event);
bool has_happened(const Event& event);
int replay(const CapturedGraph& graph, Stream* stream);
void pin(void* memory, size_t bytes);
void unpin(void* memory);

extern thread_local int current_device;  // a thread's own, as the runtime keeps it
const int DEVICES = 2;                    // the second is there to be the wrong one

bool is_captured(const Stream* stream);
int add_captured(Stream* stream, Step step);
int join_capture(Stream* stream, const Event& event);  // of which the event is part
int break_capture(const Stream* stream);
int begin_capture(Stream* stream, CaptureMode mode);
int end_capture(Stream* stream, CapturedGraph** graph);
int refuse_in_capture();      // for what a capture does not allow, which breaks it
int refuse_default_stream();

}  // namespace emu
