/* What a model server does, in C: loads a SavedModel with the tag "serve" into a plain session, with XLA disabled
   as tensorflow_model_server disables it unless it is told otherwise, and runs requests, one after the other.

   usage: serve FOLDER < requests > answers

   A request:  run TIMES | in OPERATION INDEX DTYPE RANK SIZES... VALUES... | out OPERATION INDEX | end
   in any number of lines; DTYPE is TensorFlow's number, strings are written as hexadecimal bytes after a letter x.
   An answer:  ok MEDIAN_MS, then for each output  tensor DTYPE RANK SIZES... VALUES...
   or:         error CODE MESSAGE
   A request that fails is answered and the next one is run: a server has to go on, too. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tensorflow/c/c_api.h"

/* tensorflow::DisableXlaCompilation(), which has no name in C. */
extern void _ZN10tensorflow21DisableXlaCompilationEv(void);

enum { MOST = 16, WORD = 512 };

typedef struct {
  TF_Output inputs[MOST], outputs[MOST];
  TF_Tensor *given[MOST], *made[MOST];
  int input_count, output_count, times;
} Request;

static void fail(const char *what, const char *why) {
  fprintf(stderr, "serve: %s: %s\n", what, why);
  exit(2);
}

static void word(char *buffer) {
  if (scanf("%511s", buffer) != 1) fail("requests", "ended in the middle");
}

static long long whole(void) {
  long long value;
  if (scanf("%lld", &value) != 1) fail("requests", "expected a whole number");
  return value;
}

static TF_Output operation(TF_Graph *graph) {
  char name[WORD];
  word(name);
  TF_Output output = {TF_GraphOperationByName(graph, name), (int)whole()};
  if (!output.oper) fail("no such operation", name);
  return output;
}

/* One string: the letter x, then two digits a byte, of any length. */
static void read_string(TF_TString *string) {
  size_t size = 0, room = 64;
  char *bytes = malloc(room);
  int high, low;
  while ((high = getchar()) != 'x')
    if (high == EOF) fail("requests", "expected a string");
  while ((high = getchar()) > ' ') {
    char digits[3] = {(char)high, (char)(low = getchar()), 0};
    if (low == EOF) fail("requests", "a string ended in the middle");
    if (size == room) bytes = realloc(bytes, room *= 2);
    bytes[size++] = (char)strtol(digits, NULL, 16);
  }
  TF_StringInit(string);
  TF_StringCopy(string, bytes, size);
  free(bytes);
}

static size_t size_of(TF_DataType type) {
  return type == TF_STRING ? sizeof(TF_TString) : TF_DataTypeSize(type);
}

static TF_Tensor *read_tensor(void) {
  TF_DataType type = (TF_DataType)whole();
  int rank = (int)whole();
  int64_t sizes[MOST], count = 1;
  for (int i = 0; i < rank; i++) count *= sizes[i] = whole();
  TF_Tensor *tensor = TF_AllocateTensor(type, sizes, rank, (size_t)count * size_of(type));
  void *data = TF_TensorData(tensor);
  for (int64_t i = 0; i < count; i++) {
    double value;
    if (type == TF_STRING) {
      read_string((TF_TString *)data + i);
      continue;
    }
    if (scanf("%lf", &value) != 1) fail("requests", "expected a number");
    if (type == TF_FLOAT) ((float *)data)[i] = (float)value;
    else if (type == TF_DOUBLE) ((double *)data)[i] = value;
    else if (type == TF_INT32) ((int32_t *)data)[i] = (int32_t)value;
    else if (type == TF_INT64) ((int64_t *)data)[i] = (int64_t)value;
    else fail("requests", "a dtype this program does not write");
  }
  return tensor;
}

static int read_request(TF_Graph *graph, Request *request) {
  char token[WORD];
  if (scanf("%511s", token) != 1) return 0;
  memset(request, 0, sizeof *request);
  request->times = (int)whole();
  for (word(token); strcmp(token, "end"); word(token)) {
    if (request->input_count == MOST || request->output_count == MOST) fail("requests", "too long");
    if (!strcmp(token, "in")) {
      request->inputs[request->input_count] = operation(graph);
      request->given[request->input_count++] = read_tensor();
    } else {
      request->outputs[request->output_count++] = operation(graph);
    }
  }
  return 1;
}

static void print_string(const TF_TString *string) {
  const unsigned char *bytes = (const unsigned char *)TF_StringGetDataPointer(string);
  printf(" x");
  for (size_t i = 0; i < TF_StringGetSize(string); i++) printf("%02x", bytes[i]);
}

static void print_tensor(const TF_Tensor *tensor) {
  TF_DataType type = TF_TensorType(tensor);
  int rank = TF_NumDims(tensor);
  const void *data = TF_TensorData(tensor);
  printf("tensor %d %d", type, rank);
  for (int i = 0; i < rank; i++) printf(" %lld", (long long)TF_Dim(tensor, i));
  for (int64_t i = 0; i < TF_TensorElementCount(tensor); i++) {
    if (type == TF_STRING) print_string((const TF_TString *)data + i);
    else if (type == TF_FLOAT) printf(" %.9g", ((const float *)data)[i]);
    else if (type == TF_DOUBLE) printf(" %.17g", ((const double *)data)[i]);
    else if (type == TF_INT32) printf(" %d", ((const int32_t *)data)[i]);
    else fail("answer", "a dtype this program does not read");
  }
  printf("\n");
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
  return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

static void answer(TF_Session *session, Request *r, TF_Status *status) {
  double *ms = calloc((size_t)r->times, sizeof *ms);
  for (int i = 0; i < r->times; i++) {
    for (int k = 0; i && k < r->output_count; k++) TF_DeleteTensor(r->made[k]);
    double start = now();
    TF_SessionRun(session, NULL, r->inputs, r->given, r->input_count, r->outputs, r->made, r->output_count, NULL, 0,
                  NULL, status);
    ms[i] = now() - start;
    if (TF_GetCode(status) != TF_OK) {
      printf("error %d ", TF_GetCode(status));
      for (const char *c = TF_Message(status); *c; c++) putchar(*c == '\n' ? ' ' : *c);
      printf("\n");
      free(ms);
      return;
    }
  }
  qsort(ms, (size_t)r->times, sizeof *ms, by_size);
  printf("ok %.4f\n", ms[r->times / 2]);
  free(ms);
  for (int k = 0; k < r->output_count; k++) {
    print_tensor(r->made[k]);
    TF_DeleteTensor(r->made[k]);
  }
}

int main(int count, char **arguments) {
  if (count != 2) fail("usage", "serve FOLDER < requests > answers");
  _ZN10tensorflow21DisableXlaCompilationEv();
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  unsigned char one_thread_each[] = {0x10, 1, 0x28, 1}; /* a ConfigProto: intra-op 1, inter-op 1 */
  TF_SetConfig(options, one_thread_each, sizeof one_thread_each, status);
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, arguments[1], tags, 1, graph, NULL, status);
  if (TF_GetCode(status) != TF_OK) fail("load", TF_Message(status));
  Request request;
  while (read_request(graph, &request)) {
    answer(session, &request, status);
    fflush(stdout);
    for (int i = 0; i < request.input_count; i++) TF_DeleteTensor(request.given[i]);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteSessionOptions(options);
  TF_DeleteStatus(status);
  return 0;
}
