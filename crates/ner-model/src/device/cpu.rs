//! Which vector instructions of this CPU medner's own kernels use, asked at run time.

use crate::ModelError;
use std::sync::OnceLock;

/// Environment variable that limits medner's own kernels to older instructions than the CPU has, for tests and
/// benchmarks. The value is a [`Cpu::name`]. libtorch has limits of its own: `ONEDNN_MAX_CPU_ISA` and
/// `ATEN_CPU_CAPABILITY`.
pub const CPU_VARIABLE: &str = "MEDNER_CPU";

/// Vector instructions, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cpu {
    /// 512 bits, with products of int8 and of bf16 (Cooper Lake, Sapphire Rapids, Zen 4 and later).
    Avx512Bf16,
    /// 512 bits, with products of int8 (Cascade Lake, Ice Lake).
    Avx512Vnni,
    /// 512 bits (Skylake-X).
    Avx512,
    /// 256 bits, with products of int8 (Alder Lake and later).
    AvxVnni,
    /// 256 bits (Haswell, Zen and later).
    Avx2,
    /// None that medner knows: plain loops.
    Portable,
}

impl Cpu {
    /// All, best first.
    pub const ALL: [Self; 6] =
        [Self::Avx512Bf16, Self::Avx512Vnni, Self::Avx512, Self::AvxVnni, Self::Avx2, Self::Portable];

    /// The best that this CPU has and [`CPU_VARIABLE`] allows.
    ///
    /// # Errors
    /// If the variable has an unknown value, or names instructions that this CPU lacks.
    pub fn current() -> Result<Self, ModelError> {
        static CURRENT: OnceLock<Result<Cpu, String>> = OnceLock::new();
        let chosen = CURRENT.get_or_init(|| {
            let best = Self::ALL.into_iter().find(|cpu| cpu.is_here()).unwrap_or(Self::Portable);
            match std::env::var_os(CPU_VARIABLE).filter(|value| !value.is_empty()) {
                Some(value) => Self::chosen(&value.to_string_lossy()),
                None => Ok(best),
            }
        });
        chosen.clone().map_err(|message| ModelError::Device { wanted: CPU_VARIABLE.into(), message })
    }

    fn chosen(name: &str) -> Result<Self, String> {
        match Self::ALL.into_iter().find(|cpu| cpu.name() == name) {
            Some(cpu) if cpu.is_here() => Ok(cpu),
            Some(_) => Err(format!("this CPU has no {name}")),
            None => Err(format!("unknown value {name}; use {}", Self::ALL.map(Self::name).join(", "))),
        }
    }

    /// The name for [`CPU_VARIABLE`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Avx512Bf16 => "avx512_bf16",
            Self::Avx512Vnni => "avx512_vnni",
            Self::Avx512 => "avx512",
            Self::AvxVnni => "avx_vnni",
            Self::Avx2 => "avx2",
            Self::Portable => "portable",
        }
    }

    /// Whether this CPU has the instructions, whatever the variable says.
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let has_avx512 = has_avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let has_vnni = has_avx512 && is_x86_feature_detected!("avx512vnni");
            match self {
                Self::Avx512Bf16 => has_vnni && is_x86_feature_detected!("avx512bf16"),
                Self::Avx512Vnni => has_vnni,
                Self::Avx512 => has_avx512,
                Self::AvxVnni => has_avx2 && is_x86_feature_detected!("avxvnni"),
                Self::Avx2 => has_avx2,
                Self::Portable => true,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }

    /// Whether it multiplies bf16 numbers.
    pub const fn has_bf16(self) -> bool {
        matches!(self, Self::Avx512Bf16)
    }

    /// Whether it multiplies and sums four pairs of int8 numbers in one instruction.
    pub const fn has_vnni(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::Avx512Vnni | Self::AvxVnni)
    }

    /// Whether there are products of int8 that are faster than those of fp32.
    pub fn has_int8(self) -> bool {
        self != Self::Portable
    }

    /// Whether prediction is fastest in int8. Units for tiles of bf16 (AMX, Sapphire Rapids and later), which oneDNN uses,
    /// are faster than VNNI; other products of bf16 are slower.
    pub fn prefers_int8(self) -> bool {
        self.has_int8() && !(self.has_bf16() && has_amx())
    }
}

/// Whether the CPU has tiles of bf16. The standard library does not say so.
fn has_amx() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        const AMX_BF16: u32 = 1 << 22;
        std::arch::x86_64::__cpuid_count(7, 0).edx & AMX_BF16 != 0
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// Whether this CPU has instructions for bf16 products (AVX512-BF16).
pub fn cpu_has_bf16() -> bool {
    Cpu::current().is_ok_and(Cpu::has_bf16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_names_of_instructions_that_are_here_are_chosen() {
        assert_eq!(Cpu::chosen("portable"), Ok(Cpu::Portable));
        let error = Cpu::chosen("sse").expect_err("unknown");
        assert!(error.contains("avx512_vnni, avx512, avx_vnni, avx2, portable"), "{error}");
        for cpu in Cpu::ALL {
            assert_eq!(Cpu::chosen(cpu.name()).is_ok(), cpu.is_here());
        }
    }
}
