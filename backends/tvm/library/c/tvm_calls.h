/* TVM's C interface in a few calls, and tensors over memory of ours: a part of convc.c. */
#pragma once

#include "convc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tvm/ffi/c_api.h>

enum { ALIGNMENT = 64, MESSAGE = 400 };

static const struct {
  uint8_t code, bits;
} TYPES[] = {{kDLFloat, 16}, {kDLBfloat, 16}, {kDLFloat, 32}, {kDLFloat, 64}, {kDLInt, 8},   {kDLUInt, 8}, {kDLInt, 16},
             {kDLUInt, 16},  {kDLInt, 32},    {kDLUInt, 32},  {kDLInt, 64},   {kDLUInt, 64}, {kDLBool, 8}};

static int fail(char *error, size_t room, const char *format, ...) {
  va_list values;
  va_start(values, format);
  if (room) vsnprintf(error, room, format, values);
  va_end(values);
  return CONVC_FAILED;
}

/* ---- TVM's calls ---- */

/* The first line of what TVM raised. */
static int fail_as_tvm(char *error, size_t room, const char *what) {
  TVMFFIObjectHandle raised = NULL;
  TVMFFIErrorMoveFromRaised(&raised);
  if (!raised) return fail(error, room, "%s fails in TVM", what);
  const TVMFFIErrorCell *cell = (const TVMFFIErrorCell *)((char *)raised + sizeof(TVMFFIObject));
  const char *end = memchr(cell->message.data, '\n', cell->message.size);
  size_t size = end ? (size_t)(end - cell->message.data) : cell->message.size;
  fail(error, room, "%s fails in TVM: %.*s", what, (int)(size < MESSAGE ? size : MESSAGE), cell->message.data);
  TVMFFIObjectDecRef(raised);
  return -1;
}

static TVMFFIAny number(int64_t value) { return (TVMFFIAny){.type_index = kTVMFFIInt, .v_int64 = value}; }
static TVMFFIAny text(const char *value) { return (TVMFFIAny){.type_index = kTVMFFIRawStr, .v_c_str = value}; }
static TVMFFIAny object(int32_t kind, TVMFFIObjectHandle value) { return (TVMFFIAny){.type_index = kind, .v_obj = value}; }

static void forget(TVMFFIAny *value) {
  if (value->type_index >= kTVMFFIStaticObjectBegin) TVMFFIObjectDecRef(value->v_obj);
  *value = (TVMFFIAny){.type_index = kTVMFFINone};
}

/* Call a function of TVM's registry. */
static int call(const char *name, TVMFFIAny *arguments, int count, TVMFFIAny *result) {
  TVMFFIByteArray key = {name, strlen(name)};
  TVMFFIObjectHandle function = NULL;
  *result = (TVMFFIAny){.type_index = kTVMFFINone};
  if (TVMFFIFunctionGetGlobal(&key, &function)) return -1;
  if (!function) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", "a part of it is not linked in; link with -Wl,--no-as-needed -ltvm_runtime -ltvm_ffi");
    return -1;
  }
  int failed = TVMFFIFunctionCall(function, arguments, count, result);
  TVMFFIObjectDecRef(function);
  return failed;
}

/* A function of a module; NULL where it has none of that name. */
static TVMFFIObjectHandle function_of(TVMFFIObjectHandle module, const char *name) {
  TVMFFIAny result, arguments[] = {object(kTVMFFIModule, module), text(name), {.type_index = kTVMFFIBool, .v_int64 = 0}};
  if (call("ffi.ModuleGetFunction", arguments, 3, &result)) return NULL;
  if (result.type_index == kTVMFFIFunction) return result.v_obj;
  TVMFFIErrorSetRaisedFromCStr("RuntimeError", "it is no library of convc's");
  return NULL;
}

static int call_of(TVMFFIObjectHandle module, const char *name, TVMFFIAny *arguments, int count, TVMFFIAny *result) {
  TVMFFIObjectHandle function = function_of(module, name);
  *result = (TVMFFIAny){.type_index = kTVMFFINone};
  if (!function) return -1;
  int failed = TVMFFIFunctionCall(function, arguments, count, result);
  TVMFFIObjectDecRef(function);
  return failed;
}

/* ---- tensors over memory of ours ---- */

typedef struct {
  DLManagedTensor tensor;
  int64_t shape[CONVC_RANK];
} borrowed;

static void give_back(DLManagedTensor *tensor) { free(tensor); }

/* Replace `*slot` by a tensor over `data`, which is aligned and outlives it. */
static int borrow(TVMFFIAny *slot, const void *data, convc_type type, int rank, const int64_t *shape) {
  borrowed *made = calloc(1, sizeof *made);
  TVMFFIObjectHandle tensor = NULL;
  forget(slot);
  if (!made) return -1;
  memcpy(made->shape, shape, sizeof made->shape);
  made->tensor.dl_tensor = (DLTensor){.data = (void *)data, /* TVM writes to no argument but those of `in_place` */
                                      .device = {kDLCPU, 0},
                                      .ndim = rank,
                                      .dtype = {TYPES[type].code, TYPES[type].bits, 1},
                                      .shape = made->shape};
  made->tensor.deleter = give_back;
  if (TVMFFITensorFromDLPack(&made->tensor, ALIGNMENT, 1, &tensor)) {
    free(made);
    return -1;
  }
  *slot = object(kTVMFFITensor, tensor);
  return 0;
}

static const DLTensor *tensor_in(const TVMFFIAny *value) {
  return value->type_index == kTVMFFITensor ? (const DLTensor *)((char *)value->v_obj + sizeof(TVMFFIObject)) : NULL;
}

static const void *data_of(const DLTensor *tensor) { return (const char *)tensor->data + tensor->byte_offset; }
