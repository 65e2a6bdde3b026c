/// Options of the loss.
#[derive(Clone, Debug, PartialEq)]
pub struct LossOptions {
    /// Share of a token's target spread over all labels.
    pub label_smoothing: f64,
    /// Share of a mention's target moved to spans with one boundary one word off.
    pub boundary_smoothing: f64,
    /// Focal-loss exponent γ: each term is scaled by (1 − p)^γ. 0 disables it.
    pub focal: f64,
    /// Weights of the outside class and of each type; empty means all 1.
    pub class_weights: Vec<f64>,
    /// Weight of the divergence between the two halves of the batch; 0 for batches without halves.
    pub r_drop: f64,
    /// Share of the loss against a teacher's probabilities; the rest is that of the gold labels. Without effect on
    /// batches without [`SoftLabels`](crate::SoftLabels).
    pub distillation: f64,
    /// Temperature of teacher and student in that loss.
    pub temperature: f64,
}

impl Default for LossOptions {
    fn default() -> Self {
        Self {
            label_smoothing: 0.0,
            boundary_smoothing: 0.0,
            focal: 0.0,
            class_weights: Vec::new(),
            r_drop: 0.0,
            distillation: 0.0,
            temperature: 1.0,
        }
    }
}

impl LossOptions {
    /// Weight of the outside class (0) or of a type (from 1).
    pub(super) fn weight_of(&self, class: usize) -> f32 {
        self.class_weights.get(class).map_or(1.0, |&weight| weight as f32)
    }
}
