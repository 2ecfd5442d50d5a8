// float4 and the like: aligned as on the device.
#pragma once
#include "machine.h"

#define EMU_VECTORS(type, name)                                                                  \
  struct alignas(sizeof(type)) name##1 { type x; };                                              \
  struct alignas(sizeof(type) * 2) name##2 { type x, y; };                                       \
  struct name##3 { type x, y, z; };                                                              \
  struct alignas(sizeof(type) * 4 > 16 ? 16 : sizeof(type) * 4) name##4 { type x, y, z, w; };    \
  inline name##1 make_##name##1(type x) { return {x}; }                                          \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                               \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                    \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

EMU_VECTORS(signed char, char)
EMU_VECTORS(unsigned char, uchar)
EMU_VECTORS(short, short)
EMU_VECTORS(unsigned short, ushort)
EMU_VECTORS(int, int)
EMU_VECTORS(unsigned, uint)
EMU_VECTORS(long, long)
EMU_VECTORS(unsigned long, ulong)
EMU_VECTORS(long long, longlong)
EMU_VECTORS(unsigned long long, ulonglong)
EMU_VECTORS(float, float)
EMU_VECTORS(double, double)
#undef EMU_VECTORS
