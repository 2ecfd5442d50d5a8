// A program that launches one kernel, linked with a sanitizer:
//   runner KERNEL GRID(3) BLOCK(3) SHARED SEED SHUFFLED LATE LATE_PRODUCTS (array|number FILE)...
// An array is memory of its own, exactly as long as its file, and is written back to FILE.after.
#include <cstdlib>
#include <string>
#include "block.h"

extern "C" const emu_kernel emu_kernels[];

namespace emu {

const int FAULT = 86, MISUSED = 3, FIRST_ARGUMENT = 13;

static std::string content(const char* path) {
  std::string bytes;
  FILE* file = fopen(path, "rb");
  if (!file) exit(MISUSED);
  char part[4096];
  while (size_t read = fread(part, 1, sizeof part, file)) bytes.append(part, read);
  fclose(file);
  return bytes;
}

struct Argument {
  bool is_array;
  std::string path;
  size_t bytes;
  void* memory;
};

static Argument argument_of(const char* kind, const char* path) {
  std::string bytes = content(path);
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, bytes.size())) exit(MISUSED);
  memcpy(memory, bytes.data(), bytes.size());
  return {!strcmp(kind, "array"), path, bytes.size(), memory};
}

static int run(int count, char** words) {
  unsigned sizes[6];
  for (int i = 0; i < 6; i++) sizes[i] = (unsigned)atol(words[2 + i]);
  options = {strtoull(words[9], nullptr, 10), atoi(words[10]) != 0, atoi(words[11]) != 0, atoi(words[12]) != 0};
  std::vector<Argument> arguments;
  for (int i = FIRST_ARGUMENT; i + 1 < count; i += 2) arguments.push_back(argument_of(words[i], words[i + 1]));
  std::vector<void*> pointers;
  for (Argument& each : arguments) pointers.push_back(each.is_array ? (void*)&each.memory : each.memory);
  const emu_kernel* kernel = emu_kernels;
  while (kernel->name && strcmp(kernel->name, words[1])) kernel++;
  if (!kernel->name) return MISUSED;
  if (!run_kernel(*kernel, pointers.data(), sizes, sizes + 3, (size_t)atol(words[8]))) {
    fprintf(stderr, "fault: %s\n", emu_last_fault());
    return FAULT;
  }
  for (const Argument& each : arguments) {
    if (!each.is_array) continue;
    FILE* file = fopen((each.path + ".after").c_str(), "wb");
    if (!file || fwrite(each.memory, 1, each.bytes, file) != each.bytes || fclose(file)) return MISUSED;
  }
  return 0;
}

}  // namespace emu

int main(int count, char** words) { return emu::run(count, words); }
