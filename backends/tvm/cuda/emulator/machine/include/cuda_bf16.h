// bfloat16, pairs of it and what converts them.
#pragma once
#include "small_floats.h"
#include "vector_types.h"

using nv_bfloat162 = emu_pair<nv_bfloat16>;
using __nv_bfloat162 = nv_bfloat162;

inline nv_bfloat162 make_bfloat162(nv_bfloat16 x, nv_bfloat16 y) { return {x, y}; }
inline nv_bfloat162 __halves2bfloat162(nv_bfloat16 x, nv_bfloat16 y) { return {x, y}; }
inline nv_bfloat16 __low2bfloat16(nv_bfloat162 a) { return a.x; }
inline nv_bfloat16 __high2bfloat16(nv_bfloat162 a) { return a.y; }
inline nv_bfloat16 __float2bfloat16(float a) { return nv_bfloat16(a); }
inline nv_bfloat16 __float2bfloat16_rn(float a) { return nv_bfloat16(a); }
inline float __bfloat162float(nv_bfloat16 a) { return a; }
inline nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) { return nv_bfloat16::of_bits(bits); }
inline unsigned short __bfloat16_as_ushort(nv_bfloat16 a) { return a.bits; }
inline nv_bfloat162 __floats2bfloat162_rn(float x, float y) { return {nv_bfloat16(x), nv_bfloat16(y)}; }
inline nv_bfloat162 __float22bfloat162_rn(float2 a) { return {nv_bfloat16(a.x), nv_bfloat16(a.y)}; }
inline float2 __bfloat1622float2(nv_bfloat162 a) { return {a.x, a.y}; }
