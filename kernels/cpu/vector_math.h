/* vector_math.h - exp, tanh and sigmoid of a vector of floats, for the instruction set of the file that includes it.
 *
 * vector_body.h includes it after a vector_ISA.c has defined a `vec`. Largest errors found, in units of the last
 * place: exp 1.0, tanh 1.3, sigmoid 2.4. NaN stays NaN. The polynomials were fitted for the least largest relative
 * error on their intervals. */
#ifndef LSTMQ_KERNELS_CPU_VECTOR_MATH_H
#define LSTMQ_KERNELS_CPU_VECTOR_MATH_H

/* exp for x up to 88.37626: x = n ln 2 + r with |r| <= ln 2 / 2, and e^r = 1 + r + r^2 q(r), with a relative error of
 * 3e-9 (Cody & Waite 1980). Subnormal results are 0. */
static inline vec vector_exp_small(vec x)
{
    const vec least = vec_set(-87.33654f);
    /* ln 2 in two parts: n times the first is exact. */
    const vec ln2_high = vec_set(0.693359375f), ln2_low = vec_set(-2.12194440e-4f);

    const vec n = vec_round(vec_mul(x, vec_set(1.44269504f)));
    const vec r = vec_nfma(n, ln2_low, vec_nfma(n, ln2_high, x));
    vec q = vec_set(1.381459878757596e-3f);
    q = vec_fma(q, r, vec_set(8.368716575205326e-3f));
    q = vec_fma(q, r, vec_set(4.166838899254799e-2f));
    q = vec_fma(q, r, vec_set(0.1666652113199234f));
    q = vec_fma(q, r, vec_set(0.4999999403953552f));
    const vec power = vec_add(vec_fma(q, vec_mul(r, r), r), vec_set(1.0f));

    return vec_select(vec_less(x, least), vec_set(0.0f), vec_scale(power, n));
}

/* exp for any x: infinity above 88.37626, where n would exceed 127. */
static inline vec vector_exp(vec x)
{
    return vec_select(vec_less(vec_set(88.37626f), x), vec_set(INFINITY), vector_exp_small(x));
}

/* tanh: x + x^3 p(x^2) for |x| < 0.625, where p has a relative error of 4e-9; 1 - 2 / (e^2|x| + 1) with the sign of x
 * elsewhere. */
static inline vec vector_tanh(vec x)
{
    const vec one = vec_set(1.0f), two = vec_set(2.0f);
    const vec size = vec_abs(x);
    const vec large = vec_sub(one, vec_div(two, vec_add(vector_exp(vec_add(size, size)), one)));

    const vec square = vec_mul(x, x);
    vec p = vec_set(-5.69738307967782e-3f);
    p = vec_fma(p, square, vec_set(2.063254453241825e-2f));
    p = vec_fma(p, square, vec_set(-5.373779684305191e-2f));
    p = vec_fma(p, square, vec_set(0.13331420719623566f));
    p = vec_fma(p, square, vec_set(-0.3333328068256378f));
    const vec small = vec_fma(p, vec_mul(square, x), x);

    return vec_select(vec_less(size, vec_set(0.625f)), small, vec_sign(large, x));
}

static inline vec vector_sigmoid(vec x)
{
    const vec one = vec_set(1.0f);
    return vec_div(one, vec_add(one, vector_exp(vec_sub(vec_set(0.0f), x))));
}

#endif
