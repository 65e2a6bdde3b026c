//! Graphics cards: attention without padding, updates of many tensors in one launch, and copies that nobody waits for.
//!
//! None of this has an interface in the `tch` crate, so `script.py` reaches it through TorchScript. The slow equivalents
//! are plain attention row by row (`encoder/attend.rs`), and what the optimiser does on the CPU.

use std::sync::OnceLock;
use tch::{CModule, Device, IValue, Kind, TchError, Tensor};

/// Made by `script.py`.
const SCRIPT: &[u8] = include_bytes!("operations.pt");

fn call(method: &str, arguments: &[IValue]) -> Result<Tensor, TchError> {
    static LOADED: OnceLock<Result<CModule, String>> = OnceLock::new();
    let script = LOADED.get_or_init(|| CModule::load_data(&mut &SCRIPT[..]).map_err(|error| error.to_string()));
    let script = script.as_ref().map_err(|error| TchError::Torch(error.clone()))?;
    match script.method_is(method, arguments) {
        Ok(IValue::Tensor(tensor)) => Ok(tensor),
        Ok(other) => Err(TchError::Torch(format!("{method} returned {other:?}"))),
        Err(error) => Err(without_trace(error)),
    }
}

/// The error of an operation without where it stands in the script, which comes first: its first line is what callers
/// show.
fn without_trace(error: TchError) -> TchError {
    match &error {
        TchError::Torch(text) => match text.split_once("RuntimeError: ") {
            Some((_, reason)) => TchError::Torch(reason.to_owned()),
            None => error,
        },
        _ => error,
    }
}

fn list(tensors: &[Tensor]) -> IValue {
    IValue::TensorList(tensors.iter().map(Tensor::shallow_clone).collect())
}

/// softmax(Q Kᵀ / √head) V within each row, with dropout of weights. Query, key, value and result are `[places, heads,
/// head]` in half precision on a card; `starts`, `[rows + 1] i32`, are the places where rows start and the last one ends,
/// `longest` is the length of the longest. Tokens see those at most `reach` apart. It has gradients.
///
/// Source: Dao (2023), "FlashAttention-2", the kernel in libtorch.
pub(crate) fn attend(
    [query, key, value]: [&Tensor; 3],
    starts: &Tensor,
    longest: i64,
    dropout: f64,
    reach: Option<i64>,
) -> Result<Tensor, TchError> {
    let tensors = [query, key, value, starts].map(|tensor| IValue::Tensor(tensor.shallow_clone()));
    let numbers = [IValue::Int(longest), IValue::Double(dropout), IValue::Int(reach.unwrap_or(-1))];
    call("attend", &tensors.into_iter().chain(numbers).collect::<Vec<_>>())
}

/// Whether the card attends without padding to heads of this size in this kind: the first of each kind is a trial, with
/// gradients. Cards before Ampere cannot.
pub(crate) fn attends(device: Device, kind: Kind, head: i64) -> bool {
    static KINDS: [OnceLock<Result<(), String>>; 2] = [OnceLock::new(), OnceLock::new()];
    let tried = match kind {
        Kind::BFloat16 => &KINDS[0],
        Kind::Half => &KINDS[1],
        _ => return false,
    };
    if !device.is_cuda() || head % 8 != 0 || head > 256 {
        return false;
    }
    let trial = || -> Result<(), TchError> {
        let states = Tensor::f_ones([3, 1, 8], (kind, device))?.set_requires_grad(true);
        let starts = Tensor::from_slice(&[0i32, 1, 3]).f_to_device(device)?;
        let context = attend([&states, &states, &states], &starts, 2, 0.0, None)?;
        let gradients = Tensor::f_run_backward(&[context.f_sum(Kind::Float)?], &[&states], false, false)?;
        if gradients[0].size() == states.size() { Ok(()) } else { Err(TchError::Torch("no gradient".into())) }
    };
    let result = tried.get_or_init(|| {
        let result = tch::with_grad(|| trial().map_err(|error| error.to_string()));
        if let Err(error) = &result {
            let reason = error.lines().next().unwrap_or_default();
            tracing::warn!(
                "this card pads rows, which takes longer: it has no attention over rows of any length ({reason})"
            );
        }
        result
    });
    result.is_ok()
}

/// A copy on `device`. To a card it goes through pinned memory, so that this thread does not wait until the card has
/// computed all that it was given before.
pub(crate) fn upload(tensor: &Tensor, device: Device) -> Tensor {
    if !device.is_cuda() || tensor.device() != Device::Cpu {
        return tensor.to_device(device);
    }
    tensor.contiguous().internal_pin_memory(device).to_device_(device, tensor.kind(), true, false)
}

/// The norm of each tensor, `[tensors] f32` on their device.
///
/// # Errors
/// If libtorch lacks the operation for this device.
pub fn norms(tensors: &[Tensor]) -> Result<Tensor, TchError> {
    call("norms", &[list(tensors)])
}

/// Copies each tensor of `of` into that of `into`, which may have another kind.
///
/// # Errors
/// If libtorch lacks the operation for this device.
pub fn copy_all(into: &[Tensor], of: &[Tensor]) -> Result<(), TchError> {
    tch::no_grad(|| call("copy_", &[list(into), list(of)])).map(drop)
}

/// Moves each of `averages` by `share` of the way towards its current numbers.
///
/// # Errors
/// If libtorch lacks the operation for this device.
pub fn lerp_all(averages: &[Tensor], current: &[Tensor], share: f64) -> Result<(), TchError> {
    tch::no_grad(|| call("lerp_", &[list(averages), list(current), IValue::Double(share)])).map(drop)
}

/// The same for all tensors of one update by [`adamw`].
#[derive(Clone, Copy, Debug)]
pub struct AdamWSettings {
    /// Learning rate.
    pub rate: f64,
    /// Weight decay.
    pub decay: f64,
    /// Decay of the average of gradients.
    pub beta_1: f64,
    /// Decay of the average of their squares.
    pub beta_2: f64,
    /// Added to the root of the average of squares.
    pub eps: f64,
}

/// One step of AdamW for tensors of fp32, `[parameters, gradients, averages of gradients, averages of their squares]`.
/// `step` is its number, from 1; gradients are first divided by `divisor`, and changed by that. Both are scalars of fp32
/// on the device.
///
/// # Errors
/// If libtorch lacks the operation for this device.
pub fn adamw(
    tensors: [&[Tensor]; 4],
    step: &Tensor,
    divisor: &Tensor,
    settings: &AdamWSettings,
) -> Result<(), TchError> {
    let AdamWSettings { rate, decay, beta_1, beta_2, eps } = *settings;
    let scalars = [step, divisor].map(|tensor| IValue::Tensor(tensor.shallow_clone()));
    let numbers = [rate, decay, beta_1, beta_2, eps].map(IValue::Double);
    let arguments: Vec<IValue> = tensors.map(list).into_iter().chain(scalars).chain(numbers).collect();
    tch::no_grad(|| call("adamw_", &arguments)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What can be known without a card: libtorch knows the operations with these arguments, and gives their shapes and
    /// those of the gradients.
    #[test]
    fn operations_are_those_of_this_libtorch() {
        let states =
            |places: i64| Tensor::empty([places, 4, 32], (Kind::BFloat16, Device::Cpu)).set_requires_grad(true);
        let starts = Tensor::from_slice(&[0i32, 10, 40]);
        let [query, key, value] = [states(40), states(40), states(40)];
        let error = attend([&query, &key, &value], &starts, 30, 0.1, Some(8)).expect_err("no kernel for the CPU");
        let TchError::Torch(message) = error else { panic!("an error of libtorch") };
        let expected = "Could not run 'aten::_flash_attention_forward' with arguments from the 'CPU' backend";
        assert!(message.starts_with(expected), "{message}");
        assert!(!attends(Device::Cpu, Kind::BFloat16, 32));
    }
}
