use tch::Kind;

/// Factor on the loss that keeps fp16 gradients from vanishing: halved after an overflow, doubled after a while without
/// one. Constant 1 for bf16 and fp32, whose range is wide enough.
///
/// Source: Micikevicius et al. (2018), "Mixed precision training", section 3.2; the constants are those of PyTorch's
/// `GradScaler`.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct GradScaler {
    scale: f64,
    steps_since_change: u32,
    dynamic: bool,
}

const INITIAL: f64 = 65536.0;
const GROWTH_INTERVAL: u32 = 2000;

impl GradScaler {
    /// The initial scale for computing in `kind`.
    pub fn new(kind: Kind) -> Self {
        let dynamic = kind == Kind::Half;
        Self { scale: if dynamic { INITIAL } else { 1.0 }, steps_since_change: 0, dynamic }
    }

    /// The factor.
    pub const fn scale(&self) -> f64 {
        self.scale
    }

    /// Whether an overflow lowers the factor; otherwise it is an error.
    pub const fn is_dynamic(&self) -> bool {
        self.dynamic
    }

    /// Adapts the factor after a step.
    pub fn update(&mut self, overflow: bool) {
        if !self.dynamic {
            return;
        }
        self.steps_since_change += 1;
        if overflow {
            self.scale /= 2.0;
            self.steps_since_change = 0;
        } else if self.steps_since_change == GROWTH_INTERVAL {
            self.scale *= 2.0;
            self.steps_since_change = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_on_overflow_and_doubles_after_a_while() {
        let mut scale = GradScaler::new(Kind::Half);
        scale.update(true);
        assert_eq!(scale.scale(), INITIAL / 2.0);
        for _ in 0..GROWTH_INTERVAL {
            scale.update(false);
        }
        assert_eq!(scale.scale(), INITIAL);
        let mut fixed = GradScaler::new(Kind::BFloat16);
        fixed.update(true);
        assert_eq!(fixed.scale(), 1.0);
    }
}
