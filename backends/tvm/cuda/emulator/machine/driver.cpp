// libcuda.so.1: as much of the driver's interface as TVM's runtime asks for. A module is source, compiled by whom `emu_set_compiler` was told.
#include <cstdarg>
#include <thread>
#include "device.h"

namespace emu {

static const char SOURCE[] = "convc emulates ";  // what a module of source begins with; how many bytes of shared memory a block may have follow
static const int MOST_DYNAMIC_SHARED = 8;         // a function's attribute
static const size_t UNASKED_SHARED = 48 << 10;    // dynamic shared memory that needs no attribute

struct Module;
struct Function {
  const emu_kernel* kernel;
  size_t most_dynamic, most_shared;
};
struct Module {
  std::vector<Function*> functions;
};
struct LaunchConfig {  // CUlaunchConfig
  unsigned grid[3], block[3], dynamic;
  Stream* stream;
  void* attributes;
  unsigned attribute_count;
};

using Compiler = const emu_kernel* (*)(const char* source);
static Compiler compiler;

extern "C" {
void emu_set_compiler(Compiler given) { compiler = given; }

int cuModuleLoadData(Module** module, const void* image) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return error;
  const char* text = (const char*)image;
  if (strncmp(text, SOURCE, sizeof SOURCE - 1)) return strncmp(text, "\x7f" "ELF", 4) ? INVALID_IMAGE : NO_BINARY_FOR_GPU;
  char* source;
  size_t most_shared = strtoul(text + sizeof SOURCE - 1, &source, 10);
  const emu_kernel* kernels = compiler && *source == '\n' ? compiler(source + 1) : nullptr;
  if (!kernels) return INVALID_PTX;
  *module = new Module;
  for (; kernels->name; kernels++) (*module)->functions.push_back(new Function{kernels, UNASKED_SHARED, most_shared});
  return SUCCESS;
}

int cuModuleUnload(Module* module) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (int error = refuse_in_capture()) return error;
  drain_all();
  for (Function* function : module->functions) delete function;
  delete module;
  return SUCCESS;
}

int cuModuleGetFunction(Function** found, Module* module, const char* name) {
  for (Function* function : module->functions)
    if (!strcmp(function->kernel->name, name)) {
      *found = function;
      return SUCCESS;
    }
  return NOT_FOUND;
}

int cuFuncSetAttribute(Function* function, int attribute, int value) {
  if (attribute != MOST_DYNAMIC_SHARED) return SUCCESS;
  if (value < 0) return INVALID_VALUE;  // too much is refused at the launch: of what is refused here TVM says neither kernel nor limit
  std::this_thread::sleep_for(std::chrono::milliseconds(2));  // so that what does not wait for it comes before
  function->most_dynamic = (size_t)value;
  return SUCCESS;
}

int cuLaunchKernelEx(const LaunchConfig* config, Function* function, void** parameters, void**) {
  std::lock_guard<std::recursive_mutex> held(device_lock);
  if (config->dynamic > function->most_dynamic) return INVALID_VALUE;
  const emu_kernel* kernel = function->kernel;
  if (config->dynamic + kernel->shared_bytes > function->most_shared) {
    begin_watch(kernel->name);
    note_fault(TOO_MUCH_SHARED, config->dynamic + kernel->shared_bytes, function->most_shared);
    end_watch();
    return LAUNCH_FAILED;
  }
  if (config->stream && config->stream->device != current_device) return INVALID_HANDLE;
  if (refuses_launch(*kernel, config->grid, config->block, config->dynamic)) return LAUNCH_FAILED;
  Step step{What::kernel, kernel};
  step.dynamic = config->dynamic;
  memcpy(step.grid, config->grid, sizeof step.grid);
  memcpy(step.block, config->block, sizeof step.block);
  for (int i = 0; i < kernel->count; i++) step.arguments.emplace_back((char*)parameters[i], (char*)parameters[i] + kernel->sizes[i]);
  return enqueue(config->stream, std::move(step));
}

int cuGetErrorName(int error, const char** name) {
  *name = sentence_of(error);
  return SUCCESS;
}
int cuGetErrorString(int error, const char** text) { return cuGetErrorName(error, text); }

int cuDeviceGetName(char* name, int bytes, int) {
  snprintf(name, (size_t)bytes, "%s", EMU_DEVICE_NAME);
  return SUCCESS;
}

int cuTensorMapEncodeTiled(...) { return NOT_SUPPORTED; }
}

}  // namespace emu
