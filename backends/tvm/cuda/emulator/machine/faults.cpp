// A kernel that breaks a rule ends its launch with one sentence: which kernel, which block and thread, what it did.
#include <signal.h>
#include <sys/mman.h>
#include <cstdarg>
#include "block.h"

extern "C" {
__attribute__((weak)) void __asan_init(void);  // there under AddressSanitizer, which watches memory itself
}

namespace emu {

static const char* kernel_name = "";
static char sentence[1000];
static bool met;
static const int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE};
static struct sigaction before[3];
static stack_t stack_before;
static const size_t SIGNAL_STACK = 64 << 10;

static void note(const char* format, va_list values) {
  if (met) return;  // the first is the cause
  met = true;
  int used = snprintf(sentence, sizeof sentence, *kernel_name ? "kernel %s" : "a module", kernel_name);
  if (current) {
    const emu_place& at = current->place;
    used += snprintf(sentence + used, sizeof sentence - used, ", block (%u,%u,%u), thread (%u,%u,%u)", at.block.x, at.block.y, at.block.z,
                     at.thread.x, at.thread.y, at.thread.z);
  }
  used += snprintf(sentence + used, sizeof sentence - used, ": ");
  vsnprintf(sentence + used, sizeof sentence - used, format, values);
}

void note_fault(const char* format, ...) {
  va_list values;
  va_start(values, format);
  note(format, values);
  va_end(values);
}

void fault(const char* format, ...) {
  va_list values;
  va_start(values, format);
  note(format, values);
  va_end(values);
  switch_to_scheduler();  // which never comes back to a launch that has a fault
  __builtin_trap();
}

extern "C" void emu_fault(const char* what) { fault("%s", what); }
bool has_fault() { return met; }
extern "C" const char* emu_last_fault() { return sentence; }

static void on_signal(int number, siginfo_t* info, void*) {
  if (!current) {  // not a kernel's doing: let it happen again, to whoever was asked before
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    return;
  }
  if (number == SIGFPE) fault("divides a whole number by 0");
  const char *at = (const char*)info->si_addr, *low = current->stack - GUARD;
  if (at >= low && at < current->stack) fault("has more local memory than the emulator gives a thread");
  const char* where = describe_shared(at);
  if (!*where) where = describe_global(at);
  fault("touches memory %s", *where ? where : "that nobody allocated");
}

void begin_watch(const char* kernel) {
  kernel_name = kernel;
  met = false;
  sentence[0] = 0;
  if (__asan_init) return;
  static void* room = mmap(nullptr, SIGNAL_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  stack_t stack{};
  stack.ss_sp = room;
  stack.ss_size = SIGNAL_STACK;
  sigaltstack(&stack, &stack_before);
  struct sigaction action{};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;  // the handler does not return: the fiber is left where it is
  for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &action, &before[i]);
}

bool end_watch() {
  if (!__asan_init) {
    for (int i = 0; i < 3; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    sigaltstack(&stack_before, nullptr);
  }
  return !met;
}

}  // namespace emu
