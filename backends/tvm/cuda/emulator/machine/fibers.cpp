// Fibers: a stack for each thread and a switch that keeps the registers which a function must. Sanitizers are told of them.
#include <sys/mman.h>
#include "block.h"

#if !defined(__x86_64__)
#error "fibers are switched by instructions of x86-64"
#endif

extern "C" {  // there where the program was linked with ThreadSanitizer
__attribute__((weak)) void* __tsan_get_current_fiber(void);
__attribute__((weak)) void* __tsan_create_fiber(unsigned flags);
__attribute__((weak)) void __tsan_destroy_fiber(void* fiber);
__attribute__((weak)) void __tsan_switch_to_fiber(void* fiber, unsigned flags);
__attribute__((weak)) void __tsan_acquire(void* address);
__attribute__((weak)) void __tsan_release(void* address);

void emu_switch(void** save, void* load);
asm(R"(
.text
.globl emu_switch
.type emu_switch,@function
emu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size emu_switch,.-emu_switch
)");
}

emu_place* emu_here;

namespace emu {

static const size_t STACK = 512 << 10;  // bytes; no kernel of 255 registers and its spills comes near
static const unsigned UNORDERED = 1;  // a switch is no synchronization

Thread* current;
void* sanitizer_of_scheduler;
static void* scheduler_stack;

void prepare_fiber(Thread* thread, void (*body)()) {
  const int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  if (!thread->stack) {
    char* whole = (char*)mmap(nullptr, STACK + GUARD, access, kind, -1, 0);
    mprotect(whole, GUARD, PROT_NONE);
    thread->stack = whole + GUARD;
  }
  if (__tsan_create_fiber) {  // a new one each time, on new memory: what the last block's thread knew, this one's does not
    if (thread->sanitizer) __tsan_destroy_fiber(thread->sanitizer);
    thread->sanitizer = __tsan_create_fiber(0);
    mmap(thread->stack, STACK, access, kind | MAP_FIXED, -1, 0);
  }
  void** top = (void**)(thread->stack + STACK - 64);
  *--top = nullptr;  // where the body would return to: the stack is as after a call
  *--top = (void*)body;
  for (int i = 0; i < 6; i++) *--top = nullptr;
  thread->stack_pointer = top;
}

void switch_to(Thread* thread) {
  current = thread;
  emu_here = &thread->place;
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(thread->sanitizer, UNORDERED);
  emu_switch(&scheduler_stack, thread->stack_pointer);
  current = nullptr;
}

void switch_to_scheduler() {
  Thread* me = current;
  if (__tsan_switch_to_fiber) __tsan_switch_to_fiber(sanitizer_of_scheduler, UNORDERED);
  emu_switch(&me->stack_pointer, scheduler_stack);
}

bool under_thread_sanitizer() {
  if (!__tsan_get_current_fiber) return false;
  sanitizer_of_scheduler = __tsan_get_current_fiber();
  return true;
}
void sanitizer_release(void* tag) {
  if (__tsan_release) __tsan_release(tag);
}
void sanitizer_acquire(void* tag) {
  if (__tsan_acquire) __tsan_acquire(tag);
}

}  // namespace emu
