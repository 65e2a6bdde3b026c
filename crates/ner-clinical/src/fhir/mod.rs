//! FHIR R4 (4.0.1).

mod bundle;
mod mapping;
mod resources;

pub use bundle::{Bundled, Fhir, MENTION_EXTENSION};
pub use mapping::{LeftOut, has_resource};
pub use resources::Bundle;
