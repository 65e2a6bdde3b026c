//! Linear layers and layer normalisation.

use super::fused::Int8Linear;
use super::parameters::Parameters;
use super::training_pass::TrainingPass;
use crate::{ModelError, onednn};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
    /// The same for fp32 inputs, if the model predicts in int8.
    int8: Option<Arc<Int8Linear>>,
}

impl Linear {
    pub fn new(parameters: &Parameters, name: &str) -> Result<Self, ModelError> {
        Self::with(parameters, name, true)
    }

    /// `has_bias`: whether the kind of encoder has one.
    pub fn with(parameters: &Parameters, name: &str, has_bias: bool) -> Result<Self, ModelError> {
        let bias = has_bias.then(|| parameters.get(&format!("{name}.bias"))).transpose()?;
        Ok(Self { weight: parameters.get(&format!("{name}.weight"))?, bias, int8: parameters.int8(name) })
    }

    /// Whether it maps fp32 inputs in int8.
    pub const fn is_int8(&self) -> bool {
        self.int8.is_some()
    }

    /// Whether its weight is in oneDNN's blocks.
    pub fn is_packed(&self) -> bool {
        onednn::is_packed(&self.weight)
    }

    /// Computes in the kind of `input`. The fp32 weights are cast to it, and their gradients come back in fp32.
    pub fn forward(&self, input: &Tensor) -> Tensor {
        let kind = input.kind();
        if let (Some(int8), Kind::Float) = (&self.int8, kind) {
            return int8.forward(input);
        }
        let bias = self.bias.as_ref().map(|bias| bias.to_kind(kind));
        if self.is_packed() {
            let bias = bias.unwrap_or_else(|| input.new_zeros([self.weight.size()[0]], (kind, input.device())));
            return onednn::linear(input, &self.weight, &bias);
        }
        let weight = self.weight.to_kind(kind);
        if weight.requires_grad()
            && kind == Kind::Float
            && input.device() == Device::Cpu
            && let Some(bias) = &bias
            && let Some(product) = onednn::linear_with_gradients(input, &weight, bias)
        {
            return product;
        }
        input.linear(&weight, bias.as_ref())
    }
}

#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Option<Tensor>,
    eps: f64,
}

impl LayerNorm {
    pub fn new(parameters: &Parameters, name: &str, eps: f64) -> Result<Self, ModelError> {
        Self::with(parameters, name, eps, true)
    }

    /// `has_bias`: whether the kind of encoder has one.
    pub fn with(parameters: &Parameters, name: &str, eps: f64, has_bias: bool) -> Result<Self, ModelError> {
        let Linear { weight, bias, .. } = Linear::with(parameters, name, has_bias)?;
        Ok(Self { weight, bias, eps })
    }

    pub fn forward(&self, input: &Tensor) -> Tensor {
        // The CPU's kernel takes half-precision states with fp32 weights; CUDA's needs one kind for all.
        let kind = if input.device().is_cuda() { input.kind() } else { self.weight.kind() };
        let (weight, bias) = (self.weight.to_kind(kind), self.bias.as_ref().map(|bias| bias.to_kind(kind)));
        input.layer_norm(weight.size(), Some(&weight), bias.as_ref(), self.eps, true)
    }
}

pub(super) fn apply_dropout(states: Tensor, dropout: &mut Option<&mut TrainingPass>) -> Tensor {
    match dropout {
        Some(dropout) => dropout.hidden_states(&states),
        None => states,
    }
}

pub(super) fn add_residual(mut states: Tensor, residual: &Tensor) -> Tensor {
    states += residual;
    states
}
