#pragma once
#include "collectives.h"
#include "math_functions.h"
#include "vector_types.h"

#ifdef EMU_TRAFFIC
#include "rounds.h"
#define for(...)                   \
  if (emu_rounds emu_loop; false) { \
  } else                           \
    for (__VA_ARGS__)              \
      if (!emu_loop.goes_on()) {   \
      } else
#endif
