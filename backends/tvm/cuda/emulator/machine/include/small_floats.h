// Numbers of 16 bits. Each operation is one in float, whose 24 digits make the second rounding harmless, rounded to the nearest.
#pragma once
#include "machine.h"

template <class To, class From>
inline To emu_bits(From value) {
  static_assert(sizeof(To) == sizeof(From), "bits are as many as there are");
  To bits;
  __builtin_memcpy(&bits, &value, sizeof bits);
  return bits;
}

struct emu_half_format {
  static float wide(uint16_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31, digits = bits & 1023;
    if (exponent == 31) return emu_bits<float>(sign | 0x7f800000u | digits << 13);
    if (exponent) return emu_bits<float>(sign | (exponent + 112) << 23 | digits << 13);
    float small = (float)digits * 0x1p-24f;
    return sign ? -small : small;
  }
  static uint16_t narrow(float value) {
    uint32_t bits = emu_bits<uint32_t>(value), sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size > 0x7f800000) return (uint16_t)(sign | 0x7fff);  // what the device makes of every NaN
    if (size >= 0x477ff000) return (uint16_t)(sign | 0x7c00);  // 65520 and more
    if (size < 0x38800000) {  // below the least normal number the sum with a half drops the digits that are too small, rounding
      float shifted = emu_bits<float>(size) + 0.5f;
      return (uint16_t)(sign | (emu_bits<uint32_t>(shifted) - 0x3f000000));
    }
    uint32_t even = size >> 13 & 1;
    return (uint16_t)(sign | (size - (112u << 23) + 0xfff + even) >> 13);
  }
};

struct emu_bfloat_format {
  static float wide(uint16_t bits) { return emu_bits<float>((uint32_t)bits << 16); }
  static uint16_t narrow(float value) {
    uint32_t bits = emu_bits<uint32_t>(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

inline float emu_wide(uint32_t bits, int type) {
  return type == EMU_F16 ? emu_half_format::wide((uint16_t)bits) : emu_bfloat_format::wide((uint16_t)bits);
}

template <class Format>
struct emu_small {
  uint16_t bits;
  emu_small() = default;
  template <class Number, class = std::enable_if_t<std::is_arithmetic<Number>::value>>
  emu_small(Number value) : bits(Format::narrow((float)value)) {}
  operator float() const { return Format::wide(bits); }
  static emu_small of_bits(uint16_t bits) {
    emu_small small;
    small.bits = bits;
    return small;
  }
  emu_small& operator+=(emu_small other) { return *this = emu_small((float)*this + (float)other); }
  emu_small& operator-=(emu_small other) { return *this = emu_small((float)*this - (float)other); }
  emu_small& operator*=(emu_small other) { return *this = emu_small((float)*this * (float)other); }
  emu_small& operator/=(emu_small other) { return *this = emu_small((float)*this / (float)other); }
};

using half = emu_small<emu_half_format>;
using __half = half;
using nv_bfloat16 = emu_small<emu_bfloat_format>;
using __nv_bfloat16 = nv_bfloat16;

#define EMU_OPERATORS(type)                                                         \
  inline type operator+(type a, type b) { return type((float)a + (float)b); }       \
  inline type operator-(type a, type b) { return type((float)a - (float)b); }       \
  inline type operator*(type a, type b) { return type((float)a * (float)b); }       \
  inline type operator/(type a, type b) { return type((float)a / (float)b); }       \
  inline type operator-(type a) { return type::of_bits(a.bits ^ 0x8000); }          \
  inline bool operator<(type a, type b) { return (float)a < (float)b; }             \
  inline bool operator>(type a, type b) { return (float)a > (float)b; }             \
  inline bool operator<=(type a, type b) { return (float)a <= (float)b; }           \
  inline bool operator>=(type a, type b) { return (float)a >= (float)b; }           \
  inline bool operator==(type a, type b) { return (float)a == (float)b; }           \
  inline bool operator!=(type a, type b) { return (float)a != (float)b; }           \
  inline type __hadd(type a, type b) { return a + b; }                              \
  inline type __hsub(type a, type b) { return a - b; }                              \
  inline type __hmul(type a, type b) { return a * b; }                              \
  inline type __hdiv(type a, type b) { return a / b; }                              \
  inline type __hneg(type a) { return -a; }                                         \
  inline type __hfma(type a, type b, type c) { return type((double)a * (double)b + (double)c); } \
  inline bool __hlt(type a, type b) { return a < b; }                               \
  inline bool __hgt(type a, type b) { return a > b; }                               \
  inline bool __hle(type a, type b) { return a <= b; }                              \
  inline bool __hge(type a, type b) { return a >= b; }                              \
  inline bool __heq(type a, type b) { return a == b; }                              \
  inline bool __hne(type a, type b) { return a != b; }                              \
  inline bool __hisnan(type a) { return std::isnan((float)a); }                     \
  inline type __hmax(type a, type b) { return type(fmaxf((float)a, (float)b)); }    \
  inline type __hmin(type a, type b) { return type(fminf((float)a, (float)b)); }    \
  inline type __habs(type a) { return type::of_bits(a.bits & 0x7fff); }             \
  inline type hfloor(type a) { return type(floorf(a)); }                            \
  inline type hceil(type a) { return type(ceilf(a)); }                              \
  inline type hrint(type a) { return type(rintf(a)); }                              \
  inline type htrunc(type a) { return type(truncf(a)); }                            \
  inline type hexp(type a) { return type(expf(a)); }                                \
  inline type hexp2(type a) { return type(exp2f(a)); }                              \
  inline type hlog(type a) { return type(logf(a)); }                                \
  inline type hlog2(type a) { return type(log2f(a)); }                              \
  inline type hsqrt(type a) { return type(sqrtf(a)); }                              \
  inline type hrsqrt(type a) { return type(1.0f / sqrtf(a)); }                      \
  inline type hsin(type a) { return type(sinf(a)); }                                \
  inline type hcos(type a) { return type(cosf(a)); }                                \
  inline type htanh(type a) { return type(tanhf(a)); }

EMU_OPERATORS(half)
EMU_OPERATORS(nv_bfloat16)
#undef EMU_OPERATORS

template <class T>
struct alignas(4) emu_pair {  // half2, nv_bfloat162
  T x, y;
  emu_pair() = default;
  emu_pair(T x, T y) : x(x), y(y) {}
};
template <class T> inline emu_pair<T> __hadd2(emu_pair<T> a, emu_pair<T> b) { return {a.x + b.x, a.y + b.y}; }
template <class T> inline emu_pair<T> __hsub2(emu_pair<T> a, emu_pair<T> b) { return {a.x - b.x, a.y - b.y}; }
template <class T> inline emu_pair<T> __hmul2(emu_pair<T> a, emu_pair<T> b) { return {a.x * b.x, a.y * b.y}; }
template <class T> inline emu_pair<T> __hfma2(emu_pair<T> a, emu_pair<T> b, emu_pair<T> c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }
template <class T> inline emu_pair<T> __hmax2(emu_pair<T> a, emu_pair<T> b) { return {__hmax(a.x, b.x), __hmax(a.y, b.y)}; }
template <class T> inline emu_pair<T> __hmin2(emu_pair<T> a, emu_pair<T> b) { return {__hmin(a.x, b.x), __hmin(a.y, b.y)}; }
