/* The runtime of convc.h over TVM's C interface: the same text for every network. C11 and POSIX. */
#define _DEFAULT_SOURCE
#include "convc.h"
#include "digest.h"
#include "processor.h"
#include "tvm_calls.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LAYOUT = 64, REMEMBERED = 16, FAST_CORES = 1, POOLED = 2, PATH = 4096 };

struct convc_model {
  const convc_network *network;
  const convc_library *library;
  int threads;
  TVMFFIObjectHandle vm[2], main[2]; /* for any batch, and for a single image where there is a library for it */
  void *packed;                      /* its weights, mapped */
  TVMFFIAny *arguments;              /* inputs, then weights */
  TVMFFIAny *results;
  void **aligned; /* room for inputs that come unaligned */
  int64_t *room;
  atomic_flag busy;
  char error[MESSAGE];
};

/* ---- shapes of a batch ---- */

static void shape_of(const convc_value *value, int64_t batch, int64_t shape[CONVC_RANK]) {
  for (int i = 0; i < CONVC_RANK; i++) shape[i] = value->per_batch[i] * batch + value->plus[i];
}

static int64_t bytes_of(convc_type type, int64_t elements) { return elements < 0 ? -1 : elements * (TYPES[type].bits / 8); }

int64_t convc_elements(const convc_value *value, int64_t batch) {
  int64_t count = 1;
  for (int i = 0; i < value->rank; i++) {
    int64_t extent;
    if (__builtin_mul_overflow(value->per_batch[i], batch, &extent) || __builtin_add_overflow(extent, value->plus[i], &extent)) return -1;
    if (extent < 0 || __builtin_mul_overflow(count, extent, &count) || count > INT64_MAX / 16) return -1;
  }
  return count;
}

int64_t convc_bytes(const convc_value *value, int64_t batch) { return bytes_of(value->type, convc_elements(value, batch)); }

/* ---- opening ---- */

/* An instruction set that the library needs and this processor has not; NULL if it has all. */
static const char *lacking(const convc_library *library) {
  for (int i = 0; library->needs[i]; i++)
    if (!has(library->needs[i])) return library->needs[i];
  return NULL;
}

/* The first library that runs here, for they are the best first, or the one that is asked for. NULL and why if there is none. */
static const convc_library *library_for(const convc_network *network, char *error, size_t room) {
  const char *asked = network->libraries > 1 ? getenv("CONVC_CPU") : NULL, *lacks = NULL;
  for (int i = 0; i < network->libraries; i++) {
    if (asked && *asked && strcmp(asked, network->library[i].processor)) continue;
    lacks = lacking(&network->library[i]);
    if (!lacks) return &network->library[i];
  }
  if (lacks)
    fail(error, room, "%s was compiled for a processor with %s; compile the network again on this one", network->name, lacks);
  else
    fail(error, room, "CONVC_CPU is %s, and %s has no library for that; leave it out", asked, network->name);
  return NULL;
}

/* The workers of the calling thread: TVM keeps a pool for each. */
static int use_threads(int threads, char *error, size_t room) {
  TVMFFIAny result, arguments[] = {number(FAST_CORES), number(threads)};
  if (call("runtime.NumThreads", NULL, 0, &result)) return fail_as_tvm(error, room, "the thread pool");
  if (result.v_int64 == threads) return 0;
  if (call("runtime.config_threadpool", arguments, 2, &result) || call("runtime.NumThreads", NULL, 0, &result))
    return fail_as_tvm(error, room, "the thread pool");
  if (result.v_int64 == threads) return 0;
  return fail(error, room, "TVM gives %d of %d threads; set TVM_NUM_THREADS to %d or more before the program starts", (int)result.v_int64,
              threads, threads);
}

/* No pool grows beyond the number in the environment; TVM would take half of the processors, and bind threads and caller to the first ones of
 * all, whichever this process was given. Once, as pools read it in any thread. */
static void tell_tvm(long threads) {
  static pthread_mutex_t telling = PTHREAD_MUTEX_INITIALIZER;
  static int is_told;
  char number[32];
  snprintf(number, sizeof number, "%ld", threads);
  pthread_mutex_lock(&telling);
  if (!is_told) setenv("TVM_NUM_THREADS", number, 0), setenv("TVM_BIND_THREADS", "0", 0);
  is_told = 1;
  pthread_mutex_unlock(&telling);
}

static int check_threads(int threads, char *error, size_t room) {
  long processors = sysconf(_SC_NPROCESSORS_ONLN), most = 4 * (processors < 1 ? 1 : processors);
  if (threads < 1 || threads > most)
    return fail(error, room, "%d threads; at least 1 and at most %ld, four a processor, are possible", threads, most);
  tell_tvm(threads > processors ? threads : processors);
  return use_threads(threads, error, room);
}

/* Whether a file holds what convc wrote, by the digest at its end. A file is read once: models of one program share their pages. */
static int is_altered(const unsigned char *bytes, size_t size, const struct stat *file) {
  static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;
  static struct {
    dev_t device;
    ino_t number;
    struct timespec written;
  } known[REMEMBERED];
  static int next;
  unsigned char digest[DIGEST];
  int found = 0;
  pthread_mutex_lock(&reading);
  for (int i = 0; i < REMEMBERED; i++)
    found |= known[i].number == file->st_ino && known[i].device == file->st_dev && known[i].written.tv_sec == file->st_mtim.tv_sec &&
             known[i].written.tv_nsec == file->st_mtim.tv_nsec;
  if (!found) {
    digest_of(bytes, size - DIGEST, digest);
    found = !memcmp(bytes + size - DIGEST, digest, DIGEST);
    if (found) {
      known[next].device = file->st_dev, known[next].number = file->st_ino, known[next].written = file->st_mtim;
      next = (next + 1) % REMEMBERED;
    }
  }
  pthread_mutex_unlock(&reading);
  return !found;
}

static int map_weights(convc_model *model, const char *directory, int flags, char *error, size_t room) {
  const convc_network *network = model->network;
  const convc_library *library = model->library;
  size_t size = (size_t)library->bytes;
  char path[PATH];
  struct stat found;
  if (snprintf(path, PATH, "%s/%s", directory, library->weights) >= PATH) return fail(error, room, "the directory's name is too long");
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return fail(error, room, "%s cannot be opened; is it the artifact of %s?", path, network->name);
  int fits = !fstat(file, &found) && found.st_size == library->bytes;
  void *bytes = fits ? mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
  close(file);
  if (!fits) return fail(error, room, "%s has another size than this program's model.h says; build it with the one in that directory", path);
  if (bytes == MAP_FAILED) return fail(error, room, "%s cannot be mapped into memory", path);
  model->packed = bytes;
  if (memcmp(bytes, library->layout, LAYOUT))
    return fail(error, room, "%s has another layout than this program's model.h says; build it with the one in that directory", path);
  if (!(flags & CONVC_TRUST_WEIGHTS) && is_altered(bytes, size, &found)) {
    fail(error, room, "%s was altered since convc wrote it; compile the network again", path);
    return CONVC_ALTERED;
  }
  for (int i = 0; i < library->count; i++) {
    const convc_weight *weight = &library->weight[i];
    if (borrow(&model->arguments[network->inputs + i], (char *)bytes + weight->offset, weight->type, weight->rank, weight->shape))
      return fail_as_tvm(error, room, path);
  }
  return 0;
}

/* The linker answers a path that it knows with what it loaded from there, which may have been replaced since. So each file gets a spelling
 * of its own, its number in slashes and dots: for a path that is new to it the linker looks whether it has this very file. */
static int spell(char path[PATH], const char *directory, const char *library, char *error, size_t room) {
  struct stat found;
  int at = snprintf(path, PATH, "%s/%s", directory, library);
  if (at >= PATH - 2 * 64) return fail(error, room, "the directory's name is too long");
  if (stat(path, &found)) return fail(error, room, "%s is missing; compile the network again", path);
  uint64_t number = (uint64_t)found.st_ino ^ (uint64_t)found.st_dev << 32;
  for (at = snprintf(path, PATH, "%s", directory); number; number >>= 1)
    at += snprintf(path + at, PATH - (size_t)at, number & 1 ? "/." : "/");
  snprintf(path + at, PATH - (size_t)at, "/%s", library);
  return 0;
}

/* A virtual machine over a library, and its entry point. */
static int load(convc_model *model, int which, const char *directory, const char *library, char *error, size_t room) {
  char path[PATH];
  if (spell(path, directory, library, error, room)) return -1;
  TVMFFIAny module, made, nothing, name = text(path), device[] = {number(kDLCPU), number(0), number(POOLED)};
  if (call("ffi.ModuleLoadFromFile", &name, 1, &module)) return fail_as_tvm(error, room, library);
  int failed = call_of(module.v_obj, "vm_load_executable", NULL, 0, &made);
  forget(&module);
  if (failed) return fail_as_tvm(error, room, library);
  model->vm[which] = made.v_obj;
  failed = call_of(made.v_obj, "vm_initialization", device, 3, &nothing);
  model->main[which] = failed ? NULL : function_of(made.v_obj, "main");
  return model->main[which] ? 0 : fail_as_tvm(error, room, library);
}

int convc_load(const convc_network *network, const char *directory, int threads, int flags, convc_model **opened, char *error, size_t room) {
  *opened = NULL;
  const convc_library *library = library_for(network, error, room);
  if (!library || check_threads(threads, error, room)) return CONVC_FAILED;
  size_t arguments = (size_t)(network->inputs + library->count);
  convc_model *model = calloc(1, sizeof *model);
  if (!model) return fail(error, room, "no memory is left");
  model->network = network;
  model->library = library;
  model->threads = threads;
  atomic_flag_clear(&model->busy);
  model->arguments = calloc(arguments ? arguments : 1, sizeof *model->arguments);
  model->results = calloc((size_t)network->outputs, sizeof *model->results);
  model->aligned = calloc((size_t)network->inputs + 1, sizeof *model->aligned);
  model->room = calloc((size_t)network->inputs + 1, sizeof *model->room);
  int has_room = model->arguments && model->results && model->aligned && model->room;
  int failed = has_room ? map_weights(model, directory, flags, error, room) : fail(error, room, "no memory is left");
  if (!failed) failed = load(model, 0, directory, library->file, error, room);
  if (!failed && library->single) failed = load(model, 1, directory, library->single, error, room);
  if (failed)
    convc_close(model);
  else
    *opened = model;
  return failed;
}

convc_model *convc_open(const convc_network *network, const char *directory, int threads, char *error, size_t room) {
  convc_model *model;
  convc_load(network, directory, threads, 0, &model, error, room);
  return model;
}

void convc_close(convc_model *model) {
  if (!model) return;
  const convc_network *network = model->network;
  for (int i = 0; model->results && i < network->outputs; i++) forget(&model->results[i]);
  for (int i = 0; model->arguments && i < network->inputs + model->library->count; i++) forget(&model->arguments[i]);
  for (int i = 0; i < 2; i++) {
    if (model->main[i]) TVMFFIObjectDecRef(model->main[i]);
    if (model->vm[i]) TVMFFIObjectDecRef(model->vm[i]);
  }
  for (int i = 0; model->aligned && i < network->inputs; i++) free(model->aligned[i]);
  if (model->packed) munmap(model->packed, (size_t)model->library->bytes);
  free(model->arguments);
  free(model->results);
  free(model->aligned);
  free(model->room);
  free(model);
}

/* ---- running ---- */

static int no_memory(convc_model *model) { return fail(model->error, MESSAGE, "no memory is left"); }

static int take_input(convc_model *model, int index, const void *data, int64_t batch) {
  const convc_value *value = &model->network->input[index];
  int64_t shape[CONVC_RANK], bytes = convc_bytes(value, batch);
  if (!data) return fail(model->error, MESSAGE, "input '%s' is NULL", value->name);
  if (bytes < 1) return fail(model->error, MESSAGE, "a batch of %lld does not fit input '%s'", (long long)batch, value->name);
  if ((uintptr_t)data % ALIGNMENT && value->in_place >= 0)
    return fail(model->error, MESSAGE, "input '%s' is written over, so it has to lie at a multiple of %d", value->name, ALIGNMENT);
  if ((uintptr_t)data % ALIGNMENT) {
    if (model->room[index] < bytes) {
      free(model->aligned[index]);
      model->room[index] = 0;
      model->aligned[index] = aligned_alloc(ALIGNMENT, ((size_t)bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
      if (!model->aligned[index]) return no_memory(model);
      model->room[index] = bytes;
    }
    data = memcpy(model->aligned[index], data, (size_t)bytes);
  }
  shape_of(value, batch, shape);
  return borrow(&model->arguments[index], data, value->type, value->rank, shape) ? fail_as_tvm(model->error, MESSAGE, value->name) : 0;
}

static int give_output(convc_model *model, int index, TVMFFIAny all, void *to, int64_t batch) {
  const convc_value *value = &model->network->output[index];
  TVMFFIAny arguments[] = {all, number(index)};
  if (call("ffi.ArrayGetItem", arguments, 2, &model->results[index])) return fail_as_tvm(model->error, MESSAGE, value->name);
  const DLTensor *tensor = tensor_in(&model->results[index]);
  int64_t elements = 1;
  for (int i = 0; tensor && i < tensor->ndim; i++) elements *= tensor->shape[i];
  if (!tensor || elements != convc_elements(value, batch))
    return fail(model->error, MESSAGE, "output '%s' has another size than model.h says; build the program with the one beside model.so", value->name);
  if (to && to != data_of(tensor)) memcpy(to, data_of(tensor), (size_t)bytes_of(value->type, elements));
  return 0;
}

static int run(convc_model *model, const void *const *inputs, void *const *outputs, int64_t batch) {
  const convc_network *network = model->network;
  int one = batch == 1 && model->library->single, failed = 0;
  TVMFFIAny all = {.type_index = kTVMFFINone};
  for (int i = 0; i < network->outputs; i++) forget(&model->results[i]);
  if (use_threads(model->threads, model->error, MESSAGE)) return -1; /* a pool belongs to the calling thread */
  for (int i = 0; i < network->inputs; i++)
    if (take_input(model, i, inputs[i], batch)) return -1;
  if (TVMFFIFunctionCall(model->main[one], model->arguments, network->inputs + model->library->count, &all))
    return fail_as_tvm(model->error, MESSAGE, network->name);
  for (int i = 0; i < network->outputs && !failed; i++) failed = give_output(model, i, all, outputs ? outputs[i] : NULL, batch);
  forget(&all);
  return failed;
}

int convc_run(convc_model *model, const void *const *inputs, void *const *outputs, int64_t batch) {
  if (atomic_flag_test_and_set(&model->busy)) return CONVC_BUSY; /* the error text is the other thread's */
  model->error[0] = 0;
  int failed = run(model, inputs, outputs, batch);
  atomic_flag_clear(&model->busy);
  return failed;
}

const void *convc_output(const convc_model *model, int index) {
  const DLTensor *tensor = index >= 0 && index < model->network->outputs ? tensor_in(&model->results[index]) : NULL;
  return tensor ? data_of(tensor) : NULL;
}

const char *convc_error(const convc_model *model) { return model->error; }

const char *convc_processor(const convc_model *model) { return model->library->processor; }
