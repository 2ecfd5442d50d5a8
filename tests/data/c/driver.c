/* What the tests do with convc.h besides the example: driver WHAT DIRECTORY THREADS. The network is f32[N,5] -> f32[N,5], the input itself. */
#define _GNU_SOURCE
#include "model.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 200, MOST = 4, VALUES = 5 };

static const char *directory;
static char error[400];

static convc_model *opened(int threads) {
  convc_model *model = convc_open(&NETWORK, directory, threads, error, sizeof error);
  if (!model) {
    printf("%s\n", error);
    exit(3);
  }
  return model;
}

/* Each thread opens, runs many batches of its own values, and must get its own results. */
static void *work(void *which) {
  int me = *(int *)which, wrong = 0;
  convc_model *model = opened(1);
  for (int round = 0; round < ROUNDS; round++) {
    int64_t batch = 1 + (round + me) % 3;
    float x[3 * VALUES], y[3 * VALUES], same[3 * VALUES];
    for (int i = 0; i < batch * VALUES; i++) x[i] = (float)(i + 100 * me + round) - 150;
    if (convc_run(model, (const void *[]){x}, (void *[]){y, same}, batch)) return "failed";
    for (int i = 0; i < batch * VALUES; i++) wrong += y[i] != (x[i] > 0 ? x[i] : 0) || same[i] != x[i];
  }
  convc_close(model);
  return wrong ? "wrong" : NULL;
}

static int many(void) {
  pthread_t threads[MOST];
  int names[MOST];
  void *found;
  for (int i = 0; i < MOST; i++) names[i] = i, pthread_create(&threads[i], NULL, work, &names[i]);
  for (int i = 0; i < MOST; i++) {
    pthread_join(threads[i], &found);
    printf("%s\n", found ? (char *)found : "right");
  }
  return 0;
}

/* Whether inputs and outputs are used where they lie. */
static int addresses(int threads) {
  convc_model *model = opened(threads);
  char *room = aligned_alloc(64, 128);
  memset(room, 0, 128);
  convc_run(model, (const void *[]){room}, NULL, 1);
  printf("aligned %s\n", convc_output(model, 1) == room ? "shared" : "copied");
  convc_run(model, (const void *[]){room + 4}, NULL, 1);
  printf("unaligned %s\n", convc_output(model, 1) == room + 4 ? "shared" : "copied");
  printf("beyond %s\n", convc_output(model, 2) || convc_output(model, -1) ? "something" : "nothing");
  convc_close(model);
  free(room);
  return 0;
}

static void complain(convc_model *model, const void *input, int64_t batch) {
  int code = convc_run(model, (const void *[]){input}, NULL, batch);
  printf("%d %s\n", code, convc_error(model));
}

static int refusals(int threads) {
  convc_model *model = opened(threads);
  float x[VALUES] = {1, 2, 3, 4, 5};
  complain(model, NULL, 1);
  complain(model, x, 0);
  complain(model, x, -3);
  complain(model, x, INT64_MAX / 2);
  complain(model, x, 1); /* it still works */
  convc_close(model);
  convc_close(NULL);
  return 0;
}

static void print_result(convc_model *model, const char *name) {
  float x[VALUES] = {-1, 2};
  if (convc_run(model, (const void *[]){x}, NULL, 1)) printf("%s %s\n", name, convc_error(model));
  const float *y = convc_output(model, 0);
  printf("%s %g %g\n", name, y[0], y[1]);
}

/* Another artifact, at DIRECTORY.new, takes the place of one that is open. */
static int replaced(int threads) {
  char before[4096], after[4096];
  snprintf(before, sizeof before, "%s.old", directory);
  snprintf(after, sizeof after, "%s.new", directory);
  convc_model *old = opened(threads), *again = opened(threads);
  if (rename(directory, before) || rename(after, directory)) return 1;
  convc_model *new = opened(threads);
  print_result(old, "old");
  print_result(new, "new");
  convc_close(old);
  print_result(again, "old");
  convc_close(again);
  convc_close(new);
  return 0;
}

/* Where this thread may run once TVM has computed with it. */
static int processors(int threads) {
  convc_model *model = opened(threads);
  print_result(model, "ran");
  cpu_set_t set;
  sched_getaffinity(0, sizeof set, &set);
  for (int i = 0; i < CPU_SETSIZE; i++)
    if (CPU_ISSET(i, &set)) printf("%d\n", i);
  convc_close(model);
  return 0;
}

/* What opening comes to, with a look at the weights, again, when what was found may be remembered, and without one. */
static int load(int threads) {
  for (int i = 0; i < 3; i++) {
    int flags = i < 2 ? 0 : CONVC_TRUST_WEIGHTS;
    convc_model *model;
    int code = convc_load(&NETWORK, directory, threads, flags, &model, error, sizeof error);
    printf("%d %s\n", code, model ? "opened" : error);
    convc_close(model);
  }
  return 0;
}

int main(int count, char **words) {
  if (count != 4) return 2;
  int threads = atoi(words[3]);
  directory = words[2];
  if (!strcmp(words[1], "many")) return many();
  if (!strcmp(words[1], "addresses")) return addresses(threads);
  if (!strcmp(words[1], "refusals")) return refusals(threads);
  if (!strcmp(words[1], "replaced")) return replaced(threads);
  if (!strcmp(words[1], "load")) return load(threads);
  if (!strcmp(words[1], "processors")) return processors(threads);
  convc_close(opened(threads));
  return 0;
}
