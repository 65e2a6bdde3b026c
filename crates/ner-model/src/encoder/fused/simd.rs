//! The vectors of a CPU: the few instructions that the compiler does not make of plain loops.

use crate::device::cpu::Cpu;

/// The instructions that products need.
///
/// # Safety
/// Callers of all methods make sure that the CPU has the instructions, and that pointers reach as far as the method says.
pub(super) trait Simd: Copy {
    /// fp32 numbers.
    type Floats: Copy;
    /// Sums of 32 bits.
    type Sums: Copy;
    /// Numbers in a vector.
    const LANES: usize;
    /// Most rows of a tile in a product of fp32 numbers: as many as there are registers for.
    const ROWS: usize;
    /// The same in a product of int8 numbers.
    const BYTE_ROWS: usize;
    /// Greatest quantised activation. Without VNNI, the sum of two products must fit 16 bits.
    const LEVELS: f32;
    /// Whether a product and a sum are one instruction.
    const FUSED: bool;

    /// Copies of one number.
    unsafe fn floats(number: f32) -> Self::Floats;
    /// Reads `LANES` numbers.
    unsafe fn load(from: *const f32) -> Self::Floats;
    /// Writes `LANES` numbers.
    unsafe fn store(to: *mut f32, floats: Self::Floats);
    /// `left` × `right` + `sum`.
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, sum: Self::Floats) -> Self::Floats;
    /// Sums of nothing.
    unsafe fn zeros() -> Self::Sums;
    /// Adds to each sum the products of the four bytes at `left` with its own four of the `4 * LANES` bytes at `right`.
    unsafe fn dot(sums: Self::Sums, left: *const u8, right: *const i8) -> Self::Sums;
    /// Writes `LANES` sums.
    unsafe fn store_sums(to: *mut i32, sums: Self::Sums);
}

/// Work that is compiled for each kind of CPU.
pub(super) trait Task {
    type Output;

    /// This and all that it calls must be `#[inline(always)]`, or it is not compiled for the CPU's vectors.
    fn run<S: Simd>(self) -> Self::Output;
}

/// Runs `task` with the vectors of `cpu`, which must be here.
pub(super) fn run<T: Task>(cpu: Cpu, task: T) -> T::Output {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! compiled {
            ($features:literal, $simd:ty) => {{
                #[target_feature(enable = $features)]
                fn compiled<T: Task>(task: T) -> T::Output {
                    task.run::<$simd>()
                }
                debug_assert!(cpu.is_here());
                // SAFETY: the CPU has the instructions, as the caller ensures.
                unsafe { compiled(task) }
            }};
        }
        match cpu {
            Cpu::Avx512Bf16 | Cpu::Avx512Vnni => {
                compiled!("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma", x86::Avx512<true>)
            }
            Cpu::Avx512 => compiled!("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma", x86::Avx512<false>),
            Cpu::AvxVnni => compiled!("avxvnni,avx2,fma", x86::Avx2<true>),
            Cpu::Avx2 => compiled!("avx2,fma", x86::Avx2<false>),
            Cpu::Portable => task.run::<Portable<true>>(),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = cpu;
        task.run::<Portable<true>>()
    }
}

/// Plain loops, with activations quantised as with VNNI or without.
#[derive(Clone, Copy)]
pub(super) struct Portable<const VNNI: bool>;

impl<const VNNI: bool> Simd for Portable<VNNI> {
    type Floats = [f32; 8];
    type Sums = [i32; 8];
    const LANES: usize = 8;
    const ROWS: usize = 4;
    const BYTE_ROWS: usize = 4;
    const LEVELS: f32 = if VNNI { 255.0 } else { 127.0 };
    const FUSED: bool = false;

    #[inline(always)]
    unsafe fn floats(number: f32) -> Self::Floats {
        [number; 8]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::Floats {
        // SAFETY: the caller ensures that eight numbers are there.
        unsafe { from.cast::<[f32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn store(to: *mut f32, floats: Self::Floats) {
        // SAFETY: the caller ensures that there is room for eight numbers.
        unsafe { to.cast::<[f32; 8]>().write(floats) };
    }

    #[inline(always)]
    unsafe fn multiply_add(left: Self::Floats, right: Self::Floats, sum: Self::Floats) -> Self::Floats {
        std::array::from_fn(|at| left[at] * right[at] + sum[at])
    }

    #[inline(always)]
    unsafe fn zeros() -> Self::Sums {
        [0; 8]
    }

    #[inline(always)]
    unsafe fn dot(mut sums: Self::Sums, left: *const u8, right: *const i8) -> Self::Sums {
        // SAFETY: the caller ensures that four bytes are there.
        let left = unsafe { left.cast::<[u8; 4]>().read() };
        // SAFETY: and four for each of eight sums there.
        let right = unsafe { right.cast::<[[i8; 4]; 8]>().read() };
        for (sum, right) in sums.iter_mut().zip(right) {
            *sum += left.into_iter().zip(right).map(|(left, right)| i32::from(left) * i32::from(right)).sum::<i32>();
        }
        sums
    }

    #[inline(always)]
    unsafe fn store_sums(to: *mut i32, sums: Self::Sums) {
        // SAFETY: the caller ensures that there is room for eight sums.
        unsafe { to.cast::<[i32; 8]>().write(sums) };
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Simd;
    use std::arch::x86_64::*;

    /// 32 registers of 512 bits.
    #[derive(Clone, Copy)]
    pub struct Avx512<const VNNI: bool>;
    /// 16 registers of 256 bits.
    #[derive(Clone, Copy)]
    pub struct Avx2<const VNNI: bool>;

    /// The same for both widths, but for the names.
    macro_rules! vectors {
        (
            $simd:ident: $lanes:literal lanes of $floats:ident and $sums:ident, $rows:literal rows, $byte_rows:expr,
            $copies:ident, $load:ident, $store:ident, $multiply_add:ident, $zeros:ident,
            $four:ident, $load_bytes:ident, $vnni:ident, $pairs:ident, $fours:ident, $ones:ident, $add:ident,
            $store_sums:ident
        ) => {
            impl<const VNNI: bool> Simd for $simd<VNNI> {
                type Floats = $floats;
                type Sums = $sums;
                const LANES: usize = $lanes;
                const ROWS: usize = $rows;
                const BYTE_ROWS: usize = $byte_rows;
                const LEVELS: f32 = if VNNI { 255.0 } else { 127.0 };
                const FUSED: bool = true;

                #[inline(always)]
                unsafe fn floats(number: f32) -> $floats {
                    // SAFETY: as the trait says.
                    unsafe { $copies(number) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> $floats {
                    // SAFETY: as the trait says.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(to: *mut f32, floats: $floats) {
                    // SAFETY: as the trait says.
                    unsafe { $store(to, floats) };
                }

                #[inline(always)]
                unsafe fn multiply_add(left: $floats, right: $floats, sum: $floats) -> $floats {
                    // SAFETY: as the trait says.
                    unsafe { $multiply_add(left, right, sum) }
                }

                #[inline(always)]
                unsafe fn zeros() -> $sums {
                    // SAFETY: as the trait says.
                    unsafe { $zeros() }
                }

                #[inline(always)]
                unsafe fn dot(sums: $sums, left: *const u8, right: *const i8) -> $sums {
                    // SAFETY: as the trait says.
                    unsafe {
                        let left = $four(left.cast::<i32>().read_unaligned());
                        let right = $load_bytes(right.cast());
                        if VNNI { $vnni(sums, left, right) } else { $add(sums, $fours($pairs(left, right), $ones(1))) }
                    }
                }

                #[inline(always)]
                unsafe fn store_sums(to: *mut i32, sums: $sums) {
                    // SAFETY: as the trait says.
                    unsafe { $store_sums(to.cast(), sums) };
                }
            }
        };
    }

    vectors!(
        Avx512: 16 lanes of __m512 and __m512i, 12 rows, 12,
        _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_setzero_si512,
        _mm512_set1_epi32, _mm512_loadu_si512, _mm512_dpbusd_epi32, _mm512_maddubs_epi16, _mm512_madd_epi16,
        _mm512_set1_epi16, _mm512_add_epi32, _mm512_storeu_si512
    );
    // Without VNNI, products need registers of their own.
    vectors!(
        Avx2: 8 lanes of __m256 and __m256i, 6 rows, if VNNI { 6 } else { 4 },
        _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_setzero_si256,
        _mm256_set1_epi32, _mm256_loadu_si256, _mm256_dpbusd_avx_epi32, _mm256_maddubs_epi16, _mm256_madd_epi16,
        _mm256_set1_epi16, _mm256_add_epi32, _mm256_storeu_si256
    );
}
