/* Run the network on raw files: example DIRECTORY THREADS BATCH INPUT... OUTPUT...
 *
 * Ends with 0, with 3 where the weights are not those that convc wrote, with 1 where anything else fails.
 *
 * Build:  cc example.c convc.c $(convc doctor --c-flags) -o ../example, outside the artifact, which convc would not replace then
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>

static const convc_network *const network = &model_NETWORK;

static void stop_with(int code, const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(code);
}

static void stop(const char *what, const char *why) { stop_with(1, what, why); }

/* Memory that is read where it lies: at a multiple of 64. */
static void *room_for(int64_t bytes) {
  void *room = bytes < 1 ? NULL : aligned_alloc(64, ((size_t)bytes + 63) / 64 * 64);
  if (!room) stop("example", "no memory for a value of that batch");
  return room;
}

int main(int count, char **words) {
  int files = network->inputs + network->outputs;
  if (count != 4 + files) stop("usage", "example DIRECTORY THREADS BATCH, a file for each input, a file for each output");
  long long batch = atoll(words[3]);
  char error[400];
  convc_model *model;
  int failed = convc_load(network, words[1], atoi(words[2]), 0, &model, error, sizeof error);
  if (failed) stop_with(failed == CONVC_ALTERED ? 3 : 1, words[1], error);

  const void **inputs = calloc((size_t)network->inputs + 1, sizeof *inputs);
  for (int i = 0; i < network->inputs; i++) {
    int64_t bytes = convc_bytes(&network->input[i], batch);
    void *data = room_for(bytes);
    FILE *file = fopen(words[4 + i], "rb");
    if (!file || fread(data, 1, (size_t)bytes, file) != (size_t)bytes || fgetc(file) != EOF) stop(words[4 + i], "not as large as the input");
    fclose(file);
    inputs[i] = data;
  }
  if (convc_run(model, inputs, NULL, batch)) stop(network->name, convc_error(model));
  for (int i = 0; i < network->outputs; i++) {
    int64_t bytes = convc_bytes(&network->output[i], batch);
    FILE *file = fopen(words[4 + network->inputs + i], "wb");
    if (!file || fwrite(convc_output(model, i), 1, (size_t)bytes, file) != (size_t)bytes || fclose(file))
      stop(words[4 + network->inputs + i], "cannot be written");
    printf("%s: %lld bytes\n", network->output[i].name, (long long)bytes);
  }
  convc_close(model);
  for (int i = 0; i < network->inputs; i++) free((void *)inputs[i]);
  free(inputs);
  return 0;
}
