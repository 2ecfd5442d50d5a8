// libcudart.so.13: as much of the runtime's interface as TVM's asks for, on devices with the figures of an H100.
#include <cstdlib>
#include "device.h"

namespace emu {

static int last_error;

static int said(int error) {
  if (error) last_error = error;
  return error;
}

struct Figure {
  int attribute, value;
};
static const Figure FIGURES[] = {
    {1, 1024},      // threads a block
    {2, 1024},      // along x
    {3, 1024},      // along y
    {4, 64},        // along z
    {8, 48 << 10},  // shared memory a block
    {10, 32},       // lanes of a warp
    {12, 65536},    // registers a block
    {13, 1980000},  // kHz
    {16, 132},      // multiprocessors
    {38, 50 << 20},  // L2 cache
    {75, 9},        // compute capability, major
    {76, 0},        // minor
    {97, 227 << 10},  // shared memory a block that asks for it
};
static const size_t TOTAL = (size_t)80 << 30;

struct Properties {  // the first of cudaDeviceProp
  char name[256], uuid[16], luid[8];
  unsigned luid_mask;
  size_t total_memory, shared_a_block;
  int registers_a_block, lanes;
};

extern "C" {
int cudaGetDeviceCount(int* count) {
  *count = DEVICES;
  return SUCCESS;
}
int cudaGetDevice(int* device) {
  *device = current_device;
  return SUCCESS;
}
int cudaSetDevice(int device) {
  if (device < 0 || device >= DEVICES) return said(INVALID_DEVICE);
  current_device = device;
  return SUCCESS;
}
int cudaDeviceGetAttribute(int* value, int attribute, int device) {
  if (device < 0 || device >= DEVICES) return said(INVALID_DEVICE);
  *value = 0;
  for (const Figure& figure : FIGURES)
    if (figure.attribute == attribute) *value = figure.value;
  return SUCCESS;
}
int cudaGetDeviceProperties(void* to, int device) {
  if (device < 0 || device >= DEVICES) return said(INVALID_DEVICE);
  Properties known{};
  snprintf(known.name, sizeof known.name, "%s", EMU_DEVICE_NAME);
  known.total_memory = TOTAL;
  known.shared_a_block = 48 << 10;
  known.registers_a_block = 65536;
  known.lanes = 32;
  memcpy(to, &known, sizeof known);
  return SUCCESS;
}
int cudaDeviceSynchronize() {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  counters.synchronizations++;
  if (int error = refuse_in_capture()) return said(error);
  return said(drain_all());
}
int cudaMemGetInfo(size_t* free, size_t* total) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  *free = free_bytes();
  *total = TOTAL;
  return SUCCESS;
}

int cudaMalloc(void** pointer, size_t bytes) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return said(error);
  *pointer = bytes > free_bytes() ? nullptr : allocate(bytes);
  return *pointer ? SUCCESS : said(OUT_OF_MEMORY);
}
int cudaFree(void* pointer) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return said(error);
  if (int error = drain_all()) return said(error);
  return release(pointer) ? SUCCESS : said(INVALID_VALUE);
}
int cudaMallocHost(void** pointer, size_t bytes) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return said(error);
  *pointer = malloc(bytes);
  if (!*pointer) return said(OUT_OF_MEMORY);
  pin(*pointer, bytes);
  return SUCCESS;
}
int cudaFreeHost(void* pointer) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return said(error);
  int error = drain_all();
  unpin(pointer);
  free(pointer);
  return said(error);
}
int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, Stream* stream) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(copy(stream, to, from, bytes));
}
int cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, Stream* stream) {
  return cudaMemcpyAsync(to, from, bytes, 0, stream);
}

int cudaGetLastError() {
  int error = last_error;
  last_error = SUCCESS;
  return error;
}
int cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorName(int error) { return sentence_of(error); }
const char* cudaGetErrorString(int error) { return sentence_of(error); }

int cudaStreamCreateWithFlags(Stream** stream, unsigned flags) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  *stream = new_stream((flags & 1) != 0);
  return SUCCESS;
}
int cudaStreamCreate(Stream** stream) { return cudaStreamCreateWithFlags(stream, 0); }
int cudaStreamDestroy(Stream* stream) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  destroy(stream);
  return SUCCESS;
}
int cudaStreamSynchronize(Stream* stream) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  counters.synchronizations++;
  return said(synchronize(stream));
}
int cudaStreamWaitEvent(Stream* stream, const EventHandle* event, unsigned) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(wait_for(stream, *event));
}

int cudaStreamBeginCapture(Stream* stream, CaptureMode mode) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(begin_capture(stream, mode));
}
int cudaStreamEndCapture(Stream* stream, CapturedGraph** graph) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(end_capture(stream, graph));
}
int cudaStreamIsCapturing(Stream* stream, int* status) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  *status = is_captured(stream);
  return SUCCESS;
}
int cudaGraphInstantiate(CapturedGraph** executable, const CapturedGraph* graph, unsigned long long) {
  *executable = new CapturedGraph(*graph);
  return SUCCESS;
}
int cudaGraphLaunch(const CapturedGraph* executable, Stream* stream) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(replay(*executable, stream));
}
int cudaGraphDestroy(CapturedGraph* graph) {
  delete graph;
  return SUCCESS;
}
int cudaGraphExecDestroy(CapturedGraph* executable) {  // what was launched of it has its own copy
  delete executable;
  return SUCCESS;
}

int cudaEventCreate(EventHandle** event) {
  *event = new EventHandle(new Event);
  return SUCCESS;
}
int cudaEventCreateWithFlags(EventHandle** event, unsigned) { return cudaEventCreate(event); }
int cudaEventDestroy(EventHandle* event) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  delete event;
  return SUCCESS;
}
int cudaEventRecordWithFlags(const EventHandle* event, Stream* stream, unsigned flags) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  return said(record(stream, *event, (flags & 1) != 0));
}
int cudaEventRecord(const EventHandle* event, Stream* stream) { return cudaEventRecordWithFlags(event, stream, 0); }
int cudaEventSynchronize(const EventHandle* event) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  counters.synchronizations++;
  return said(synchronize(*event));
}
int cudaEventElapsedTime(float* milliseconds, const EventHandle* from, const EventHandle* to) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (!has_happened(**from) || !has_happened(**to)) return said(NOT_READY);
  *milliseconds = std::chrono::duration<float, std::milli>((*to)->time - (*from)->time).count();
  return SUCCESS;
}
}

}  // namespace emu
