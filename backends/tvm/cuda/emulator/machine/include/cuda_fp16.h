// half, half2 and what converts them.
#pragma once
#include "small_floats.h"
#include "vector_types.h"

using half2 = emu_pair<half>;
using __half2 = half2;

inline half2 make_half2(half x, half y) { return {x, y}; }
inline half2 __halves2half2(half x, half y) { return {x, y}; }
inline half __low2half(half2 a) { return a.x; }
inline half __high2half(half2 a) { return a.y; }
inline half __float2half(float a) { return half(a); }
inline half __float2half_rn(float a) { return half(a); }
inline half __double2half(double a) { return half(a); }
inline float __half2float(half a) { return a; }
inline half __ushort_as_half(unsigned short bits) { return half::of_bits(bits); }
inline unsigned short __half_as_ushort(half a) { return a.bits; }
inline short __half_as_short(half a) { return (short)a.bits; }
inline half2 __float2half2_rn(float a) { return {half(a), half(a)}; }
inline half2 __floats2half2_rn(float x, float y) { return {half(x), half(y)}; }
inline half2 __float22half2_rn(float2 a) { return {half(a.x), half(a.y)}; }
inline float2 __half22float2(half2 a) { return {a.x, a.y}; }
