/* A network that convc compiled, from C: the artifact's directory and TVM's two runtime libraries are all that it takes.
 *
 *     #include "model.h"
 *     convc_model *model = convc_open(&model_lenet5, "build/lenet5", 2, error, sizeof error);
 *     convc_run(model, inputs, outputs, 1);
 *     convc_close(model);
 *
 * Build with convc.c:  cc program.c convc.c $(convc doctor --c-flags)
 */
#ifndef CONVC_H
#define CONVC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { CONVC_RANK = 8 }; /* most axes of a value */

/* Halves are 16 bits as they lie: IEEE's CONVC_F16, and CONVC_BF16, the upper half of a float. */
typedef enum {
  CONVC_F16,
  CONVC_BF16,
  CONVC_F32,
  CONVC_F64,
  CONVC_I8,
  CONVC_U8,
  CONVC_I16,
  CONVC_U16,
  CONVC_I32,
  CONVC_U32,
  CONVC_I64,
  CONVC_U64,
  CONVC_BOOL
} convc_type;

/* An input or output, in C order. Axis i has per_batch[i] * batch + plus[i] elements. `in_place`: of an input, the index of the output that
 * is written over it; of an output, that of the input in whose memory it lies; -1 for none.
 */
typedef struct {
  const char *name;
  convc_type type;
  int rank;
  int64_t per_batch[CONVC_RANK], plus[CONVC_RANK];
  int in_place;
} convc_value;

/* What a kernel reads besides, packed for it: `offset` bytes into weights.packed. */
typedef struct {
  convc_type type;
  int rank;
  int64_t shape[CONVC_RANK], offset;
} convc_weight;

/* A library in `file`, one for a batch of one in `single` or NULL, and the file of the weights that both read. `needs`, which ends with NULL,
 * are the instruction sets that it uses; where a network has several libraries it is that for `processor`, else that is "".
 */
typedef struct {
  const char *processor, *file, *single, *weights, *layout;
  const char *const *needs;
  const convc_weight *weight;
  int count;
  int64_t bytes;
} convc_library;

/* What model.h says of one network. Of its libraries, the best of which come first, the first is loaded that the processor has the instructions
 * for, or the one that the environment's CONVC_CPU names.
 */
typedef struct {
  const char *name;
  const convc_library *library;
  const convc_value *input, *output;
  int libraries, inputs, outputs;
} convc_network;

/* A loaded network, for one thread at a time. Open one in each thread: they share the code and, as mapped pages, the weights. */
typedef struct convc_model convc_model;

/* Why nothing is computed. Altered weights are those of another digest than the one at their end, which convc wrote. */
enum { CONVC_FAILED = -1, CONVC_BUSY = -2, CONVC_ALTERED = -3 };

/* `flags` of `convc_load`. The digest of weights is taken once for a file and a program, at about a GB a second; trusted ones are not read. */
enum { CONVC_TRUST_WEIGHTS = 1 };

/* Open the artifact in `directory`. 0 and `*model`; or CONVC_FAILED or CONVC_ALTERED, NULL, and a sentence that says why in `error` (`room`
 * bytes, or NULL and 0). */
int convc_load(const convc_network *network, const char *directory, int threads, int flags, convc_model **model, char *error, size_t room);

/* The same without flags. NULL if that fails, and a sentence that says why in `error` (`room` bytes, or NULL and 0).
 *
 * The first call in a program sets TVM_NUM_THREADS and TVM_BIND_THREADS, where they are not set: let it return before other threads use the
 * environment.
 */
convc_model *convc_open(const convc_network *network, const char *directory, int threads, char *error, size_t room);

/* Compute. 0 is success; CONVC_BUSY: another thread is running this model; otherwise `convc_error` says what is wrong.
 *
 * Inputs at addresses that are multiples of 64 are read where they lie, others are copied first. Results are written to `outputs`, each of
 * `convc_bytes(&network.output[i], batch)`; with `outputs` NULL, or one of them, `convc_output` tells where it is, without a copy.
 * An input that is written over (`in_place`) must lie at a multiple of 64, in memory of its own, and is the output afterwards.
 * `batch` is the number that the network's named size stands for; where it has none it is not looked at.
 */
int convc_run(convc_model *model, const void *const *inputs, void *const *outputs, int64_t batch);

/* Output `index` of the last run, until the next run or `convc_close`; an output that is an input is that input. NULL if there is none. */
const void *convc_output(const convc_model *model, int index);

/* Why the last `convc_run` failed; an empty text if it did not. */
const char *convc_error(const convc_model *model);

/* The processor whose library was loaded; "" where the network has one library. */
const char *convc_processor(const convc_model *model);

/* Elements and bytes of an input or output; -1 where they cannot be counted. */
int64_t convc_elements(const convc_value *value, int64_t batch);
int64_t convc_bytes(const convc_value *value, int64_t batch);

/* Free everything; NULL is allowed. */
void convc_close(convc_model *model);

#ifdef __cplusplus
}
#endif
#endif
