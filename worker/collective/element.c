/* element.c - plain loops over elements, which the compiler vectorises (CMakeLists.txt asks for it). */
#include "worker/collective/element.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "elements are sent as they are in memory: little-endian"
#endif

/* At any address. */
typedef float float_sent __attribute__((aligned(1), may_alias));
typedef int64_t int64_sent __attribute__((aligned(1), may_alias));
typedef uint16_t bf16_sent __attribute__((aligned(1), may_alias));

size_t element_size(enum collective_element element)
{
    return element == ELEMENT_I64 || element == ELEMENT_I64_F32 ? sizeof(int64_t) : sizeof(float);
}

size_t element_size_sent(enum collective_element element, bool complete)
{
    if (element == ELEMENT_I64_F32 && complete)
        return sizeof(float);
    return element == ELEMENT_F32_BF16 ? sizeof(uint16_t) : element_size(element);
}

/* Only AVX-512 converts vectors between int64 and float. The target is a level, because the name of a processor would
 * exclude its successors. The clone is chosen before ThreadSanitizer is ready, so under it there are no clones. */
#if defined(__x86_64__) && defined(__GNUC__) && __GNUC__ >= 12 && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define WIDE __attribute__((target_clones("arch=x86-64-v4", "default")))
#else
#define WIDE
#endif

static void element_add_f32(float *restrict to, const float_sent *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += from[i];
}

/* Unsigned, so that a sum beyond the range wraps, as collective.h says. */
static void element_add_i64(int64_t *restrict to, const int64_sent *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (int64_t)((uint64_t)to[i] + (uint64_t)from[i]);
}

static float element_widen_one(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t element_round_one(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    uint32_t quiet = (bits >> 16) | 0x40;
    return (uint16_t)((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
}

static void element_add_bf16(float *restrict to, const bf16_sent *restrict from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] += element_widen_one(from[i]);
}

void element_add(enum collective_element element, void *to, const void *from, size_t count)
{
    if (element == ELEMENT_I64 || element == ELEMENT_I64_F32)
        element_add_i64(to, from, count);
    else
        element_add_f32(to, from, count);
}

void element_add_sent(enum collective_element element, void *to, const void *sent, size_t count)
{
    if (element == ELEMENT_F32_BF16)
        element_add_bf16(to, sent, count);
    else
        element_add(element, to, sent, count);
}

WIDE static void element_scale_sent(float *restrict to, const int64_t *restrict sum, const int64_sent *restrict sent,
                                    float scale, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)(int64_t)((uint64_t)sum[i] + (uint64_t)sent[i]) * scale;
}

WIDE static void element_scale_own(float *restrict to, const int64_t *restrict sum, float scale, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)sum[i] * scale;
}

void element_scale(float *floats, const int64_t *sum, const void *sent, float scale, size_t count)
{
    if (sent != NULL)
        element_scale_sent(floats, sum, sent, scale, count);
    else
        element_scale_own(floats, sum, scale, count);
}

void element_round(void *to, const float *from, size_t count)
{
    uint16_t *halves = to;
    for (size_t i = 0; i < count; i++)
        halves[i] = element_round_one(from[i]);
}

void element_widen(float *to, const void *sent, size_t count)
{
    const bf16_sent *halves = sent;
    for (size_t i = 0; i < count; i++)
        to[i] = element_widen_one(halves[i]);
}
