// What Python asks of the machine when it launches kernels on arrays itself.
#include "block.h"

namespace emu {

#define EMU_NAME(name) #name " "

extern "C" {
const char* emu_counter_names() { return EMU_COUNTERS(EMU_NAME); }

void emu_take_counters(uint64_t* values) {  // in the order of their names; they start again at 0
  memcpy(values, &counters, sizeof counters);
  counters = Counters();
}

void emu_set_options(uint64_t seed, int shuffled, int late, int late_products) {
  options = {seed, shuffled != 0, late != 0, late_products != 0};
}

// Why a module could not be compiled, as the error that its loading ends with.
void emu_tell(const char* sentence) {
  begin_watch("");
  note_fault("%s", sentence);
  end_watch();
}

void emu_leave_free(size_t bytes) { leave_free(bytes); }

void* emu_allocate(size_t bytes) { return allocate(bytes); }
void emu_release(void* pointer) { release(pointer); }

int emu_run(const emu_kernel* kernel, void** arguments, const unsigned* grid, const unsigned* block, size_t dynamic) {
  return run_kernel(*kernel, arguments, grid, block, dynamic) ? 0 : 1;
}
}

}  // namespace emu
