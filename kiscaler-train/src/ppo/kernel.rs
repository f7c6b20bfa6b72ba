//! Products of small matrices, in vector registers.
//!
//! The learner's matrices are tens to hundreds wide: what a general matrix product spends on packing, threads and
//! allocation is more than the product. Here rows are padded to whole vectors once, so that no loop has a remainder,
//! and four rows by up to four vectors stay in registers. Sums run over the inner dimension in order, so a row of a
//! result does not depend on which rows are computed with it.

use pulp::Simd;

/// Rows of floats are padded to multiples of this: whole vectors on every processor.
pub const ALIGN: usize = 16;
/// Rows that are computed together.
pub const ROWS: usize = 4;

/// `count` floats, padded to whole vectors.
pub fn padded(count: usize) -> usize {
    count.next_multiple_of(ALIGN)
}

/// What happens to a result before it is stored.
pub const PLAIN: u8 = 0;
/// Its hyperbolic tangent is stored.
pub const TANH: u8 = 1;
/// It is multiplied with 1 − h², the slope of the tangent whose value is h.
pub const SLOPE: u8 = 2;

/// C [m, n] = A [m, k] · B [k, n] + bias [n]. All matrices stand row after row; with the transposed form, A stands as
/// [k, m]. `m` is rounded up to [`ROWS`] and `n` to [`ALIGN`]: what is there must be readable, and writable in C.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// What is summed over.
    pub k: usize,
    /// The left matrix.
    pub a: &'a [f32],
    /// Floats from a row of it to the next.
    pub a_stride: usize,
    /// The right matrix.
    pub b: &'a [f32],
    /// Floats from a row of it to the next.
    pub b_stride: usize,
    /// Added to every row of the result.
    pub bias: &'a [f32],
    /// Values of the tangent, laid out as the result; only for [`SLOPE`].
    pub h: &'a [f32],
    /// Floats from a row of the result to the next.
    pub c_stride: usize,
}

/// Computes a [`Product`] into `c`.
#[inline(always)]
pub fn multiply<S: Simd, const TRANSPOSED: bool, const FINISH: u8>(simd: S, product: &Product<'_>, c: &mut [f32]) {
    let n = padded(product.n);
    let mut column = 0;
    while column < n {
        let left = (n - column) / S::F32_LANES;
        // 16 accumulators where there are 32 registers (AVX-512, NEON), 8 where there are 16 (AVX2).
        let vectors = if left >= 4 && S::F32_LANES != 8 {
            columns::<S, TRANSPOSED, FINISH, 4>(simd, product, column, c)
        } else if left >= 2 {
            columns::<S, TRANSPOSED, FINISH, 2>(simd, product, column, c)
        } else {
            columns::<S, TRANSPOSED, FINISH, 1>(simd, product, column, c)
        };
        column += vectors * S::F32_LANES;
    }
}

#[inline(always)]
fn columns<S: Simd, const TRANSPOSED: bool, const FINISH: u8, const VECTORS: usize>(
    simd: S,
    product: &Product<'_>,
    column: usize,
    c: &mut [f32],
) -> usize {
    let &Product { m, k, a, a_stride, b, b_stride, bias, h, c_stride, .. } = product;
    let width = VECTORS * S::F32_LANES;
    let b = &b[column..];
    let bias = load::<S, VECTORS>(simd, &bias[column..column + width]);
    for row in (0..m).step_by(ROWS) {
        let sums = if TRANSPOSED {
            let a = a.chunks(a_stride).take(k).map(|line| match line[row..row + ROWS] {
                [a0, a1, a2, a3] => [a0, a1, a2, a3],
                _ => [0.0; ROWS],
            });
            tile::<S, VECTORS>(simd, a, b, b_stride, bias)
        } else {
            let line = |index: usize| a[(row + index) * a_stride..][..k].iter();
            let a = line(0).zip(line(1)).zip(line(2)).zip(line(3));
            let a = a.map(|(((&a0, &a1), &a2), &a3)| [a0, a1, a2, a3]);
            tile::<S, VECTORS>(simd, a, b, b_stride, bias)
        };
        for (index, sums) in sums.into_iter().enumerate() {
            let start = (row + index) * c_stride + column;
            let (out, _) = S::as_mut_simd_f32s(&mut c[start..start + width]);
            let slopes = if FINISH == SLOPE { load::<S, VECTORS>(simd, &h[start..start + width]) } else { sums };
            for ((out, sum), h) in out.iter_mut().zip(sums).zip(slopes) {
                *out = match FINISH {
                    TANH => tanh(simd, sum),
                    SLOPE => simd.negate_mul_add_e_f32s(simd.mul_f32s(sum, h), h, sum),
                    _ => sum,
                };
            }
        }
    }
    VECTORS
}

#[inline(always)]
fn load<S: Simd, const VECTORS: usize>(simd: S, from: &[f32]) -> [S::f32s; VECTORS] {
    let (from, _) = S::as_simd_f32s(from);
    let mut vectors = [simd.splat_f32s(0.0); VECTORS];
    vectors.iter_mut().zip(from).for_each(|(vector, &from)| *vector = from);
    vectors
}

#[inline(always)]
fn tile<S: Simd, const VECTORS: usize>(
    simd: S,
    a: impl Iterator<Item = [f32; ROWS]>,
    b: &[f32],
    b_stride: usize,
    bias: [S::f32s; VECTORS],
) -> [[S::f32s; VECTORS]; ROWS] {
    let mut sums = [bias; ROWS];
    for (a, b) in a.zip(b.chunks(b_stride)) {
        let b = load::<S, VECTORS>(simd, &b[..VECTORS * S::F32_LANES]);
        for (sums, a) in sums.iter_mut().zip(a) {
            let a = simd.splat_f32s(a);
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = simd.mul_add_e_f32s(a, b, *sum);
            }
        }
    }
    sums
}

/// [`crate::network::tanh`] of a vector.
#[inline(always)]
fn tanh<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    use crate::network::{TANH_DENOMINATOR, TANH_LIMIT, TANH_NUMERATOR};
    // The order of arguments keeps a NaN: x86 gives the second one where either is none.
    let x = simd.max_f32s(simd.splat_f32s(-TANH_LIMIT), simd.min_f32s(simd.splat_f32s(TANH_LIMIT), x));
    let square = simd.mul_f32s(x, x);
    let mut numerator = simd.splat_f32s(TANH_NUMERATOR[0]);
    for coefficient in &TANH_NUMERATOR[1..] {
        numerator = simd.mul_add_e_f32s(numerator, square, simd.splat_f32s(*coefficient));
    }
    let mut denominator = simd.splat_f32s(TANH_DENOMINATOR[0]);
    for coefficient in &TANH_DENOMINATOR[1..] {
        denominator = simd.mul_add_e_f32s(denominator, square, simd.splat_f32s(*coefficient));
    }
    simd.div_f32s(simd.mul_f32s(numerator, x), denominator)
}

/// Sums of the first `m` rows of `a`: out [n].
#[inline(always)]
pub fn column_sums<S: Simd>(simd: S, a: &[f32], stride: usize, m: usize, out: &mut [f32]) {
    let (out, _) = S::as_mut_simd_f32s(out);
    out.fill(simd.splat_f32s(0.0));
    for row in a.chunks(stride).take(m) {
        let (row, _) = S::as_simd_f32s(row);
        out.iter_mut().zip(row).for_each(|(sum, &value)| *sum = simd.add_f32s(*sum, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct Run<'a, const TRANSPOSED: bool, const FINISH: u8>(Product<'a>, &'a mut [f32]);

    impl<const TRANSPOSED: bool, const FINISH: u8> WithSimd for Run<'_, TRANSPOSED, FINISH> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            multiply::<S, TRANSPOSED, FINISH>(simd, &self.0, self.1);
        }
    }

    fn numbers(count: usize, phase: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.61 + phase).sin()).collect()
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for (m, n, k) in [(4, 16, 1), (8, 64, 64), (3, 2, 5), (64, 48, 7), (12, 80, 33), (20, 128, 96)] {
            let rows = usize::next_multiple_of(m, ROWS);
            let wide = padded(n);
            let b = numbers(k * wide, 0.3);
            let bias = numbers(wide, 0.9);
            let h = numbers(rows * wide, 0.5);
            let check = |finish: u8, transposed: bool, a: &[f32], a_stride: usize, c: &[f32]| {
                for row in 0..m {
                    for column in 0..n {
                        let left = |i: usize| if transposed { a[i * a_stride + row] } else { a[row * a_stride + i] };
                        let sum: f64 = (0..k).map(|i| f64::from(left(i)) * f64::from(b[i * wide + column])).sum();
                        let sum = sum + f64::from(bias[column]);
                        let slope = f64::from(h[row * wide + column]);
                        let expected = match finish {
                            TANH => sum.tanh(),
                            SLOPE => sum * (1.0 - slope * slope),
                            _ => sum,
                        };
                        let found = f64::from(c[row * wide + column]);
                        assert!((found - expected).abs() < 2e-5, "{m} {n} {k} {finish} {transposed}: {found}");
                    }
                }
            };
            let mut c = vec![f32::NAN; rows * wide];
            let a = numbers(rows * k, 0.1);
            let product =
                Product { m, n, k, a: &a, a_stride: k, b: &b, b_stride: wide, bias: &bias, h: &h, c_stride: wide };
            Arch::new().dispatch(Run::<false, PLAIN>(product, &mut c));
            check(PLAIN, false, &a, k, &c);
            Arch::new().dispatch(Run::<false, TANH>(product, &mut c));
            check(TANH, false, &a, k, &c);
            Arch::new().dispatch(Run::<false, SLOPE>(product, &mut c));
            check(SLOPE, false, &a, k, &c);
            let a = numbers(k * (rows + 4), 0.1);
            let product = Product { a: &a, a_stride: rows + 4, ..product };
            Arch::new().dispatch(Run::<true, PLAIN>(product, &mut c));
            check(PLAIN, true, &a, rows + 4, &c);
        }
    }

    #[test]
    fn a_nan_is_not_swallowed() {
        let (a, b, bias) = (vec![f32::NAN; 4], vec![1.0; 16], vec![0.0; 16]);
        let mut c = vec![0.0; 64];
        let product =
            Product { m: 4, n: 16, k: 1, a: &a, a_stride: 1, b: &b, b_stride: 16, bias: &bias, h: &[], c_stride: 16 };
        Arch::new().dispatch(Run::<false, TANH>(product, &mut c));
        assert!(c.iter().all(|value| value.is_nan()));
    }
}
