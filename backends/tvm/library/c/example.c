/* Run the network on raw files: example DIRECTORY THREADS BATCH INPUT... OUTPUT...
 *
 * Ends with 0, with 3 where the weights are not those that convc wrote, with 1 where anything else fails.
 *
 * Build:  cc example.c convc.c $(convc doctor --c-flags) -o ../example, outside the artifact, which convc would not replace then
 */
#include "model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const convc_network *const network = &model_NETWORK;

static void stop(int code, const char *what, const char *format, ...) {
  va_list values;
  va_start(values, format);
  fprintf(stderr, "%s: ", what);
  vfprintf(stderr, format, values);
  fputc('\n', stderr);
  exit(code);
}

/* A whole number above 0. */
static long long count_of(const char *what, const char *word, long long most) {
  char *end;
  errno = 0;
  long long count = strtoll(word, &end, 10);
  if (end == word || *end || errno || count < 1 || count > most) stop(1, what, "'%s' is given, expected a whole number from 1", word);
  return count;
}

/* A network of fixed sizes computes those, whatever is asked for: one of its inputs has to have as many on its first axis. */
static void need_batch(long long batch) {
  const convc_value *first = NULL;
  for (int i = network->inputs - 1; i >= 0; i--) {
    const convc_value *input = &network->input[i];
    for (int k = 0; k < input->rank; k++)
      if (input->per_batch[k]) return;
    if (!input->rank) continue;
    if (input->plus[0] == batch) return;
    first = input;
  }
  if (first) stop(1, "batch", "%lld is given, and '%s' was compiled for %lld alone", batch, first->name, (long long)first->plus[0]);
}

/* Memory that is read where it lies: at a multiple of 64. */
static void *room_for(int64_t bytes) {
  void *room = bytes < 1 ? NULL : aligned_alloc(64, ((size_t)bytes + 63) / 64 * 64);
  if (!room) stop(1, "example", "no memory for a value of that batch");
  return room;
}

/* All of a file, which is as large as the input. */
static void *read_file(const char *path, const convc_value *input, long long batch) {
  int64_t bytes = convc_bytes(input, batch);
  void *data = room_for(bytes);
  FILE *file = fopen(path, "rb");
  if (!file) stop(1, path, "cannot be opened: %s", strerror(errno));
  long long size = (long long)fread(data, 1, (size_t)bytes, file);
  if (fgetc(file) != EOF) size = fseek(file, 0, SEEK_END) ? size + 1 : ftell(file);
  if (size != bytes)
    stop(1, path, "%lld bytes, and input '%s' of a batch of %lld has %lld", size, input->name, batch, (long long)bytes);
  fclose(file);
  return data;
}

int main(int count, char **words) {
  int files = network->inputs + network->outputs;
  if (count != 4 + files) stop(1, "usage", "example DIRECTORY THREADS BATCH, a file for each input, a file for each output");
  int threads = (int)count_of("threads", words[2], 1 << 20);
  long long batch = count_of("batch", words[3], INT64_MAX);
  need_batch(batch);
  char error[400];
  convc_model *model;
  int failed = convc_load(network, words[1], threads, 0, &model, error, sizeof error);
  if (failed) stop(failed == CONVC_ALTERED ? 3 : 1, words[1], "%s", error);

  const void **inputs = calloc((size_t)network->inputs + 1, sizeof *inputs);
  for (int i = 0; i < network->inputs; i++) inputs[i] = read_file(words[4 + i], &network->input[i], batch);
  if (convc_run(model, inputs, NULL, batch)) stop(1, network->name, "%s", convc_error(model));
  for (int i = 0; i < network->outputs; i++) {
    int64_t bytes = convc_bytes(&network->output[i], batch);
    FILE *file = fopen(words[4 + network->inputs + i], "wb");
    if (!file || fwrite(convc_output(model, i), 1, (size_t)bytes, file) != (size_t)bytes || fclose(file))
      stop(1, words[4 + network->inputs + i], "cannot be written");
    printf("%s: %lld bytes\n", network->output[i].name, (long long)bytes);
  }
  convc_close(model);
  for (int i = 0; i < network->inputs; i++) free((void *)inputs[i]);
  free(inputs);
  return 0;
}
