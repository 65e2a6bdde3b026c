//! Masked-language-model training of an encoder on plain text, before it is fine-tuned.
//!
//! Sources: Devlin et al. (2019), "BERT", section 3.1; Gururangan et al. (2020), "Don't stop pretraining", section 3.
//!
//! - `recipe.rs`: [`PretrainRecipe`]. `text.rs`: [`PretrainText`] and its rows without padding. `masking.rs`: which
//!   pieces of a row are predicted. `pretrainer.rs`: [`Pretrainer`], the loop.

mod masking;
mod pretrainer;
mod recipe;
mod text;

pub use masking::mask_row;
pub use pretrainer::{Evaluation, PretrainProgress, PretrainStep, Pretrainer};
pub use recipe::PretrainRecipe;
pub use text::{PackedRow, PretrainText};
