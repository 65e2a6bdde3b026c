use super::fused::Int8Linear;
use crate::device::cpu::Cpu;
use crate::{ModelError, onednn};
use std::collections::HashMap;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Name of the bias of a head's labels or types.
pub(crate) const BIAS: &str = "classifier.bias";

/// Named tensors of a model, in the order of the checkpoint.
#[derive(Debug, Default)]
pub struct Parameters {
    tensors: Vec<(String, Tensor)>,
    /// Linear layers by their names, for predictions in int8.
    int8: HashMap<String, Arc<Int8Linear>>,
}

impl Parameters {
    /// Wraps the tensors unchanged.
    pub fn new(tensors: Vec<(String, Tensor)>) -> Self {
        Self { tensors, int8: HashMap::new() }
    }

    /// Names and tensors in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The tensor `name`; shares its storage.
    ///
    /// # Errors
    /// If there is no such tensor.
    pub fn get(&self, name: &str) -> Result<Tensor, ModelError> {
        let entry = self.tensors.iter().find(|(known, _)| known == name);
        entry.map(|(_, tensor)| tensor.shallow_clone()).ok_or_else(|| ModelError::MissingParameter(name.to_owned()))
    }

    /// Number of scalars in all tensors.
    pub fn count(&self) -> usize {
        self.tensors.iter().map(|(_, tensor)| tensor.numel()).sum()
    }

    /// Copies on `device`, without gradients.
    pub fn to_device(&self, device: Device) -> Self {
        self.map(|tensor| tensor.to_device(device).copy())
    }

    /// The parameters for computing on `device`: weight matrices of linear layers in `kind`, so that products need no
    /// cast; embeddings, biases and normalisation in fp32. On a card all parameters of layers are in `kind`, since its
    /// kernels need one for all. Tensors that already fit share their storage.
    pub fn for_computing(&self, device: Device, kind: Kind) -> Self {
        let cast = |(name, tensor): &(String, Tensor)| {
            let tensor = tensor.detach().to_device(device);
            let is_cast = is_linear(name, &tensor) || device.is_cuda() && name.starts_with(LAYERS);
            (name.clone(), if is_cast { tensor.to_kind(kind) } else { tensor })
        };
        Self::new(self.tensors.iter().map(cast).collect())
    }

    /// The same with the encoder's weight matrices packed in blocks, if the device supports that; for prediction only.
    pub fn packed(&self) -> Self {
        let pack = |(name, tensor): &(String, Tensor)| {
            let blocks = is_linear(name, tensor).then(|| onednn::pack(tensor)).flatten();
            (name.clone(), blocks.unwrap_or_else(|| tensor.shallow_clone()))
        };
        Self::new(self.tensors.iter().map(pack).collect())
    }

    /// Adds the encoder's linear layers in int8, made of `own` fp32 parameters on the CPU. Panics if `cpu` is not here.
    pub(crate) fn with_int8(mut self, own: &Self, cpu: Cpu) -> Self {
        for (name, weight) in own.iter().filter(|(name, tensor)| is_linear(name, tensor)) {
            let layer = name.strip_suffix(".weight").unwrap_or(name);
            let bias = own.get(&format!("{layer}.bias")).ok();
            self.int8.insert(layer.to_owned(), Arc::new(Int8Linear::new(weight, bias.as_ref(), cpu)));
        }
        self
    }

    /// A linear layer in int8, if there are such.
    pub(crate) fn int8(&self, layer: &str) -> Option<Arc<Int8Linear>> {
        self.int8.get(layer).map(Arc::clone)
    }

    /// The same storage, without gradients.
    pub fn share(&self) -> Self {
        self.map(Tensor::shallow_clone)
    }

    /// Independent copies without gradients.
    pub fn copy(&self) -> Self {
        self.map(Tensor::copy)
    }

    /// The same tensors with `offsets` (one for each value) added to the head's bias.
    ///
    /// # Errors
    /// If the head has no such bias.
    pub fn with_offsets(&self, offsets: &[f32]) -> Result<Self, ModelError> {
        let bias = self.get(BIAS)?.detach();
        let shifted = &bias + Tensor::from_slice(offsets).to_device(bias.device());
        let pick = |(name, tensor): &(String, Tensor)| {
            let tensor = if name == BIAS { shifted.shallow_clone() } else { tensor.shallow_clone() };
            (name.clone(), tensor)
        };
        Ok(Self::new(self.tensors.iter().map(pick).collect()))
    }

    /// Makes the tensors that `trained` accepts by name into leaves with gradients.
    pub fn requiring_gradients(self, trained: impl Fn(&str) -> bool) -> Self {
        let leaf = |(name, tensor): (String, Tensor)| {
            let leaf = tensor.detach().set_requires_grad(trained(&name));
            (name, leaf)
        };
        Self::new(self.tensors.into_iter().map(leaf).collect())
    }

    fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self::new(self.tensors.iter().map(|(name, tensor)| (name.clone(), change(&tensor.detach()))).collect())
    }
}

/// Start of the names of the parameters of layers; a layer's number follows.
pub(crate) const LAYERS: &str = "bert.encoder.layer.";

/// Whether a parameter is the matrix of a linear layer of the encoder.
fn is_linear(name: &str, tensor: &Tensor) -> bool {
    tensor.dim() == 2 && name.starts_with(LAYERS)
}
