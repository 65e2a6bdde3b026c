/// What is asked of a classifier beside the right answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LossOptions {
    /// Share of a token's target that is spread over all labels.
    pub label_smoothing: f64,
    /// Share of a mention's target that is moved to the spans beside it.
    pub boundary_smoothing: f64,
    /// How much less a decision counts that is right already: the power of one less its probability; 0 is not at all.
    pub focal: f64,
    /// Weights of what is outside and of each type; none are all 1.
    pub class_weights: Vec<f64>,
    /// Weight of the divergence between the two halves of the batch; 0 where it has no such halves.
    pub r_drop: f64,
}

impl LossOptions {
    /// Weight of what is outside (0) or of a type (from 1).
    pub(super) fn weight_of(&self, class: usize) -> f32 {
        self.class_weights.get(class).map_or(1.0, |&weight| weight as f32)
    }
}
