//! Devices, precision, and operations on the CPU beyond libtorch's.

pub(crate) mod cpu;
pub mod cuda;
pub mod onednn;
pub mod tensor_slice;
mod threads;
mod workers;

pub use cpu::{CPU_VARIABLE, Cpu, cpu_has_bf16};
pub use threads::{MOST_THREADS, ThreadSource, set_threads};
pub use workers::Workers;

use crate::{BertConfig, FusedLayers, ModelError};
use ner_text::caught;
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;
use tch::{Cuda, Device, Kind};

/// Finds the device `wanted`: `auto` (CUDA if available, else the CPU), `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// If the name is not one of these, or CUDA is requested but not available.
pub fn find_device(wanted: &str) -> Result<Device, ModelError> {
    let fault = |message: String| ModelError::Device { wanted: wanted.to_owned(), message };
    let number = match wanted {
        "cpu" => return Ok(Device::Cpu),
        "auto" if cuda_devices().is_err() => return Ok(Device::Cpu),
        "auto" | "cuda" => 0,
        _ => wanted
            .strip_prefix("cuda:")
            .and_then(|number| number.parse::<usize>().ok())
            .ok_or_else(|| fault("unknown device; use auto, cpu, cuda or cuda:N".into()))?,
    };
    match cuda_devices() {
        Err(reason) => Err(fault(reason)),
        Ok(count) if number >= count => Err(fault(format!("this machine has {count} CUDA devices, numbered from 0"))),
        Ok(_) => Ok(Device::Cuda(number)),
    }
}

/// Runs `work`. A panic of libtorch is an error, as in [`caught`]; where a card's memory is full, it says what to do.
///
/// # Errors
/// The message, if `work` panics.
pub fn caught_on_device<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    caught(work).map_err(|message| match message.contains("CUDA out of memory") {
        true => format!("{message}; the card's memory is full: end what else runs on the card, or use --device cpu"),
        false => message,
    })
}

/// Number of CUDA devices, at least one.
///
/// # Errors
/// If there is no CUDA device; the message says why.
pub fn cuda_devices() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND.get_or_init(load_cuda).clone()
}

/// Loads libtorch's CUDA library. The linker omits it, because no code refers to its symbols. It registers itself when
/// loaded, which must happen before libtorch is first asked for CUDA.
fn load_cuda() -> Result<usize, String> {
    const LIBRARY: &str = "libtorch_cuda.so";
    let flags = libloading::os::unix::RTLD_NOW | libloading::os::unix::RTLD_GLOBAL;
    // SAFETY: the library's initialisers are libtorch's own, of the release that this program is linked with.
    match unsafe { libloading::os::unix::Library::open(Some(LIBRARY), flags) } {
        // It must stay loaded: libtorch keeps pointers into it.
        Ok(library) => std::mem::forget(library),
        Err(error) => {
            return Err(format!(
                "libtorch's CUDA library cannot be loaded ({error}); `cargo xtask setup --cuda` installs it"
            ));
        }
    }
    match Cuda::device_count() {
        count if Cuda::is_available() && count > 0 => Ok(count as usize),
        _ => Err("libtorch finds no CUDA device; is the NVIDIA driver installed?".into()),
    }
}

/// The name of a device for [`find_device`]: `cpu` or `cuda:N`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(number) => format!("cuda:{number}"),
        Device::Cpu => "cpu".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// The name of the precision of products in this kind: `fp32`, `bf16`, `fp16` or `int8`.
pub fn precision_name(kind: Kind) -> String {
    match kind {
        Kind::Float => "fp32".to_owned(),
        Kind::BFloat16 => "bf16".to_owned(),
        Kind::Half => "fp16".to_owned(),
        Kind::QInt8 => "int8".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Requested compute precision of the encoder. Weights and optimiser are always fp32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 if the hardware computes in it, else fp32. In prediction int8, if it is faster.
    #[default]
    Auto,
    /// 32 bits.
    Fp32,
    /// bfloat16: the range of fp32 with 8 bits of precision.
    Bf16,
    /// IEEE half precision, with loss scaling; CUDA only.
    Fp16,
    /// 8-bit integers in the products of linear layers, fp32 elsewhere; prediction on the CPU only.
    Int8,
}

impl Precision {
    /// The kind to train in on `device`.
    ///
    /// # Errors
    /// If the device does not compute in it, no training does, or [`CPU_VARIABLE`] is invalid.
    pub fn resolve(self, device: Device) -> Result<Kind, ModelError> {
        let fault =
            |wanted: &str, message: &str| Err(ModelError::Device { wanted: wanted.into(), message: message.into() });
        match self {
            Self::Fp32 => Ok(Kind::Float),
            Self::Bf16 => Ok(Kind::BFloat16),
            Self::Fp16 if device.is_cuda() => Ok(Kind::Half),
            Self::Fp16 => fault("fp16", "fp16 needs CUDA; on the CPU use bf16, fp32 or auto"),
            Self::Int8 => fault("int8", "int8 is for prediction; train in bf16, fp32 or auto"),
            Self::Auto if device.is_cuda() || Cpu::current()?.has_bf16() => Ok(Kind::BFloat16),
            Self::Auto => Ok(Kind::Float),
        }
    }

    /// The kind to predict in on `device` with an encoder; `QInt8` stands for int8.
    ///
    /// # Errors
    /// If the device or the encoder does not support it, or [`CPU_VARIABLE`] is invalid.
    pub fn for_prediction(self, device: Device, config: &BertConfig) -> Result<Kind, ModelError> {
        let fault = |message: String| Err(ModelError::Device { wanted: "int8".into(), message });
        match self {
            Self::Int8 if device != Device::Cpu => {
                fault("int8 needs the CPU; on CUDA use bf16, fp16, fp32 or auto".into())
            }
            Self::Int8 => Ok(Kind::QInt8),
            Self::Auto if device == Device::Cpu && FusedLayers::supports(config) && Cpu::current()?.prefers_int8() => {
                Ok(Kind::QInt8)
            }
            other => other.resolve(device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_memory_comes_with_what_to_do() {
        let full =
            r#"called `Result::unwrap()` on an `Err` value: Torch("CUDA out of memory. Tried to allocate 2 GiB\nE")"#;
        let message = caught_on_device(|| panic!("{full}")).expect_err("a panic");
        assert!(message.contains("Tried to allocate 2 GiB; ") && message.contains("--device cpu"), "{message}");
        let message = caught_on_device(|| panic!("Torch(\"no kernel\")")).expect_err("a panic");
        assert!(!message.contains("--device"), "{message}");
    }
}
