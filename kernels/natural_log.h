/* natural_log.h - the natural logarithm of a double, with bits that do not depend on the machine.
 *
 * The loss of a row is log(sum) + ..., and each libm rounds `log` in its own way. This one uses additions,
 * multiplications and a division of IEEE 754, so every device gives the same bits. Compile it without contraction of
 * a * b + c. A pure function; any thread.
 *
 * The method is that of fdlibm's e_log.c (Sun Microsystems 1993; Tang, Table-driven implementation of the logarithm
 * function, ACM TOMS 16, 1990): x = 2^k m with sqrt(1/2) <= m < sqrt(2), f = m - 1 and s = f / (2 + f). Then
 *
 *   log(1 + f) = log(1 + s) - log(1 - s) = 2 s + s R(s^2) = f - f^2/2 + s (f^2/2 + R(s^2))
 *
 * where R(z) = 2/3 z + 2/5 z^2 + ... is a polynomial of degree 7. Its coefficients were fitted here (Remez) for the
 * least largest error on 0 <= z <= (3 - 2 sqrt(2))^2, which is 2^-57.9. ln 2 is the sum of two doubles, and k times the
 * first is exact. The error of the whole is below 1 ulp (tests/kernels/test_natural_log.c). */
#ifndef LSTMQ_KERNELS_NATURAL_LOG_H
#define LSTMQ_KERNELS_NATURAL_LOG_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* NaN for NaN and below 0; -infinity for 0. */
static inline double natural_log(double x)
{
    const double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
    const uint64_t root_half = 0x3fe6a09e667f3bcd; /* the bits of sqrt(1/2) */
    int64_t k = 0;
    uint64_t bits;
    if (!(x > 0.0) || x > 0x1.fffffffffffffp+1023)
        return x == 0.0 ? -INFINITY : x > 0.0 ? x : NAN;
    if (x < 0x1p-1022) { /* subnormal */
        x *= 0x1p54;
        k = -54;
    }
    memcpy(&bits, &x, sizeof bits);
    const int64_t exponent = (int64_t)(bits - root_half) >> 52;
    bits -= (uint64_t)exponent << 52;
    k += exponent;
    memcpy(&x, &bits, sizeof x);

    const double f = x - 1.0, s = f / (2.0 + f), z = s * s, w = z * z, half = 0.5 * f * f, n = (double)k;
    const double odd =
        z * (0x1.5555555555592p-1 + w * (0x1.24924941f124fp-2 + w * (0x1.74663ee86e841p-3 + w * 0x1.2f0563862e5fdp-3)));
    const double even = w * (0x1.999999997fdb7p-2 + w * (0x1.c71c52095d16fp-3 + w * 0x1.39a1bab73fcacp-3));
    return n * ln2_high - ((half - (s * (half + (odd + even)) + n * ln2_low)) - f);
}

#endif
