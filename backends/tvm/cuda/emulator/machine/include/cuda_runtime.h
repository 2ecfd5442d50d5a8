#pragma once
#include "collectives.h"
#include "math_functions.h"
#include "vector_types.h"
