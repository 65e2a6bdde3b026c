//! Whether there is an NVIDIA driver that libtorch's CUDA can work with.

use std::path::Path;

use anyhow::Result;
use fs_err as fs;

/// The first driver series with CUDA 13, which the pinned libtorch is built on.
pub const OLDEST: u32 = 580;

const VERSION_FILE: &str = "/proc/driver/nvidia/version";

/// The device node of the driver, and the library that belongs to it where distributions (and WSL) put it.
const SIGNS: [&str; 6] = [
    "/dev/nvidiactl",
    "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    "/usr/lib64/libcuda.so.1",
    "/usr/lib/libcuda.so.1",
    "/usr/lib/wsl/lib/libcuda.so.1",
    "/usr/local/nvidia/lib64/libcuda.so.1",
];

pub struct Driver {
    /// What shows that it is there.
    pub sign: &'static str,
    /// Such as `580.65.06`; not every machine tells.
    pub version: Option<String>,
}

impl Driver {
    pub fn is_too_old(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.split('.').next()?.parse::<u32>().ok());
        major.is_some_and(|major| major < OLDEST)
    }
}

pub fn find() -> Result<Option<Driver>> {
    let Some(sign) = SIGNS.into_iter().find(|sign| Path::new(sign).exists()) else { return Ok(None) };
    let version = if Path::new(VERSION_FILE).exists() { version_in(&fs::read_to_string(VERSION_FILE)?) } else { None };
    Ok(Some(Driver { sign, version }))
}

/// The first word that looks like `580.65.06`.
fn version_in(text: &str) -> Option<String> {
    let is_version = |word: &&str| {
        word.contains('.') && word.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
    };
    text.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_found_in_both_kinds_of_kernel_module() {
        let proprietary = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build";
        for (text, version, too_old) in [(proprietary, "550.54.15", true), (open, "580.65.06", false)] {
            let driver = Driver { sign: "", version: version_in(text) };
            assert_eq!(driver.version.as_deref(), Some(version));
            assert_eq!(driver.is_too_old(), too_old);
        }
    }
}
